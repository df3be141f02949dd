//! Deadlines, clocks and sweeping.

use std::time::{Duration, SystemTime};

use super::call::{Call, Reply};
use super::lab::{IDLE, INSTANT, Lab, MINUTE, at, replace, same};
use crate::clock::micros;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::store::{Change, Created, Deleted, Loaded, Revoke, Updated};
use crate::token::SessionToken;

/// Every call on a session, with its reply where the session has expired.
fn calls(lab: &Lab, token: &SessionToken, record: &Record, now: SystemTime) -> Vec<(Call, Reply)> {
    let owner = record.owner().unwrap_or_default().to_owned();
    let (token, version) = (token.clone(), record.version());
    let gone = || Reply::Updated(Updated::Gone);
    vec![
        (Call::Load(token.clone()), Reply::Loaded(Loaded::Absent)),
        (Call::Update(token.clone(), version, replace(&lab.next(record, now))), gone()),
        // The second update of the same version, as sent again.
        (Call::Update(token.clone(), lab.version(), replace(record)), gone()),
        (Call::Update(token.clone(), version, Change::Retire(lab.renewed(&token, now))), gone()),
        (Call::Touch(token.clone(), version, now + IDLE), gone()),
        (Call::Delete(token, MINUTE), Reply::Deleted(Deleted::Absent)),
        (Call::Owned(owner.clone()), Reply::Owned(Vec::new())),
        (Call::Revoke(owner.clone(), Revoke::One(record.handle()), MINUTE), Reply::Count(0)),
        (Call::Revoke(owner, Revoke::All, MINUTE), Reply::Count(0)),
    ]
}

const CALLS: usize = 9;

pub(super) async fn what_ends_now_is_absent_for_every_method(lab: Lab) {
    let end = at(0) + IDLE;
    for late in [Duration::ZERO, INSTANT, 100 * IDLE] {
        for call in 0..CALLS {
            let record = lab.owned_record(&lab.owner(), at(0));
            let token = lab.stored(&record).await;
            let rule = "a session is live until its deadline, and loading moves no deadline";
            for _ in 0..2 {
                lab.expect(rule, &token, end - INSTANT, &Loaded::Live(record.clone().into())).await;
            }
            let (call, expected) = calls(&lab, &token, &record, end + late).swap_remove(call);
            let rule = format!("a session is absent {late:?} after its deadline, swept or not, for {call:?}");
            same(&rule, &call.run(&lab, end + late).await, &expected);
            lab.expect(&rule, &token, end + late, &Loaded::Absent).await;
            let next = Record { deadline: micros(end + 200 * IDLE), ..lab.record() };
            let rule = "the token of an expired session is free";
            same(rule, &lab.create(&token, &next, end + late).await, &Created::Stored);
            lab.expect(rule, &token, end + late, &Loaded::Live(next.into())).await;
        }
    }
    let record = Record { deadline: micros(at(0)), ..lab.record() };
    let token = lab.token();
    lab.create(&token, &record, at(0)).await;
    lab.expect("a session that ends as it begins is absent", &token, at(0), &Loaded::Absent).await;
}

pub(super) async fn clock_that_goes_back_revives_nothing(lab: Lab) {
    let end = at(0) + IDLE;
    for call in 0..CALLS {
        for check in 0..CALLS {
            let record = lab.owned_record(&lab.owner(), at(0));
            let token = lab.stored(&record).await;
            let (found, _) = calls(&lab, &token, &record, end).swap_remove(call);
            found.run(&lab, end).await;
            let (check, expected) = calls(&lab, &token, &record, end - MINUTE).swap_remove(check);
            let rule = format!("what {found:?} found expired stays absent for {check:?} by an earlier clock");
            same(rule, &check.run(&lab, end - MINUTE).await, &expected);
        }
    }
}

pub(super) async fn tombstone_ends_at_its_time(lab: Lab) {
    for deleted in [true, false] {
        let record = lab.record();
        let token = lab.stored(&record).await;
        let stone = if deleted {
            same("delete of a live session", &lab.delete(&token, MINUTE, at(1)).await, &Deleted::Done);
            Tombstone::new(TombstoneKind::Destroyed, MINUTE, at(1))
        } else {
            let stone = lab.renewed(&token, at(1));
            let change = Change::Retire(stone.clone());
            same("update", &lab.update(&token, record.version(), &change, at(1)).await, &Updated::Done);
            stone
        };
        let rule = "a tombstone stands until its time and not a moment longer";
        lab.expect(rule, &token, at(61) - INSTANT, &Loaded::Tombstone(stone)).await;
        lab.expect(rule, &token, at(61), &Loaded::Absent).await;
        same(rule, &lab.delete(&token, MINUTE, at(61)).await, &Deleted::Absent);
        lab.expect(rule, &token, at(61), &Loaded::Absent).await;
        let next = lab.record();
        same(rule, &lab.create(&token, &next, at(61)).await, &Created::Stored);
        lab.expect(rule, &token, at(61), &Loaded::Live(next.into())).await;
    }
}

