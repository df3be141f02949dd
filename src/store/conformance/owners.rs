//! Owner lists, and revocation.

use std::time::Duration;

use super::lab::{IDLE, INSTANT, Lab, MINUTE, at, replace, same};
use crate::record::{Record, SessionHandle, Tombstone, TombstoneKind};
use crate::store::{Change, Created, Deleted, Loaded, Revocation, RevocationMark, Revoke, Updated};

pub(super) async fn owner_list_follows_the_sessions(lab: Lab) {
    let owner = lab.owner();
    lab.expect_owned("an owner without sessions has an empty list", &owner, at(0), &[]).await;
    let mut first = lab.owned_record(&owner, at(0) - MINUTE);
    let second = lab.owned_record(&owner, at(0) - INSTANT);
    let (token, other) = (lab.stored(&first).await, lab.stored(&second).await);
    lab.stored(&lab.record()).await;
    lab.expect_owned("create enters a session in its owner's list", &owner, at(0), &[&first, &second]).await;
    lab.create(&token, &first, at(0)).await;
    lab.expect_owned("a create that is sent again enters nothing", &owner, at(0), &[&first, &second]).await;
    lab.create(&token, &lab.owned_record(&owner, at(0)), at(0)).await;
    lab.expect_owned("a create that is Taken enters nothing", &owner, at(0), &[&first, &second]).await;

    let next = lab.next(&first, at(1));
    same("update", &lab.update(&token, first.version(), &replace(&next), at(1)).await, &Updated::Done);
    first = next;
    lab.expect_owned("the list shows when a session was last written", &owner, at(1), &[&first, &second]).await;
    same("touch", &lab.touch(&token, first.version(), at(2) + IDLE, at(2)).await, &Updated::Done);
    first.touch(at(2) + IDLE, at(2));
    lab.expect_owned("the list shows when a session was last touched", &owner, at(2), &[&first, &second]).await;

    // A renewal: the new record keeps the handle.
    let renewed = lab.next(&first, at(3));
    let fresh = lab.token();
    same("create", &lab.create(&fresh, &renewed, at(3)).await, &Created::Stored);
    let change = Change::Retire(lab.renewed(&token, at(3)));
    same("update", &lab.update(&token, first.version(), &change, at(3)).await, &Updated::Done);
    lab.expect_owned("a renewed session is listed once", &owner, at(3), &[&renewed, &second]).await;

    same("delete", &lab.delete(&other, MINUTE, at(4)).await, &Deleted::Done);
    lab.expect_owned("a deleted session leaves the list", &owner, at(4), &[&renewed]).await;
    lab.expect_owned("an expired session leaves the list", &owner, at(3) + IDLE, &[]).await;
}

pub(super) async fn owners_are_told_apart(lab: Lab) {
    let base = lab.owner();
    let long = base.repeat(20);
    let mut sessions = Vec::new();
    for (index, suffix) in [
        "", "A", "a", "a ", " a", "á", "a\u{301}", "%", "_", "'--", "\"", "\\", "/../x", ":", "{1}", "*", "\n", "ß",
        "ss",
    ]
    .into_iter()
    .enumerate()
    {
        let owner = if index == 0 { long.clone() } else { format!("{base}{suffix}") };
        let record = lab.owned_record(&owner, at(0));
        sessions.push((owner, lab.stored(&record).await, record));
    }
    for (owner, _, record) in &sessions {
        let rule = format!("owners are told apart byte for byte ({owner:?})");
        lab.expect_owned(&rule, owner, at(0), &[record]).await;
    }
    for index in 0..sessions.len() {
        let (owner, ..) = &sessions[index];
        let rule = format!("revoking an owner's sessions leaves everybody else's ({owner:?})");
        same(&rule, &lab.revoke(owner, Revoke::All, MINUTE, at(1)).await, &1);
        for (_, token, record) in &sessions[index + 1..] {
            lab.expect(&rule, token, at(1), &Loaded::Live(record.clone().into())).await;
        }
    }
}

