//! Owners' lists, and revocation.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::fixture::{Fixture, IDLE, INSTANT, MINUTE, at, live, replace, same};
use crate::clock::micros;
use crate::record::{Record, SessionHandle, Tombstone, TombstoneKind};
use crate::store::{Change, Created, Loaded, Revocation, RevocationMark, Revoke, Updated};

pub(super) async fn owner_list_follows_the_sessions(fixture: Arc<Fixture>) {
    let owner = fixture.owner();
    fixture.expect_owned("an owner without sessions has an empty list", &owner, at(0), &[]).await;
    let mut first = fixture.owned_record(&owner, at(0) - MINUTE);
    let second = fixture.owned_record(&owner, at(0) - INSTANT);
    let (token, other) = (fixture.stored(&first).await, fixture.stored(&second).await);
    fixture.session().await;
    fixture.expect_owned("create enters a session in its owner's list", &owner, at(0), &[&first, &second]).await;
    fixture.create(&token, &first, at(0)).await;
    fixture.expect_owned("a create that is sent again enters nothing", &owner, at(0), &[&first, &second]).await;
    fixture.create(&token, &fixture.owned_record(&owner, at(0)), at(0)).await;
    fixture.expect_owned("a create that is Taken enters nothing", &owner, at(0), &[&first, &second]).await;

    first = fixture.updated(&token, &first, at(1)).await;
    fixture.expect_owned("the list shows when a session was last written", &owner, at(1), &[&first, &second]).await;
    fixture.touched(&token, &mut first, at(2) + IDLE, at(2)).await;
    fixture.expect_owned("the list shows when a session was last touched", &owner, at(2), &[&first, &second]).await;

    // A renewal: the new record keeps the handle.
    let renewed = fixture.next(&first, at(3));
    fixture.stored_at(&renewed, at(3)).await;
    fixture.apply(&token, &first, &Change::Retire(fixture.renewed(at(3))), at(3)).await;
    fixture.expect_owned("a renewed session is listed once", &owner, at(3), &[&renewed, &second]).await;

    fixture.deleted(&other, MINUTE, at(4)).await;
    fixture.expect_owned("a deleted session leaves the list", &owner, at(4), &[&renewed]).await;
    fixture.expect_owned("an expired session leaves the list", &owner, at(3) + IDLE, &[]).await;
}

pub(super) async fn owners_are_told_apart(fixture: Arc<Fixture>) {
    let base = fixture.owner();
    let suffixes =
        ["A", "a", "a ", " a", "á", "a\u{301}", "%", "_", "'--", "\"", "\\", "/../x", ":", "{1}", "*", "\n", "ß", "ss"];
    let mut owners = vec![base.repeat(20)];
    owners.extend(suffixes.map(|suffix| format!("{base}{suffix}")));
    let mut sessions = Vec::new();
    for owner in owners {
        let (token, record) = fixture.owned_session(&owner).await;
        sessions.push((owner, token, record));
    }
    for (owner, _, record) in &sessions {
        let rule = format!("owners are told apart byte for byte ({owner:?})");
        fixture.expect_owned(&rule, owner, at(0), &[record]).await;
    }
    for (index, (owner, ..)) in sessions.iter().enumerate() {
        let rule = format!("revoking an owner's sessions leaves everybody else's ({owner:?})");
        same(&rule, &fixture.revoke(owner, Revoke::All, MINUTE, at(1)).await, &1);
        for (_, token, record) in &sessions[index + 1..] {
            fixture.expect_live(&rule, token, at(1), record).await;
        }
    }
}

