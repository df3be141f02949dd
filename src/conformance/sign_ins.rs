//! The order of an owner's sign-ins and revocations, which is the store's.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::fixture::{Fixture, IDLE, INSTANT, MINUTE, at, live, replace, same};
use super::operation::{StoreAnswer, StoreOperation};
use super::races::at_once;
use crate::clock::{micros, span};
use crate::record::{Began, Beginning, Record, SessionHandle, Tombstone, TombstoneKind};
use crate::store::{Change, Created, Loaded, OwnedSession, RevocationMark, Revoke};
use crate::token::SessionToken;

const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// The clock of a host that revokes or signs in may be this far off the other way: a store that has no clock keeps a mark
/// for a day by those of the hosts.
const HOURS: Duration = Duration::from_secs(11 * 60 * 60);

/// Returns the time by the clocks of three hosts: a right one, one that is years ahead, and one that is years behind.
fn clocks(seconds: u64) -> [SystemTime; 3] {
    let now = at(seconds);
    [now, now + YEARS, now - YEARS]
}

/// Returns the record of a session that lives by every clock, and can be touched once.
fn long_lived(record: Record) -> Record {
    let end = micros(at(0) + 3 * YEARS);
    Record { deadline: end, absolute: end + span(MINUTE), ..record }
}

/// Creates a record, and returns the moment that its sign-in was given.
async fn signed_in(fixture: &Fixture, rule: &str, token: &SessionToken, record: &Record, now: SystemTime) -> u64 {
    let created = fixture.sent(token, record, now).await;
    let Ok(Created::SignedIn(moment @ 1..)) = created else {
        panic!("broken: {rule}\n  expected: SignedIn\n       got: {created:?}")
    };
    moment
}

pub(super) async fn each_sign_in_has_a_later_moment(fixture: Arc<Fixture>) {
    let owner = fixture.owner();
    // The moments of the sessions that live or were revoked.
    let mut moments = vec![0];
    for (round, now) in clocks(0).into_iter().chain(clocks(1)).cycle().take(24).enumerate() {
        let rule = format!("a sign-in has a later moment than the sessions before it, by a host's clock of {now:?}");
        let shown = fixture.one_of([at(0), at(0) + YEARS, at(0) - YEARS, SystemTime::UNIX_EPOCH + INSTANT]);
        let (token, record) = (fixture.token(), long_lived(fixture.owned_record(&owner, shown)));
        let moment = signed_in(&fixture, &rule, &token, &record, now).await;
        assert!(
            moments.iter().all(|before| moment > *before),
            "broken: {rule}\n  before: {moments:?}\n     got: {moment}"
        );

        let rule = "a session keeps the moment of its sign-in";
        same(rule, &signed_in(&fixture, "create that is sent again", &token, &record, now).await, &moment);
        let record = record.with_sign_in(moment);
        shows(&fixture, rule, &token, &record, now).await;
        let mut next = Record { deadline: record.deadline, ..fixture.next(&record, now) };
        fixture.apply(&token, &record, &replace(&next), now).await;
        let deadline = next.deadline() + MINUTE;
        fixture.touched(&token, &mut next, deadline, now).await;
        shows(&fixture, rule, &token, &next, now).await;
        let (fresh, renewed) = (fixture.token(), Record { deadline: next.deadline, ..fixture.next(&next, now) });
        same(rule, &signed_in(&fixture, "create of a renewed session", &fresh, &renewed, now).await, &moment);
        fixture.apply(&token, &next, &Change::Retire(fixture.renewed(now)), now).await;
        shows(&fixture, rule, &fresh, &renewed, now).await;
        match round % 6 {
            2 => drop(fixture.revoke(&owner, Revoke::All, Duration::ZERO, now).await),
            4 => fixture.deleted(&fresh, Duration::ZERO, now).await,
            _ => {}
        }
        // A store need not remember a session that was deleted.
        moments.extend((round % 6 != 4).then_some(moment));
    }
}

