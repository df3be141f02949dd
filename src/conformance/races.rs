//! Calls that run at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::fixture::{Fixture, IDLE, MINUTE, at, same};
use super::model::Model;
use super::operation::{StoreAnswer, StoreOperation};
use super::polling::{overtake, together};
use crate::record::{Entry, Record, Tombstone, TombstoneKind};
use crate::store::{Change, Created, Deadline, Deleted, Loaded, Revoke, Updated};
use crate::token::SessionToken;

/// A session, and the calls that several requests make on it at once.
struct RacedSession {
    owner: String,
    token: SessionToken,
    /// A token that nothing is stored for yet.
    fresh: SessionToken,
    record: Record,
    calls: Vec<(&'static str, StoreOperation, SystemTime)>,
}

impl RacedSession {
    fn new(fixture: &Fixture) -> Self {
        use StoreOperation::{Create, Delete, Load, Sweep, Touch, Update};
        let owner = fixture.owner();
        let record = fixture.owned_record(&owner, at(0));
        let (token, fresh, version) = (fixture.token(), fixture.token(), record.version());
        let (now, late) = (at(60), at(0) + IDLE);
        let other = fixture.owned_record(&owner, at(61));
        let update =
            |deadline| Update(token.clone(), version, Change::Replace(fixture.next(&record, now).into(), deadline));
        let retire = || Update(token.clone(), version, Change::Retire(fixture.renewed(now)));
        let create_fresh = || Create(fresh.clone(), fixture.next(&fixture.record(), now));
        let revoke = |which| StoreOperation::Revoke(owner.clone(), fixture.revocation(which, IDLE));
        let calls = vec![
            ("update", update(Deadline::Keep), now),
            ("update that extends", update(Deadline::Extend), now),
            ("touch", Touch(token.clone(), version, now + IDLE), now),
            ("delete", Delete(token.clone(), IDLE), now),
            ("delete without a tombstone", Delete(token.clone(), Duration::ZERO), now),
            ("retire", retire(), now),
            ("retire, too", retire(), now),
            ("create", Create(token.clone(), other), now),
            ("create of a fresh one", create_fresh(), now),
            ("create of the same fresh one", create_fresh(), now),
            ("revoke one", revoke(Revoke::These(vec![record.handle()])), now),
            ("revoke all", revoke(Revoke::All), now),
            ("load after the deadline", Load(token.clone()), late),
            ("sweep after the deadline", Sweep(1_000_000), late),
        ];
        Self { owner, token, fresh, record, calls }
    }