pub(super) async fn revocation_ends_what_it_names(fixture: Arc<Fixture>) {
    let (ada, bob) = (fixture.owner(), fixture.owner());
    let mut sessions = Vec::new();
    for owner in [&ada, &ada, &ada, &ada, &bob] {
        sessions.push(fixture.owned_session(owner).await);
    }
    sessions.push(fixture.session().await);
    let mut states: Vec<_> = sessions.iter().map(|(_, record)| live(record)).collect();
    let handle = |index: usize| sessions[index].1.handle();

    fixture.deleted(&sessions[3].0, 2 * IDLE, at(1)).await;
    states[3] = Loaded::Tombstone(Tombstone::new(TombstoneKind::Destroyed, 2 * IDLE, at(1)));
    for (name, owner, which, second, ended) in [
        ("One of a handle that nobody has", &ada, Revoke::One(fixture.handle()), 2, vec![]),
        ("One of somebody else's handle", &ada, Revoke::One(handle(4)), 3, vec![]),
        ("One of an anonymous session's handle", &ada, Revoke::One(handle(5)), 4, vec![]),
        ("One of a session that has ended", &ada, Revoke::One(handle(3)), 5, vec![]),
        ("One", &ada, Revoke::One(handle(0)), 6, vec![0]),
        ("One, again", &ada, Revoke::One(handle(0)), 7, vec![]),
        ("Others", &ada, Revoke::Others(handle(1)), 8, vec![2]),
        ("Others, again", &ada, Revoke::Others(handle(1)), 9, vec![]),
        ("All", &ada, Revoke::All, 10, vec![1]),
        ("All, again", &ada, Revoke::All, 11, vec![]),
        ("Others but somebody else's", &bob, Revoke::Others(handle(0)), 12, vec![4]),
    ] {
        let rule = format!("a revocation ends what it names, nothing else, and counts it: {name}");
        same(&rule, &fixture.revoke(owner, which, MINUTE, at(second)).await, &ended.len());
        for index in ended {
            states[index] = Loaded::Tombstone(Tombstone::new(TombstoneKind::Revoked, MINUTE, at(second)));
        }
        // All rows run before the first tombstone ends.
        for ((token, _), state) in sessions.iter().zip(&states) {
            fixture.expect(&rule, token, at(second), state).await;
        }
        let is_live = |index: &usize| matches!(states[*index], Loaded::Live(_));
        let live: Vec<_> = (0..3).filter(is_live).map(|index| &sessions[index].1).collect();
        fixture.expect_owned(&rule, &ada, at(second), &live).await;
    }
    let (token, record) = &sessions[0];
    let rule = "a revoked session is Gone";
    let change = replace(&fixture.next(record, at(13)));
    same(rule, &fixture.update(token, record.version(), &change, at(13)).await, &Updated::Gone);
    same(rule, &fixture.touch(token, record.version(), at(13) + IDLE, at(13)).await, &Updated::Gone);

    let owner = fixture.owner();
    let (token, _) = fixture.owned_session(&owner).await;
    let rule = "a revocation with a duration of zero leaves nothing";
    same(rule, &fixture.revoke(&owner, Revoke::All, Duration::ZERO, at(14)).await, &1);
    fixture.expect_absent(rule, &token, at(14)).await;
}

pub(super) async fn revocation_refuses_sign_ins_that_began_before(fixture: Arc<Fixture>) {
    let owner = fixture.owner();
    let [spared, other, one] = std::array::from_fn(|_| fixture.handle());
    // Each row is a revocation, and the sign-ins after it by handle and second, with whether each counts.
    let rows: [(_, _, _, &[(SessionHandle, u64, bool)]); _] = [
        ("One leaves no mark", Revoke::One(one), 10, &[(one, 5, true), (other, 5, true)]),
        ("Others", Revoke::Others(spared), 20, &[(other, 19, false), (other, 20, false), (other, 21, true)]),
        ("Others spares its own", Revoke::Others(spared), 22, &[(spared, 5, true), (other, 21, false)]),
        ("All", Revoke::All, 30, &[(spared, 29, false), (spared, 30, false), (spared, 31, true)]),
        ("Others after All", Revoke::Others(spared), 40, &[(spared, 30, false), (spared, 35, true), (one, 35, false)]),
        (
            "Others than before",
            Revoke::Others(other),
            50,
            &[(spared, 45, false), (other, 39, false), (other, 45, true)],
        ),
        ("All by an earlier clock", Revoke::All, 45, &[(one, 47, false), (one, 51, true)]),
    ];
    for (name, which, now, sign_ins) in rows {
        fixture.revoke(&owner, which, MINUTE, at(now)).await;
        for (handle, second, counts) in sign_ins.iter().copied() {
            let record = Record { handle, ..fixture.owned_record(&owner, at(second)) };
            let rule = format!("create honours a revocation at {now} s ({name}): signed in at {second} s");
            signs_in(&fixture, &rule, &record, at(55), counts).await;
        }
    }

    let rule = "a revocation concerns its owner only";
    for bystander in [fixture.record(), fixture.owned_record(&fixture.owner(), at(1))] {
        same(rule, &fixture.create(&fixture.token(), &bystander, at(55)).await, &Created::Stored);
    }
    let late = at(50) + RevocationMark::LIFETIME - Duration::from_secs(1);
    fixture.sweep(100, late).await;
    let record = Record { deadline: micros(late + IDLE), ..fixture.owned_record(&owner, at(50)) };
    signs_in(&fixture, "a revocation is remembered for a day, swept or not", &record, late, false).await;
}

