//! Calls at the same time, and calls that are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::call::{Call, Reply};
use super::lab::{IDLE, Lab, MINUTE, at, same, same_state};
use super::reference::Reference;
use super::steps::{overtake, together};
use crate::record::{Entry, Record, Tombstone, TombstoneKind};
use crate::store::{Change, Created, Deadline, Deleted, Loaded, OwnedSession, Revoke, Updated};
use crate::token::SessionToken;

/// A session, and what several requests do to it at once.
struct Stage {
    token: SessionToken,
    /// Nothing is stored for it yet.
    fresh: SessionToken,
    record: Record,
    calls: Vec<(&'static str, Call, SystemTime)>,
}

impl Stage {
    /// The reference stands in for "in some order": its answers depend on the stage, which is the same for all.
    fn new(lab: &Lab) -> Self {
        let owner = lab.owner();
        let record = lab.owned_record(&owner, at(0));
        let (token, fresh, version) = (lab.token(), lab.token(), record.version());
        let (now, late) = (at(60), at(0) + IDLE);
        // Signed in after the revocation, which therefore does not concern it.
        let other = lab.owned_record(&owner, at(61));
        let update =
            |deadline| Call::Update(token.clone(), version, Change::Replace(lab.next(&record, now).into(), deadline));
        let retire = || Call::Update(token.clone(), version, Change::Retire(lab.renewed(&token, now)));
        let calls = vec![
            ("update", update(Deadline::Keep), now),
            ("update that extends", update(Deadline::Extend), now),
            ("touch", Call::Touch(token.clone(), version, now + IDLE), now),
            ("delete", Call::Delete(token.clone(), IDLE), now),
            ("delete without a tombstone", Call::Delete(token.clone(), Duration::ZERO), now),
            ("retire", retire(), now),
            ("retire, too", retire(), now),
            ("create", Call::Create(token.clone(), other), now),
            ("create of a fresh one", Call::Create(fresh.clone(), lab.next(&lab.record(), now)), now),
            ("create of the same fresh one", Call::Create(fresh.clone(), lab.next(&lab.record(), now)), now),
            ("revoke one", Call::Revoke(owner.clone(), Revoke::One(record.handle()), IDLE), now),
            ("revoke all", Call::Revoke(owner, Revoke::All, IDLE), now),
            ("load after the deadline", Call::Load(token.clone()), late),
            ("sweep after the deadline", Call::Sweep(1_000_000), late),
        ];
        Self { token, fresh, record, calls }
    }