    /// Returns the calls that show what the race has left.
    fn state(&self) -> [StoreOperation; 3] {
        let load = |token: &SessionToken| StoreOperation::Load(token.clone());
        [load(&self.token), load(&self.fresh), StoreOperation::Owned(self.owner.clone())]
    }
}

/// Runs every pair of calls on one session at once.
///
/// Their answers and the state they leave must be those of the model for one call after the other, in either order. So
/// no update is lost, no session is resurrected, and no half of a step shows.
pub(super) async fn concurrent_calls_are_atomic(fixture: Arc<Fixture>) {
    let count = RacedSession::new(&fixture).calls.len();
    for (first, second) in (0..count).flat_map(|first| (0..count).map(move |second| (first, second))) {
        // On threads the order of a pair makes no difference. A quarter of the rounds each, since there are 100 pairs.
        let rounds = if first <= second { fixture.rounds().div_ceil(4) } else { 0 };
        for _ in 0..rounds {
            race(&fixture, first, second, None).await;
        }
        // Each list and each sweep would take longer if the sessions of earlier pairs stayed.
        fixture.sweep(1_000_000, at(0) + 100 * IDLE).await;
        // A call of few polls is suspended after each of them. A sweep of many shards has hundreds, of which some are
        // enough; the more rounds, the closer they stand.
        let mut polls = 1;
        while !race(&fixture, first, second, Some(polls)).await {
            polls += 1 + 4 * polls / fixture.rounds();
        }
    }
}

/// Runs two calls, on two threads or the first suspended after `polls` polls. Returns whether that was its end.
async fn race(fixture: &Arc<Fixture>, first: usize, second: usize, polls: Option<usize>) -> bool {
    let session = RacedSession::new(fixture);
    let calls = [&session.calls[first], &session.calls[second]];
    let [(one, call, now), (two, other, later)] = calls;
    // The contract leaves open whether retiring to the tombstone that stands already is `Done` or `Gone`.
    let is_undecided = first == second && *one == "retire";
    let is_sweep = |operation: &StoreOperation| matches!(operation, StoreOperation::Sweep(_));
    if is_undecided || (!fixture.is_swept() && (is_sweep(call) || is_sweep(other))) {
        return true;
    }
    let created = fixture.create(&session.token, &session.record, at(0)).await;
    same("create of a new session is Stored", &created, &Created::Stored);
    let (mut got, was_ahead) = at_once(fixture, calls.map(|(_, call, now)| (call.clone(), *now)), polls).await;
    let end = *now.max(later);
    for load in session.state() {
        got.push(load.run(fixture, end).await);
    }
    let allowed = [[0, 1], [1, 0]].map(|order| {
        let mut model = Model::default();
        model.create(&session.token, &session.record, at(0));
        let mut answers = vec![StoreAnswer::Count(0); 2];
        for index in order {
            answers[index] = model.answer(&calls[index].1, calls[index].2);
        }
        answers.extend(session.state().iter().map(|load| model.answer(load, end)));
        answers
    });
    let is_revocation = calls.iter().any(|call| matches!(call.1, StoreOperation::Revoke(..)));
    let absent = StoreAnswer::Loaded(Loaded::Absent);
    let is_right = |expected: &Vec<StoreAnswer>| {
        let is_same = |index: usize| {
            // A sweep also counts what earlier rounds left.
            got[index] == expected[index]
                || (index < 2 && is_sweep(&calls[index].1))
                || (is_revocation && expected[index] == absent && got[index].is_left_by_a_revocation())
        };
        (0..got.len()).all(is_same)
    };
    let how = polls.map_or("on two threads".to_owned(), |polls| format!("`{one}` suspended after {polls} polls"));
    assert!(
        allowed.iter().any(is_right),
        "broken: `{one}` and `{two}` at once do what they do in some order ({how})\n  expected: {:?}\n        or: {:?}\n       \
         got: {got:?}",
        allowed[0],
        allowed[1],
    );
    was_ahead
}

/// Runs two calls, each on a task of its own or the first suspended after `polls` polls.
///
/// Returns their answers in order, and whether the first needs no more polls.
pub(super) async fn at_once(
    fixture: &Arc<Fixture>,
    calls: [(StoreOperation, SystemTime); 2],
    polls: Option<usize>,
) -> (Vec<StoreAnswer>, bool) {
    let [first, second] = calls.map(|(call, now)| {
        let fixture = Arc::clone(fixture);
        async move { call.run(&fixture, now).await }
    });
    let Some(polls) = polls else { return (together([first, second]).await, true) };
    let (first, second, was_ahead) = overtake(polls, first, second).await;
    (vec![first, second], was_ahead)
}

/// Renews a token as a layer does: stores the new record first, then retires the old one by compare-and-swap.
async fn renew(fixture: Arc<Fixture>, old: SessionToken, record: Record) -> (SessionToken, Updated) {
    let fresh = fixture.stored_at(&fixture.next(&record, at(60)), at(60)).await;
    let stone = Tombstone::new(TombstoneKind::Renewed, MINUTE, at(60)).with_successor(fresh.key());
    let answer = fixture.update(&old, record.version(), &Change::Retire(stone), at(60)).await;
    if answer != Updated::Done {
        fixture.deleted(&fresh, Duration::ZERO, at(60)).await;
    }
    (fresh, answer)
}

pub(super) async fn one_of_two_renewals_wins(fixture: Arc<Fixture>) {
    for _ in 0..fixture.rounds() {
        let owner = fixture.owner();
        let (old, record) = fixture.owned_session(&owner).await;
        let outcomes = together((0..3).map(|_| renew(Arc::clone(&fixture), old.clone(), record.clone()))).await;
        let (winners, losers): (Vec<_>, Vec<_>) = outcomes.iter().partition(|(_, answer)| *answer == Updated::Done);
        let are_gone = losers.iter().all(|(_, answer)| *answer == Updated::Gone);
        let ([(winner, _)], true) = (winners.as_slice(), are_gone) else {
            panic!("broken: one of several concurrent renewals wins, the others are Gone\n  got: {outcomes:?}")
        };
        let state = fixture.load(&old, at(61)).await;
        let successor = if let Loaded::Tombstone(stone) = &state { stone.successor() } else { None };
        let is_winner = successor == Some(&winner.key());
        assert!(is_winner, "broken: the old token's tombstone leads to the winner's token\n  got: {state:?}");
        let listed: Vec<_> = fixture.owned(&owner, at(61)).await.iter().map(|session| session.handle).collect();
        same("after a renewal the session is listed once", &listed, &vec![record.handle()]);
    }
}

/// Adds one to the session's counter by compare-and-swap. Returns whether the session was live.
async fn increment(fixture: &Fixture, token: &SessionToken, now: SystemTime, attempts: usize) -> bool {
    for _ in 0..attempts {
        // An immediate store never waits, and there are more tasks than threads.
        tokio::task::yield_now().await;
        let Loaded::Live(mut record) = fixture.load(token, now).await else { return false };
        let from = record.version();
        let counter = counter(&record) + 1;
        let next = Arc::make_mut(&mut record);
        next.version = fixture.version();
        next.values.insert(&Entry::new("counter", &counter.to_string()));
        match fixture.update(token, from, &Change::Replace(record, Deadline::Keep), now).await {
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

pub(super) async fn concurrent_updates_are_all_counted(fixture: Arc<Fixture>) {
    let each = if fixture.store().is_immediate() { 100 } else { 15 };
    let (token, _) = fixture.session().await;
    let tasks = (0..=TASKS).map(|task| {
        let (fixture, token) = (Arc::clone(&fixture), token.clone());
        async move {
            let mut furthest = at(0) + IDLE;
            for round in 0..each {
                if task > 0 {
                    assert!(increment(&fixture, &token, at(1), TASKS * each + 1).await, "the session is live");
                } else if let Loaded::Live(record) = fixture.load(&token, at(1)).await {
                    // The first task touches; the updates of the others must keep its deadlines.
                    let deadline = at(round as u64) + 2 * IDLE;
                    if fixture.touch(&token, record.version(), deadline, at(1)).await == Updated::Done {
                        furthest = deadline;
                    }
                }
            }
            furthest
        }
    });
    let deadlines = together(tasks).await;
    let state = fixture.load(&token, at(1)).await;
    let Loaded::Live(end) = &state else { panic!("broken: updates and touches end no session\n  got: {state:?}") };
    same("no update of several at once is lost", &counter(end), &(TASKS * each));
    same("no touch is lost to updates that keep the deadline", &end.deadline(), &deadlines[0]);
}

pub(super) async fn ended_session_is_not_resurrected_by_many_writers(fixture: Arc<Fixture>) {
    for round in 0..fixture.rounds() {
        let owner = fixture.owner();
        let (token, _) = fixture.owned_session(&owner).await;
        let (end, right, kind) = if round % 2 == 0 {
            let right = StoreAnswer::Deleted(Deleted::Done);
            (StoreOperation::Delete(token.clone(), MINUTE), right, TombstoneKind::Destroyed)
        } else {
            let revoke = StoreOperation::Revoke(owner.clone(), fixture.revocation(Revoke::All, MINUTE));
            (revoke, StoreAnswer::Count(1), TombstoneKind::Revoked)
        };
        let ended = Arc::new(AtomicBool::new(false));
        let tasks = (0..TASKS).map(|task| {
            let (fixture, token, ended) = (Arc::clone(&fixture), token.clone(), Arc::clone(&ended));
            let (end, right) = (end.clone(), right.clone());
            async move {
                if task == 0 {
                    // The session ends in the midst of the writes.
                    for _ in 0..1_000 {
                        tokio::task::yield_now().await;
                        let state = fixture.load(&token, at(1)).await;
                        if matches!(state, Loaded::Live(record) if counter(&record) >= TASKS) {
                            break;
                        }
                    }
                    same("a session that others write can be ended", &end.run(&fixture, at(1)).await, &right);
                    ended.store(true, Ordering::SeqCst);
                    return;
                }
                loop {
                    let is_over = ended.load(Ordering::SeqCst);
                    if !increment(&fixture, &token, at(1), 10_000).await {
                        return;
                    }
                    assert!(!is_over, "broken: once a session has ended, no update of it is Done");
                }
            }
        });
        together(tasks).await;
        let stone = Loaded::Tombstone(Tombstone::new(kind, MINUTE, at(1)));
        let rule = "a session that ended while others wrote is not resurrected";
        fixture.expect(rule, &token, at(1), &stone).await;
        fixture.expect_owned(rule, &owner, at(1), &[]).await;
    }
}