/// Signs in with a record, which either counts or is refused with a mark that says so, and signs out again.
async fn signs_in(fixture: &Fixture, rule: &str, record: &Record, now: SystemTime, counts: bool) {
    let token = fixture.token();
    let created = fixture.create(&token, record, now).await;
    let is_right = match &created {
        Created::Stored => counts,
        Created::Revoked(mark) => !counts && mark.refuses(record),
        _ => false,
    };
    let expected = if counts { "Stored" } else { "Revoked, with the mark that refuses it" };
    assert!(is_right, "broken: {rule}\n  expected: {expected}\n       got: {created:?}");
    let state = if counts { live(record) } else { Loaded::Absent };
    fixture.expect(rule, &token, now, &state).await;
    let listed = if counts { vec![record] } else { Vec::new() };
    fixture.expect_owned(rule, record.owner().unwrap_or_default(), now, &listed).await;
    fixture.delete(&token, Duration::ZERO, now).await;
}

/// The time by which a clock has stepped back, longer than the life of every session here.
const STEP: Duration = Duration::from_secs(26 * 60 * 60);

pub(super) async fn revocation_ahead_of_the_clock_ends_no_more(fixture: Arc<Fixture>) {
    for (name, counts) in [("All", 2), ("Others", 1), ("One", 1)] {
        let (ada, bob) = (fixture.owner(), fixture.owner());
        let mut sessions = vec![fixture.session().await];
        for owner in [&ada, &ada, &bob] {
            sessions.push(fixture.owned_session(owner).await);
        }
        let [anonymous, first, second, others] = &sessions[..] else { unreachable!("four sessions") };
        let which = match name {
            "All" => Revoke::All,
            "Others" => Revoke::Others(second.1.handle()),
            _ => Revoke::One(first.1.handle()),
        };
        let rule = format!("a revocation whose time is ahead of the clock goes by the clock for what it ends: {name}");
        let revocation = Revocation::new(which, at(1) + STEP, MINUTE);
        same(&rule, &fixture.revoke_as(&ada, &revocation, at(1)).await, &counts);
        let stone = Loaded::Tombstone(Tombstone::new(TombstoneKind::Revoked, MINUTE, at(1)));
        fixture.expect(&rule, &first.0, at(1), &stone).await;
        let (state, listed) = if name == "All" { (stone, vec![]) } else { (live(&second.1), vec![&second.1]) };
        fixture.expect(&rule, &second.0, at(1), &state).await;
        for (token, record) in [others, anonymous] {
            fixture.expect_live(&rule, token, at(1), record).await;
        }
        fixture.expect_owned(&rule, &ada, at(1), &listed).await;
    }
}

pub(super) async fn revocation_ahead_of_the_clock_refuses_sign_ins_up_to_its_time(fixture: Arc<Fixture>) {
    let owner = fixture.owner();
    let ahead = at(1) + STEP;
    fixture.revoke_as(&owner, &Revocation::new(Revoke::All, ahead, MINUTE), at(1)).await;
    // At the second time the clock has gone on for a day: a mark that went by the clock of its revocation would go.
    for now in [at(2), at(2) + RevocationMark::LIFETIME, ahead + RevocationMark::LIFETIME - INSTANT] {
        fixture.sweep(100, now).await;
        for (signed_in, counts) in [(at(2), false), (ahead - INSTANT, false), (ahead, false), (ahead + INSTANT, true)] {
            let record = Record { deadline: micros(now + IDLE), ..fixture.owned_record(&owner, signed_in) };
            let rule = "a sign-in that began before a revocation is refused although the clock is before both";
            signs_in(&fixture, rule, &record, now, counts).await;
        }
    }
}