    async fn ends(&self, lab: &Lab, now: SystemTime) -> (Loaded, Loaded, Vec<OwnedSession>) {
        let owner = self.record.owner().unwrap_or_default();
        (lab.load(&self.token, now).await, lab.load(&self.fresh, now).await, lab.owned(owner, now).await)
    }
}

/// Every pair of calls on one session leads to the replies and the state of one after the other, whichever comes
/// first: no lost update, no session that is resurrected, no half of a step.
pub(super) async fn concurrent_calls_are_atomic(lab: Lab) {
    let count = Stage::new(&lab).calls.len();
    for (first, second) in (0..count).flat_map(|first| (0..count).map(move |second| (first, second))) {
        // On threads the order says nothing. A quarter each, since there are a hundred pairs.
        let rounds = if first <= second { lab.rounds().div_ceil(4) } else { 0 };
        for _ in 0..rounds {
            contend(&lab, first, second, None).await;
        }
        // A list or a sweep of what is left would take ever longer.
        lab.sweep(1_000_000, at(0) + 100 * IDLE).await;
        // A sweep of many shards waits hundreds of times; what waits less is suspended at every point.
        let mut polls = 1;
        while !contend(&lab, first, second, Some(polls)).await {
            polls += 1 + polls / 16;
        }
    }
}

/// Runs two calls, on threads or one suspended after so many polls, and returns whether that was its end.
async fn contend(lab: &Lab, first: usize, second: usize, polls: Option<usize>) -> bool {
    let stage = Stage::new(lab);
    let ((one, call, now), (two, other, later)) = (stage.calls[first].clone(), stage.calls[second].clone());
    // Whether a tombstone that is there already is `Done` or `Gone` is not for a race to say.
    if first == second && one == "retire" {
        return true;
    }
    if !lab.store().sweeps() && (one.starts_with("sweep") || two.starts_with("sweep")) {
        return true;
    }
    same("create", &lab.create(&stage.token, &stage.record, at(0)).await, &Created::Stored);
    let (replies, was_ahead) = if let Some(polls) = polls {
        let (a, b, was_ahead) = overtake(polls, call.run(lab, now), other.run(lab, later)).await;
        ((a, b), was_ahead)
    } else {
        let calls = [(call.clone(), now), (other.clone(), later)].map(|(call, now)| {
            let lab = lab.clone();
            async move { call.run(&lab, now).await }
        });
        let mut replies = together(calls).await;
        let second = replies.pop().expect("two calls");
        ((replies.pop().expect("two calls"), second), true)
    };
    let got = (counted(&call, replies.0), counted(&other, replies.1), stage.ends(lab, now.max(later)).await);
    let mut allowed = Vec::new();
    for second_first in [false, true] {
        let model = Lab::new(Reference::default().into());
        model.create(&stage.token, &stage.record, at(0)).await;
        let (a, b) = if second_first {
            let b = other.run(&model, later).await;
            (call.run(&model, now).await, b)
        } else {
            (call.run(&model, now).await, other.run(&model, later).await)
        };
        allowed.push((counted(&call, a), counted(&other, b), stage.ends(&model, now.max(later)).await));
    }
    let how = polls.map_or("on two threads".to_owned(), |polls| format!("`{one}` suspended after {polls} polls"));
    assert!(
        allowed.contains(&got),
        "broken: `{one}` and `{two}` at once do what they do in some order ({how})\n  expected: {:?}\n        or: {:?}\n       \
         got: {got:?}",
        allowed[0],
        allowed[1],
    );
    was_ahead
}

/// A sweep counts what earlier rounds left, too.
fn counted(call: &Call, reply: Reply) -> Reply {
    if matches!(call, Call::Sweep(_)) { Reply::Count(0) } else { reply }
}

pub(super) async fn revocation_reaches_a_concurrent_sign_in(lab: Lab) {
    let stage = |lab: &Lab| {
        let owner = lab.owner();
        let record = lab.owned_record(&owner, at(59));
        let token = lab.token();
        (owner.clone(), token.clone(), Call::Create(token, record), Call::Revoke(owner, Revoke::All, MINUTE))
    };
    let verdict = async |owner: &str, token: &SessionToken, created: &Reply| {
        let rule = "once a revocation has returned, no sign-in that began before it counts";
        let state = lab.load(token, at(61)).await;
        assert!(!matches!(state, Loaded::Live(_)), "broken: {rule}\n  create answered {created:?}, load {state:?}");
        lab.expect_owned(rule, owner, at(61), &[]).await;
        let is_answer = matches!(created, Reply::Created(Created::Stored | Created::Revoked(_)));
        assert!(is_answer, "broken: {rule}\n  expected: Stored or Revoked\n       got: {created:?}");
    };
    for _ in 0..lab.rounds() {
        let (owner, token, create, revoke) = stage(&lab);
        let calls = [create, revoke].map(|call| {
            let lab = lab.clone();
            async move { call.run(&lab, at(60)).await }
        });
        let replies = together(calls).await;
        verdict(&owner, &token, &replies[0]).await;
    }
    for create_waits in [true, false] {
        for polls in 1.. {
            let (owner, token, create, revoke) = stage(&lab);
            let (create, revoke) = (create.run(&lab, at(60)), revoke.run(&lab, at(60)));
            let (created, was_ahead) = if create_waits {
                let (created, _, was_ahead) = overtake(polls, create, revoke).await;
                (created, was_ahead)
            } else {
                let (_, created, was_ahead) = overtake(polls, revoke, create).await;
                (created, was_ahead)
            };
            verdict(&owner, &token, &created).await;
            if was_ahead {
                break;
            }
        }
    }
}

/// What a layer does to renew a token: the new record first, then the old one by compare-and-swap.
async fn renew(lab: Lab, old: SessionToken, record: Record) -> (SessionToken, Updated) {
    let fresh = lab.token();
    let next = lab.next(&record, at(60));
    same("create", &lab.create(&fresh, &next, at(60)).await, &Created::Stored);
    let stone = Tombstone::new(TombstoneKind::Renewed, MINUTE, at(60)).with_successor(&old, &fresh, lab.bytes());
    let answer = lab.update(&old, record.version(), &Change::Retire(stone), at(60)).await;
    if answer != Updated::Done {
        same("delete", &lab.delete(&fresh, Duration::ZERO, at(60)).await, &Deleted::Done);
    }
    (fresh, answer)
}

pub(super) async fn one_of_two_renewals_wins(lab: Lab) {
    for _ in 0..lab.rounds() {
        let owner = lab.owner();
        let record = lab.owned_record(&owner, at(0));
        let old = lab.stored(&record).await;
        let outcomes = together((0..3).map(|_| renew(lab.clone(), old.clone(), record.clone()))).await;
        let rule = "exactly one of several concurrent renewals wins, the others find the session Gone";
        let winners: Vec<_> = outcomes.iter().filter(|(_, answer)| *answer == Updated::Done).collect();
        let [(winner, _)] = winners.as_slice() else { panic!("broken: {rule}\n  got: {outcomes:?}") };
        assert!(
            outcomes.iter().all(|(token, answer)| token == winner || *answer == Updated::Gone),
            "broken: {rule}\n  got: {outcomes:?}"
        );
        let state = lab.load(&old, at(61)).await;
        let successor = if let Loaded::Tombstone(stone) = &state { stone.successor(&old) } else { None };
        assert!(
            successor.as_ref() == Some(winner),
            "broken: the old token's tombstone leads to the winner's token\n  got: {state:?}"
        );
        let listed: Vec<_> = lab.owned(&owner, at(61)).await.iter().map(|session| session.handle).collect();
        same("after a renewal the session is listed once", &listed, &vec![record.handle()]);
    }
}

/// Adds one to the session's counter by compare-and-swap; whether it was there to be counted.
async fn increment(lab: &Lab, token: &SessionToken, now: SystemTime, attempts: usize) -> bool {
    for _ in 0..attempts {
        // An immediate store never waits, and there are more tasks than threads.
        tokio::task::yield_now().await;
        let Loaded::Live(mut record) = lab.load(token, now).await else { return false };
        let from = record.version();
        let counter = counter(&record) + 1;
        let next = Arc::make_mut(&mut record);
        next.version = lab.version();
        next.values.insert(Entry::new("counter", &counter.to_string()));
        match lab.update(token, from, &Change::Replace(record, Deadline::Keep), now).await {
            Updated::Done => return true,
            Updated::Conflict => {}
            answer => {
                same("an update of a session that was live is Done, Conflict or Gone", &answer, &Updated::Gone);
                return false;
            }
        }
    }
    panic!("broken: an update is a Conflict only where another one was Done\n  got: {attempts} conflicts in a row");
}

fn counter(record: &Record) -> usize {
    let json = record.values.get("counter").map(Entry::json);
    json.and_then(|json| json.parse().ok()).expect("the suite wrote a number")
}

const TASKS: usize = 6;

pub(super) async fn concurrent_updates_are_all_counted(lab: Lab) {
    let each = if lab.store().is_immediate() { 100 } else { 15 };
    let record = lab.record();
    let token = lab.stored(&record).await;
    let tasks = (0..=TASKS).map(|task| {
        let (lab, token) = (lab.clone(), token.clone());
        async move {
            let mut furthest = at(0) + IDLE;
            for round in 0..each {
                if task > 0 {
                    assert!(increment(&lab, &token, at(1), TASKS * each + 1).await, "the session is live");
                } else if let Loaded::Live(record) = lab.load(&token, at(1)).await {
                    // The one that touches, whose deadlines the others must keep.
                    let deadline = at(round as u64) + 2 * IDLE;
                    if lab.touch(&token, record.version(), deadline, at(1)).await == Updated::Done {
                        furthest = deadline;
                    }
                }
            }
            furthest
        }
    });
    let deadlines = together(tasks).await;
    let state = lab.load(&token, at(1)).await;
    let Loaded::Live(end) = &state else { panic!("broken: updates and touches end no session\n  got: {state:?}") };
    same("no update of several at once is lost", &counter(end), &(TASKS * each));
    same("no touch is lost to updates that keep the deadline", &end.deadline(), &deadlines[0]);
}

pub(super) async fn ended_session_is_not_resurrected_by_many_writers(lab: Lab) {
    for round in 0..lab.rounds() {
        let owner = lab.owner();
        let record = lab.owned_record(&owner, at(0));
        let token = lab.stored(&record).await;
        let ended = Arc::new(AtomicBool::new(false));
        let tasks = (0..TASKS).map(|task| {
            let (lab, token, owner, ended) = (lab.clone(), token.clone(), owner.clone(), Arc::clone(&ended));
            async move {
                if task == 0 {
                    // In the midst of the writes.
                    for _ in 0..1_000 {
                        tokio::task::yield_now().await;
                        if matches!(lab.load(&token, at(1)).await, Loaded::Live(record) if counter(&record) >= TASKS) {
                            break;
                        }
                    }
                    let reply = if round % 2 == 0 {
                        Call::Delete(token, MINUTE).run(&lab, at(1)).await
                    } else {
                        Call::Revoke(owner, Revoke::All, MINUTE).run(&lab, at(1)).await
                    };
                    ended.store(true, Ordering::SeqCst);
                    let right = [Reply::Deleted(Deleted::Done), Reply::Count(1)];
                    assert!(right.contains(&reply), "broken: a session that others write is there to end: {reply:?}");
                    return;
                }
                loop {
                    let is_over = ended.load(Ordering::SeqCst);
                    if !increment(&lab, &token, at(1), 10_000).await {
                        return;
                    }
                    assert!(!is_over, "broken: once a session has ended, no update of it is Done");
                }
            }
        });
        together(tasks).await;
        let kind = if round % 2 == 0 { TombstoneKind::Destroyed } else { TombstoneKind::Revoked };
        let stone = Loaded::Tombstone(Tombstone::new(kind, MINUTE, at(1)));
        let rule = "a session that ended while others wrote is not resurrected";
        same_state(rule, &lab.load(&token, at(1)).await, &stone);
        lab.expect_owned(rule, &owner, at(1), &[]).await;
    }
}