pub(super) async fn revocation_ends_what_it_names(lab: Lab) {
    let (ada, bob) = (lab.owner(), lab.owner());
    let mut sessions = Vec::new();
    for owner in [&ada, &ada, &ada, &ada, &bob] {
        let record = lab.owned_record(owner, at(0));
        sessions.push((lab.stored(&record).await, record));
    }
    let anonymous = lab.record();
    sessions.push((lab.stored(&anonymous).await, anonymous));
    let mut states: Vec<_> = sessions.iter().map(|(_, record)| Loaded::Live(record.clone().into())).collect();
    let handle = |index: usize| sessions[index].1.handle();
    let stone = |lasting, now| Loaded::Tombstone(Tombstone::new(TombstoneKind::Revoked, lasting, now));
    let unknown = SessionHandle::from_bytes(lab.bytes());

    same("delete", &lab.delete(&sessions[3].0, 2 * IDLE, at(1)).await, &Deleted::Done);
    states[3] = Loaded::Tombstone(Tombstone::new(TombstoneKind::Destroyed, 2 * IDLE, at(1)));
    for (name, owner, which, second, ended) in [
        ("One of a handle that nobody has", &ada, Revoke::One(unknown), 2, vec![]),
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
        same(&rule, &lab.revoke(owner, which, MINUTE, at(second)).await, &ended.len());
        for index in ended {
            states[index] = stone(MINUTE, at(second));
        }
        for ((token, _), state) in sessions.iter().zip(&states) {
            // Before the first tombstone ends.
            lab.expect(&rule, token, at(second), state).await;
        }
        let live = (0..3).filter(|&index| matches!(states[index], Loaded::Live(_)));
        let live: Vec<_> = live.map(|index| &sessions[index].1).collect();
        lab.expect_owned(&rule, &ada, at(second), &live).await;
    }
    let (token, record) = &sessions[0];
    let rule = "a revoked session is Gone";
    let change = replace(&lab.next(record, at(13)));
    same(rule, &lab.update(token, record.version(), &change, at(13)).await, &Updated::Gone);
    same(rule, &lab.touch(token, record.version(), at(13) + IDLE, at(13)).await, &Updated::Gone);

    let owner = lab.owner();
    let token = lab.stored(&lab.owned_record(&owner, at(0))).await;
    let rule = "a revocation with a duration of zero leaves nothing";
    same(rule, &lab.revoke(&owner, Revoke::All, Duration::ZERO, at(14)).await, &1);
    lab.expect(rule, &token, at(14), &Loaded::Absent).await;
}

pub(super) async fn revocation_refuses_sign_ins_that_began_before(lab: Lab) {
    let owner = lab.owner();
    let (spared, other) = (SessionHandle::from_bytes(lab.bytes()), SessionHandle::from_bytes(lab.bytes()));
    let one = SessionHandle::from_bytes(lab.bytes());
    // Each row is a revocation and then sign-ins, by handle and second, with whether they count.
    for (name, which, now, sign_ins) in [
        ("One leaves no mark", Revoke::One(one), 10, vec![(one, 5, true), (other, 5, true)]),
        ("Others", Revoke::Others(spared), 20, vec![(other, 19, false), (other, 20, false), (other, 21, true)]),
        ("Others spares its own", Revoke::Others(spared), 22, vec![(spared, 5, true), (other, 21, false)]),
        ("All", Revoke::All, 30, vec![(spared, 29, false), (spared, 30, false), (spared, 31, true)]),
        (
            "Others after All",
            Revoke::Others(spared),
            40,
            vec![(spared, 30, false), (spared, 35, true), (one, 35, false)],
        ),
        (
            "Others than before",
            Revoke::Others(other),
            50,
            vec![(spared, 45, false), (other, 39, false), (other, 45, true)],
        ),
        ("All by an earlier clock", Revoke::All, 45, vec![(one, 47, false), (one, 51, true)]),
    ] {
        lab.revoke(&owner, which, MINUTE, at(now)).await;
        for (handle, second, counts) in sign_ins {
            let record = Record { handle, ..lab.owned_record(&owner, at(second)) };
            let rule = format!("create honours a revocation at {now} s ({name}): signed in at {second} s");
            let token = lab.token();
            honours(&rule, &lab.create(&token, &record, at(55)).await, &record, counts);
            let state = if counts { Loaded::Live(record.clone().into()) } else { Loaded::Absent };
            lab.expect(&rule, &token, at(55), &state).await;
            let listed = if counts { vec![&record] } else { Vec::new() };
            lab.expect_owned(&rule, &owner, at(55), &listed).await;
            lab.delete(&token, Duration::ZERO, at(55)).await;
        }
    }

    let rule = "a revocation concerns its owner only";
    for bystander in [lab.record(), lab.owned_record(&lab.owner(), at(1))] {
        same(rule, &lab.create(&lab.token(), &bystander, at(55)).await, &Created::Stored);
    }
    let late = at(50) + RevocationMark::LIFETIME - Duration::from_secs(1);
    lab.sweep(100, late).await;
    let record = Record { deadline: crate::clock::micros(late + IDLE), ..lab.owned_record(&owner, at(50)) };
    let rule = "a revocation is remembered for a day, swept or not";
    honours(rule, &lab.create(&lab.token(), &record, late).await, &record, false);
}