/// Expects a session, as it is loaded and listed, with the moment of this record.
async fn shows(fixture: &Fixture, rule: &str, token: &SessionToken, record: &Record, now: SystemTime) {
    let loaded = fixture.store().load(token, now).await.ok();
    same(rule, &loaded, &Some(live(record)));
    if let Some(Loaded::Live(loaded)) = &loaded {
        same(rule, &loaded.sign_in(), &record.sign_in());
    }
    let owned = fixture.store().owned(record.owner().unwrap_or_default(), now).await.unwrap_or_default();
    let listed = owned.into_iter().find(|session| session.handle == record.handle());
    same(rule, &listed, &Some(OwnedSession::from(record)));
}

/// A sign-in that began in some period between revocations, or a renewal of a session that signed in then.
#[derive(Debug, Clone, Copy)]
enum Since {
    Began(usize),
    Moment(usize),
}

pub(super) async fn revocation_refuses_sign_ins_that_began_before(fixture: Arc<Fixture>) {
    use Since::{Began as B, Moment as M};
    let owner = fixture.owner();
    let [spared, other, one] = std::array::from_fn(|_| fixture.handle());
    // Each row is a revocation, and the sign-ins and renewals after it, with whether each counts. Period 0 is before the
    // first row, period 1 after it, and so on.
    let rows: [(_, _, &[(SessionHandle, Since, bool)]); _] = [
        (
            "These leaves no mark",
            Revoke::These(vec![one]),
            &[(one, B(0), true), (one, M(0), true), (other, B(0), true)],
        ),
        (
            "Others",
            Revoke::Others(spared),
            &[
                (other, B(0), false),
                (other, B(1), false),
                (other, M(1), false),
                (other, B(2), true),
                (other, M(2), true),
            ],
        ),
        (
            "Others spares its own",
            Revoke::Others(spared),
            &[
                (spared, B(0), true),
                (spared, M(0), true),
                (other, B(2), false),
                (other, M(2), false),
                (other, B(3), true),
            ],
        ),
        (
            "All",
            Revoke::All,
            &[(spared, B(3), false), (spared, M(3), false), (spared, B(4), true), (spared, M(4), true)],
        ),
        (
            "Others after All",
            Revoke::Others(spared),
            &[
                (spared, B(3), false),
                (spared, M(3), false),
                (spared, M(4), true),
                (one, B(4), false),
                (one, M(4), false),
            ],
        ),
        (
            "Others than before",
            Revoke::Others(other),
            &[
                (spared, B(5), false),
                (spared, M(5), false),
                (other, M(4), false),
                (other, B(4), false),
                (other, M(5), true),
            ],
        ),
    ];
    let mut periods = vec![period(&fixture, &owner).await];
    let mut step = 0;
    for (name, which, sign_ins) in rows {
        for clock in [at(step) - HOURS, at(step) + YEARS, at(step)] {
            fixture.revoke(&owner, which.clone(), MINUTE, clock).await;
        }
        periods.push(period(&fixture, &owner).await);
        let leaves_mark = !matches!(which, Revoke::These(_));
        for (handle, since, counts) in sign_ins.iter().copied() {
            for now in [at(step), at(step) + HOURS, at(step) - YEARS] {
                let rule = format!("create honours a revocation ({name}): {since:?} by a clock of {now:?}");
                let record = sign_in(&fixture, &owner, handle, &periods, since);
                signs_in(&fixture, &rule, &record, now, counts).await;
            }
            step += 1;
        }
        let moved = Record { began: Began::default(), ..long_lived(fixture.owned_record(&owner, at(0))) };
        let rule = format!("a sign-in whose begin nobody knows is older than any revocation ({name})");
        signs_in(&fixture, &rule, &moved, at(step), !leaves_mark).await;
    }

    let rule = "a revocation concerns its owner only";
    let stranger = Record { began: Began::default(), ..long_lived(fixture.owned_record(&fixture.owner(), at(1))) };
    signs_in(&fixture, rule, &stranger, at(55), true).await;
    same(rule, &fixture.create(&fixture.token(), &fixture.record(), at(55)).await, &Created::Stored);
    let late = at(step) + RevocationMark::LIFETIME - MINUTE;
    fixture.sweep(100, late).await;
    let record = sign_in(&fixture, &owner, one, &periods, B(0));
    signs_in(&fixture, "a revocation is remembered for a day, swept or not", &record, late, false).await;
}

