//! Deadlines, clocks and sweeping.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::fixture::{Fixture, IDLE, INSTANT, MINUTE, at, replace, same};
use super::operation::StoreAnswer;
use super::operation::StoreOperation::{self, Delete, Load, Owned, Touch, Update};
use crate::clock::micros;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::store::{Change, Created, Deleted, Loaded, Revoke, Updated};
use crate::token::SessionToken;

/// Returns every call on a session, with its answer if the session is absent.
fn calls(
    fixture: &Fixture,
    token: &SessionToken,
    record: &Record,
    now: SystemTime,
) -> Vec<(StoreOperation, StoreAnswer)> {
    let version = record.version();
    let gone = || StoreAnswer::Updated(Updated::Gone);
    let mut calls = vec![
        (Load(token.clone()), StoreAnswer::Loaded(Loaded::Absent)),
        (Update(token.clone(), version, replace(&fixture.next(record, now))), gone()),
        // An update to the version that is stored already, as one that is sent again.
        (Update(token.clone(), fixture.version(), replace(record)), gone()),
        (Update(token.clone(), version, Change::Retire(fixture.renewed(now))), gone()),
        (Touch(token.clone(), version, now + IDLE), gone()),
    ];
    if !fixture.is_client_side() {
        calls.push((Delete(token.clone(), MINUTE), StoreAnswer::Deleted(Deleted::Absent)));
    }
    if let Some(owner) = record.owner() {
        calls.push((Owned(owner.to_owned()), StoreAnswer::Owned(Vec::new())));
        for which in [Revoke::These(vec![record.handle()]), Revoke::All] {
            let revocation = fixture.revocation(which, MINUTE);
            calls.push((StoreOperation::Revoke(owner.to_owned(), revocation), StoreAnswer::Count(0)));
        }
    }
    calls
}

pub(super) async fn expect_absent_for_every_call(
    fixture: &Fixture,
    rule: &str,
    token: &SessionToken,
    record: &Record,
    now: SystemTime,
) {
    for (call, expected) in calls(fixture, token, record, now) {
        same(format!("{rule}: {call:?}"), &call.run(fixture, now).await, &expected);
    }
    fixture.expect_absent(rule, token, now).await;
}

/// Stores a record for which [`calls`] has every call of the store.
async fn stored_session(fixture: &Fixture) -> (SessionToken, Record) {
    if fixture.is_client_side() {
        return fixture.session().await;
    }
    fixture.owned_session(&fixture.owner()).await
}

pub(super) async fn what_ends_now_is_absent_for_every_method(fixture: Arc<Fixture>) {
    let end = at(0) + IDLE;
    let (token, record) = stored_session(&fixture).await;
    for late in [Duration::ZERO, INSTANT, 100 * IDLE] {
        for call in 0..calls(&fixture, &token, &record, end).len() {
            let (token, record) = stored_session(&fixture).await;
            let rule = "a session is live until its deadline, and loading moves no deadline";
            for _ in 0..2 {
                fixture.expect_live(rule, &token, end - INSTANT, &record).await;
            }
            let (call, expected) = calls(&fixture, &token, &record, end + late).swap_remove(call);
            let rule = format!("a session is absent {late:?} after its deadline, swept or not, for {call:?}");
            same(&rule, &call.run(&fixture, end + late).await, &expected);
            fixture.expect_absent(&rule, &token, end + late).await;
            if fixture.is_client_side() {
                continue;
            }
            let later = micros(end + 200 * IDLE);
            let next = Record { deadline: later, absolute: later, ..fixture.record() };
            let rule = "the token of an expired session is free";
            same(rule, &fixture.create(&token, &next, end + late).await, &Created::Stored);
            fixture.expect_live(rule, &token, end + late, &next).await;
        }
    }
    let token = fixture.stored(&Record { deadline: micros(at(0)), ..fixture.record() }).await;
    fixture.expect_absent("a session that ends as it begins is absent", &token, at(0)).await;
}

pub(super) async fn clock_that_goes_back_revives_nothing(fixture: Arc<Fixture>) {
    let end = at(0) + IDLE;
    let (token, record) = stored_session(&fixture).await;
    let count = calls(&fixture, &token, &record, end).len();
    for (call, check) in (0..count).flat_map(|call| (0..count).map(move |check| (call, check))) {
        let (token, record) = stored_session(&fixture).await;
        let (found, _) = calls(&fixture, &token, &record, end).swap_remove(call);
        found.run(&fixture, end).await;
        for back in [INSTANT, MINUTE, IDLE] {
            let (check, expected) = calls(&fixture, &token, &record, end - back).swap_remove(check);
            let rule = format!("a session that {found:?} found expired stays absent {back:?} before for {check:?}");
            same(rule, &check.run(&fixture, end - back).await, &expected);
        }
    }
    let long = Record { deadline: micros(end + 1_000 * IDLE), ..fixture.record() };
    let token = fixture.stored(&long).await;
    fixture.expect_absent("a wild clock finds a long session expired", &token, long.deadline()).await;
    let (token, record) = fixture.session().await;
    let rule = "a session that begins after a step back lives, whatever was found expired before";
    fixture.expect_live(rule, &token, at(1), &record).await;
}