/// Times at which numbers, calendars and formats run out.
pub(super) const EDGES: [(&str, u64); 5] = [
    ("1970", 0),
    ("the first second", 1),
    ("2038, i32", 2_147_483_647),
    ("2106, u32", 4_294_967_295),
    ("the end of year 9999", 253_402_300_799 - 60),
];

/// A record that begins then and ends a minute less an instant later.
pub(super) fn record_at(record: Record, now: SystemTime) -> Record {
    let (now, end) = (micros(now), micros(now + MINUTE - INSTANT));
    Record { created: now, seen: now, deadline: end, absolute: end, ..record }
}

pub(super) async fn times_from_1970_to_9999_are_exact(lab: Lab) {
    for (name, seconds) in EDGES {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let record = record_at(lab.record(), now);
        let token = lab.token();
        let rule = format!("times are kept to the microsecond ({name})");
        same(&rule, &lab.create(&token, &record, now).await, &Created::Stored);
        lab.expect(&rule, &token, now, &Loaded::Live(record.clone().into())).await;
        lab.expect(&rule, &token, record.deadline() - INSTANT, &Loaded::Live(record.clone().into())).await;
        lab.expect(&rule, &token, record.deadline(), &Loaded::Absent).await;

        let record = record_at(lab.record(), now);
        let token = lab.token();
        same(&rule, &lab.create(&token, &record, now).await, &Created::Stored);
        same(&rule, &lab.delete(&token, MINUTE / 2, now + INSTANT).await, &Deleted::Done);
        let stone = Tombstone::new(TombstoneKind::Destroyed, MINUTE / 2, now + INSTANT);
        lab.expect(&rule, &token, now + MINUTE / 2, &Loaded::Tombstone(stone)).await;
        lab.expect(&rule, &token, now + MINUTE / 2 + INSTANT, &Loaded::Absent).await;
    }
    let before = SystemTime::UNIX_EPOCH - MINUTE;
    let record = record_at(lab.record(), SystemTime::UNIX_EPOCH);
    let token = lab.token();
    let rule = "a clock before 1970 counts as 1970";
    same(rule, &lab.create(&token, &record, before).await, &Created::Stored);
    lab.expect(rule, &token, before, &Loaded::Live(record.into())).await;
}

pub(super) async fn sweep_removes_what_expired_and_nothing_else(lab: Lab) {
    let owner = lab.owner();
    let (mut expired, mut standing) = (Vec::new(), Vec::new());
    for index in 0..9 {
        let record = if index % 2 == 0 { lab.record() } else { lab.owned_record(&owner, at(0)) };
        let token = lab.stored(&record).await;
        // Two tombstones that end, one that stands, a session that was touched, two that live on, three that end.
        match index {
            0 | 1 => {
                lab.delete(&token, MINUTE, at(1)).await;
            }
            2 => {
                lab.delete(&token, 2 * IDLE, at(1)).await;
            }
            3 => {
                lab.touch(&token, record.version(), at(1) + 2 * IDLE, at(1)).await;
            }
            4 | 5 => {
                let next = Record { deadline: micros(at(0) + IDLE + INSTANT), ..lab.next(&record, at(1)) };
                lab.update(&token, record.version(), &replace(&next), at(1)).await;
            }
            _ => {}
        }
        if matches!(index, 2..=5) {
            standing.push((token.clone(), lab.load(&token, at(1)).await));
        } else {
            expired.push(token);
        }
    }
    let end = at(0) + IDLE;
    same("a sweep with a limit of zero removes nothing", &lab.sweep(0, end).await, &0);
    let mut swept = Vec::new();
    while swept.last() != Some(&0) {
        swept.push(lab.sweep(2, end).await);
        assert!(swept.len() < 100, "broken: sweeping comes to an end\n  got: {swept:?}");
    }
    if lab.store().sweeps() {
        let rule = "sweeps remove each record and tombstone that has ended, and count it once";
        same(rule, &swept.iter().sum(), &expired.len());
        for token in &expired {
            lab.expect("what was swept stays absent by an earlier clock", token, at(1), &Loaded::Absent).await;
        }
    }
    for (token, state) in &standing {
        lab.expect("a sweep leaves what has not ended as it is", token, end, state).await;
    }
    let listed = lab.owned(&owner, end).await.len();
    same("a sweep leaves the owner's list of live sessions", &listed, &2);
}