/// Returns the present time of this process, and the moment of a session that signs in now and out again.
async fn period(fixture: &Fixture, owner: &str) -> (Beginning, u64) {
    let began = Beginning::now();
    let (token, record) = (fixture.token(), long_lived(fixture.owned_record(owner, at(0))));
    let moment = signed_in(fixture, "a sign-in that begins after each revocation counts", &token, &record, at(0)).await;
    fixture.deleted(&token, Duration::ZERO, at(0)).await;
    (began, moment)
}

fn sign_in(
    fixture: &Fixture,
    owner: &str,
    handle: SessionHandle,
    periods: &[(Beginning, u64)],
    since: Since,
) -> Record {
    let record = Record { handle, ..long_lived(fixture.owned_record(owner, at(0))) };
    match since {
        Since::Began(period) => Record { began: Began::at(periods[period].0), ..record },
        Since::Moment(period) => Record { sign_in: periods[period].1, began: Began::default(), ..record },
    }
}

/// Signs in with a record, which either counts or is refused, and signs out again.
async fn signs_in(fixture: &Fixture, rule: &str, record: &Record, now: SystemTime, counts: bool) {
    let token = fixture.token();
    if counts {
        signed_in(fixture, rule, &token, record, now).await;
    } else {
        let created = fixture.sent(&token, record, now).await;
        same(rule, &created.ok(), &Some(Created::Revoked));
    }
    let state = if counts { live(record) } else { Loaded::Absent };
    fixture.expect(rule, &token, now, &state).await;
    let listed = if counts { vec![record] } else { Vec::new() };
    fixture.expect_owned(rule, record.owner().unwrap_or_default(), now, &listed).await;
    fixture.delete(&token, Duration::ZERO, now).await;
}

pub(super) async fn revocation_by_a_wrong_clock_counts_for_everybody(fixture: Arc<Fixture>) {
    let clocks = [at(1), at(1) + YEARS, at(1) - HOURS];
    for (name, now) in clocks.into_iter().flat_map(|now| ["All", "Others", "These"].map(|name| (name, now))) {
        let (ada, bob) = (fixture.owner(), fixture.owner());
        let mut sessions = Vec::new();
        for owner in [None, Some(&bob), Some(&ada), Some(&ada)] {
            let record = owner.map_or_else(|| fixture.record(), |owner| fixture.owned_record(owner, at(0)));
            let record = long_lived(record);
            sessions.push((fixture.stored(&record).await, record));
        }
        let [anonymous, others, first, second] = &sessions[..] else { unreachable!("four sessions") };
        let late = long_lived(fixture.owned_record(&ada, at(0) + 2 * YEARS));
        let (which, count) = match name {
            "All" => (Revoke::All, 2),
            "Others" => (Revoke::Others(second.1.handle()), 1),
            _ => (Revoke::These(vec![first.1.handle()]), 1),
        };
        let rule = format!("a revocation ends what it names, by whatever clock: {name} by one of {now:?}");
        same(&rule, &fixture.revoke(&ada, which, MINUTE, now).await, &count);
        let stone = Loaded::Tombstone(Tombstone::new(TombstoneKind::Revoked, MINUTE, now));
        fixture.expect(&rule, &first.0, now, &stone).await;
        let state = fixture.load(&first.0, at(1)).await;
        assert!(!matches!(state, Loaded::Live(_)), "broken: {rule}\n  got: {state:?} by another clock");
        let mut living = vec![anonymous, others];
        living.extend((count == 1).then_some(second));
        for (token, record) in living {
            fixture.expect_live(&rule, token, at(1), record).await;
        }
        let listed = if count == 1 { vec![&second.1] } else { Vec::new() };
        fixture.expect_owned(&rule, &ada, at(1), &listed).await;

        let rule = format!("a revocation refuses the sign-ins that began before, by whatever clock: {name}");
        let created = fixture.create(&fixture.token(), &late, at(2)).await;
        same(&rule, &created, &if name == "These" { Created::Stored } else { Created::Revoked });
        let rule = format!("a sign-in on another host counts after a revocation by a clock of {now:?}");
        let token = fixture.token();
        let record = fixture.owned_record(&ada, at(2));
        same(&rule, &fixture.create(&token, &record, at(2)).await, &Created::Stored);
        fixture.expect_live(&rule, &token, at(2), &record).await;
    }
}