pub(super) async fn tombstone_ends_at_its_time(fixture: Arc<Fixture>) {
    let rule = "a tombstone stands until its time and not a moment longer";
    for is_deleted in [true, false] {
        let (token, record) = fixture.session().await;
        let stone = if is_deleted {
            fixture.deleted(&token, MINUTE, at(1)).await;
            Tombstone::new(TombstoneKind::Destroyed, MINUTE, at(1))
        } else {
            let stone = fixture.renewed(at(1));
            fixture.apply(&token, &record, &Change::Retire(stone.clone()), at(1)).await;
            stone
        };
        fixture.expect(rule, &token, at(61) - INSTANT, &Loaded::Tombstone(stone)).await;
        fixture.expect_absent(rule, &token, at(61)).await;
        same(rule, &fixture.delete(&token, MINUTE, at(61)).await, &Deleted::Absent);
        fixture.expect_absent(rule, &token, at(61)).await;
        let next = fixture.record();
        same(rule, &fixture.create(&token, &next, at(61)).await, &Created::Stored);
        fixture.expect_live(rule, &token, at(61), &next).await;
    }
}

pub(super) async fn times_from_1970_to_9999_are_exact(fixture: Arc<Fixture>) {
    // Each ends a minute less an instant later.
    let record_at = |now| {
        let (now, end) = (micros(now), micros(now + MINUTE - INSTANT));
        Record { created: now, seen: now, deadline: end, absolute: end, ..fixture.record() }
    };
    // Times at which numbers, calendars and formats run out.
    for (name, seconds) in [
        ("1970", 0),
        ("the first second", 1),
        ("2038, i32", 2_147_483_647),
        ("2106, u32", 4_294_967_295),
        ("the end of year 9999", 253_402_300_799 - 60),
    ] {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let record = record_at(now);
        let rule = format!("times are kept to the microsecond ({name})");
        let token = fixture.stored_at(&record, now).await;
        for now in [now, record.deadline() - INSTANT] {
            fixture.expect_live(&rule, &token, now, &record).await;
        }
        fixture.expect_absent(&rule, &token, record.deadline()).await;
        if fixture.is_client_side() {
            continue;
        }
        let token = fixture.stored_at(&record_at(now), now).await;
        fixture.deleted(&token, MINUTE / 2, now + INSTANT).await;
        let stone = Tombstone::new(TombstoneKind::Destroyed, MINUTE / 2, now + INSTANT);
        fixture.expect(&rule, &token, now + MINUTE / 2, &Loaded::Tombstone(stone)).await;
        fixture.expect_absent(&rule, &token, now + MINUTE / 2 + INSTANT).await;
    }
    let before = SystemTime::UNIX_EPOCH - MINUTE;
    let record = record_at(SystemTime::UNIX_EPOCH);
    let token = fixture.stored_at(&record, before).await;
    fixture.expect_live("a clock before 1970 counts as 1970", &token, before, &record).await;
}

pub(super) async fn sweep_removes_what_expired_and_nothing_else(fixture: Arc<Fixture>) {
    let owner = fixture.owner();
    let (mut expired, mut standing) = (Vec::new(), Vec::new());
    for index in 0..9 {
        let mut record = if index % 2 == 0 { fixture.record() } else { fixture.owned_record(&owner, at(0)) };
        let token = fixture.stored(&record).await;
        // Two tombstones that end, one that stands, a session that was touched, two that live on, three that end.
        match index {
            0 | 1 => fixture.deleted(&token, MINUTE, at(1)).await,
            2 => fixture.deleted(&token, 2 * IDLE, at(1)).await,
            3 => fixture.touched(&token, &mut record, at(1) + 2 * IDLE, at(1)).await,
            4 | 5 => {
                let next = Record { deadline: micros(at(0) + IDLE + INSTANT), ..fixture.next(&record, at(1)) };
                fixture.apply(&token, &record, &replace(&next), at(1)).await;
            }
            _ => {}
        }
        if matches!(index, 2..=5) {
            standing.push((token.clone(), fixture.load(&token, at(1)).await));
        } else {
            expired.push(token);
        }
    }
    let end = at(0) + IDLE;
    same("a sweep with a limit of zero removes nothing", &fixture.sweep(0, end).await, &0);
    let mut swept = Vec::new();
    while swept.last() != Some(&0) {
        swept.push(fixture.sweep(2, end).await);
        assert!(swept.len() < 100, "broken: sweeping comes to an end\n  got: {swept:?}");
    }
    if fixture.is_swept() {
        let rule = "sweeps remove each record and tombstone that has ended, and count it once";
        same(rule, &swept.iter().sum(), &expired.len());
        for token in &expired {
            fixture.expect_absent("a session that was swept stays absent by an earlier clock", token, at(1)).await;
        }
    }
    for (token, state) in &standing {
        fixture.expect("a sweep leaves each session that has not ended as it is", token, end, state).await;
    }
    let listed = fixture.owned(&owner, end).await.len();
    same("a sweep leaves the owner's list of live sessions", &listed, &2);
}