/// Whether a sign-in counts or is refused, with a mark that says so.
fn honours(rule: &str, created: &Created, record: &Record, counts: bool) {
    let is_right = match created {
        Created::Stored => counts,
        Created::Revoked(mark) => !counts && mark.refuses(record),
        _ => false,
    };
    let expected = if counts { "Stored" } else { "Revoked, with the mark that refuses it" };
    assert!(is_right, "broken: {rule}\n  expected: {expected}\n       got: {created:?}");
}

/// How far a clock has stepped back: beyond the life of every session here.
const STEP: Duration = Duration::from_secs(26 * 60 * 60);

pub(super) async fn revocation_ahead_of_the_clock_ends_no_more(lab: Lab) {
    for (name, counts) in [("All", 2), ("Others", 1), ("One", 1)] {
        let (ada, bob) = (lab.owner(), lab.owner());
        let records = [&ada, &ada, &bob].map(|owner| lab.owned_record(owner, at(0)));
        let mut tokens = Vec::new();
        for record in &records {
            tokens.push(lab.stored(record).await);
        }
        let anonymous = lab.record();
        let other = lab.stored(&anonymous).await;
        let which = match name {
            "All" => Revoke::All,
            "Others" => Revoke::Others(records[1].handle()),
            _ => Revoke::One(records[0].handle()),
        };
        let rule = format!("a revocation whose time is ahead of the clock goes by the clock for what it ends: {name}");
        let revocation = Revocation::new(which, at(1) + STEP, MINUTE);
        same(&rule, &lab.revoke_as(&ada, &revocation, at(1)).await, &counts);
        let stone = Loaded::Tombstone(Tombstone::new(TombstoneKind::Revoked, MINUTE, at(1)));
        lab.expect(&rule, &tokens[0], at(1), &stone).await;
        let second = if name == "All" { stone } else { Loaded::Live(records[1].clone().into()) };
        lab.expect(&rule, &tokens[1], at(1), &second).await;
        lab.expect(&rule, &tokens[2], at(1), &Loaded::Live(records[2].clone().into())).await;
        lab.expect(&rule, &other, at(1), &Loaded::Live(anonymous.into())).await;
        let live: &[&Record] = if name == "All" { &[] } else { &[&records[1]] };
        lab.expect_owned(&rule, &ada, at(1), live).await;
    }
}

pub(super) async fn revocation_ahead_of_the_clock_refuses_sign_ins_up_to_its_time(lab: Lab) {
    let owner = lab.owner();
    let ahead = at(1) + STEP;
    lab.revoke_as(&owner, &Revocation::new(Revoke::All, ahead, MINUTE), at(1)).await;
    // The second clock has gone on for a day, when the mark would go if it went by the clock of the revocation.
    for now in [at(2), at(2) + RevocationMark::LIFETIME, ahead + RevocationMark::LIFETIME - INSTANT] {
        lab.sweep(100, now).await;
        let stamps = [(at(2), false), (ahead - INSTANT, false), (ahead, false), (ahead + INSTANT, true)];
        for (signed_in, counts) in stamps {
            let deadline = crate::clock::micros(now + IDLE);
            let record = Record { deadline, ..lab.owned_record(&owner, signed_in) };
            let token = lab.token();
            let rule = "a sign-in that began before a revocation is refused although the clock is before both";
            honours(rule, &lab.create(&token, &record, now).await, &record, counts);
            let state = if counts { Loaded::Live(record.into()) } else { Loaded::Absent };
            lab.expect(rule, &token, now, &state).await;
        }
    }
}