pub(super) async fn revocation_reaches_a_concurrent_sign_in(fixture: Arc<Fixture>) {
    let race = async |is_create_first: bool, polls: Option<usize>| {
        let (owner, token) = (fixture.owner(), fixture.token());
        let create = StoreOperation::Create(token.clone(), fixture.owned_record(&owner, at(59)));
        let mut calls = [create, StoreOperation::Revoke(owner.clone(), fixture.revocation(Revoke::All, MINUTE))];
        if !is_create_first {
            calls.reverse();
        }
        let (answers, was_ahead) = at_once(&fixture, calls.map(|call| (call, at(60))), polls).await;
        let created = &answers[usize::from(!is_create_first)];
        let rule = "once a revocation has returned, no sign-in that began before it counts";
        let state = fixture.load(&token, at(61)).await;
        assert!(!matches!(state, Loaded::Live(_)), "broken: {rule}\n  create answered {created:?}, load {state:?}");
        fixture.expect_owned(rule, &owner, at(61), &[]).await;
        let is_answer = matches!(created, StoreAnswer::Created(Created::Stored | Created::Revoked));
        assert!(is_answer, "broken: {rule}\n  expected: Stored or Revoked\n       got: {created:?}");
        was_ahead
    };
    for _ in 0..fixture.rounds() {
        race(true, None).await;
    }
    for is_create_first in [true, false] {
        let mut polls = 1;
        while !race(is_create_first, Some(polls)).await {
            polls += 1;
        }
    }
}

/// Signs in while others look at the owner's list, which may hold the session before its record is there.
pub(super) async fn session_that_is_created_during_listings_is_not_lost(fixture: Arc<Fixture>) {
    let race = async |kind: usize, is_create_first: bool, polls: Option<usize>| {
        let (owner, token) = (fixture.owner(), fixture.token());
        let (standing, _) = fixture.owned_session(&owner).await;
        let record = fixture.owned_record(&owner, at(59));
        let others = [vec![], vec![fixture.handle()]].map(Revoke::These);
        let [none, nobody] = others.map(|which| StoreOperation::Revoke(owner.clone(), fixture.revocation(which, IDLE)));
        let look = match kind {
            0 => StoreOperation::Owned(owner.clone()),
            1 => nobody,
            2 => none,
            3 => {
                let which = Revoke::Others(record.handle());
                StoreOperation::Revoke(owner.clone(), fixture.revocation(which, IDLE))
            }
            4 => StoreOperation::Create(fixture.token(), fixture.owned_record(&owner, at(59))),
            5 => StoreOperation::Sweep(1_000),
            _ => StoreOperation::Delete(standing, Duration::ZERO),
        };
        let mut calls = [StoreOperation::Create(token.clone(), record.clone()), look];
        if !is_create_first {
            calls.reverse();
        }
        let rule = format!("a session that is created during another call is found later: {:?}", calls[1]);
        let (answers, was_ahead) = at_once(&fixture, calls.map(|call| (call, at(60))), polls).await;
        let created = &answers[usize::from(!is_create_first)];
        same(&rule, created, &StoreAnswer::Created(Created::Stored));
        let listed = fixture.owned(&owner, at(61)).await;
        let is_listed = listed.iter().any(|session| session.handle == record.handle());
        assert!(is_listed, "broken: {rule}\n  expected: it is listed\n       got: {listed:?}");
        same(&rule, &fixture.revoke(&owner, Revoke::All, IDLE, at(62)).await, &listed.len());
        let stone = Loaded::Tombstone(Tombstone::new(TombstoneKind::Revoked, IDLE, at(62)));
        fixture.expect(&rule, &token, at(63), &stone).await;
        was_ahead
    };
    for kind in 0..7 {
        for _ in 0..fixture.rounds().div_ceil(4) {
            race(kind, true, None).await;
        }
        // A sweep has too many steps to stop at each.
        let orders = if kind == 5 { &[true][..] } else { &[true, false] };
        for is_create_first in orders {
            let mut polls = 1;
            while !race(kind, *is_create_first, Some(polls)).await {
                polls += 1;
            }
        }
    }
}
