//! A cache in front of a store: what it may answer, for how long, and what ends that at once.

use crate::support::scope;
use std::time::{Duration, SystemTime};

use crate::support::direct::{act, at_once, begin, hold, values};
use crate::support::record::record;
use crate::support::{Backend, DAY, Fault, HOUR, MINUTE, Op, TestStore};
use tower_session_layer::store::{
    Change, Created, Deadline, Deleted, Loaded, Record, Revocation, Revoke, Tombstone, TombstoneKind, Updated, Version,
};
use tower_session_layer::{
    CachedStore, Clock as _, ConfigError, CookieKey, CookieStore, ManualClock, MemoryStore, SessionLayer, SessionStore,
    SessionToken,
};

const SECOND: Duration = Duration::from_secs(1);
const INSTANT: Duration = Duration::from_micros(1);
/// The tests' `max_staleness`.
const STALE: Duration = Duration::from_secs(3);
/// A microsecond less.
const ALMOST: Duration = Duration::from_micros(2_999_999);

fn start() -> SystemTime {
    ManualClock::default().now()
}

/// One process: its cache in front of what all share.
fn process(back: &TestStore) -> CachedStore<TestStore> {
    CachedStore::builder(back.clone()).max_staleness(STALE).build().unwrap()
}

fn token(n: u8) -> SessionToken {
    SessionToken::from_random([n; 24], scope())
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// Ada's session at a version, good for an hour.
fn session(version: u64) -> Record {
    record(version, Some("ada"), &version.to_string(), (start(), start() + HOUR))
}

fn load(store: &impl SessionStore, n: u8, now: SystemTime) -> Loaded {
    at_once(store.load(&token(n), now)).unwrap()
}

/// The version that is loaded, if it is live.
fn loaded(store: &impl SessionStore, n: u8, now: SystemTime) -> Option<u64> {
    match load(store, n, now) {
        Loaded::Live(record) => Some(record.version().get()),
        _ => None,
    }
}

fn create(store: &impl SessionStore, n: u8, record: &Record) {
    let created = at_once(store.create(&token(n), &record.signing_in().into(), start())).unwrap();
    assert!(matches!(created, Created::Stored | Created::SignedIn(_)), "{created:?}");
}

fn update(store: &impl SessionStore, n: u8, from: u64, to: u64) -> Updated {
    let change = Change::Replace(session(to).into(), Deadline::Keep);
    at_once(store.update(&token(n), version(from), &change, start())).unwrap()
}

fn revoke_all(store: &impl SessionStore) -> usize {
    at_once(store.revoke("ada", &Revocation::new(Revoke::All, MINUTE), start())).unwrap()
}

#[test]
fn reads_are_answered_locally_for_the_stated_time_and_no_longer() {
    let back = TestStore::new(Backend::Memory);
    let here = process(&back);
    create(&here, 1, &session(1));
    assert_eq!(loaded(&here, 1, start()), Some(1));
    assert_eq!(update(&back, 1, 1, 2), Updated::Done, "by another process");
    back.forget();
    for after in [Duration::ZERO, SECOND, ALMOST] {
        assert_eq!(loaded(&here, 1, start() + after), Some(1), "{after:?}");
    }
    assert_eq!(back.order(), []);
    assert_eq!(loaded(&here, 1, start() + STALE), Some(2));
    assert_eq!(loaded(&here, 1, start() + STALE + SECOND), Some(2));
    assert_eq!(back.order(), [Op::Load]);
    assert_eq!(loaded(&here.clone(), 1, start() + STALE + SECOND), Some(2));
    assert_eq!(back.order(), [Op::Load], "a clone shares the cache");
}

#[test]
fn time_counts_from_the_beginning_of_a_load() {
    let back = TestStore::new(Backend::Memory);
    let here = process(&back);
    create(&back, 1, &session(1));
    let (other, meanwhile) = (back.clone(), here.clone());
    // The answer is on its way when another process writes, and comes two seconds after it was asked for.
    back.interrupt(1, async move {
        assert_eq!(update(&other, 1, 1, 2), Updated::Done);
        assert_eq!(loaded(&meanwhile, 2, start() + 2 * SECOND), None);
    });
    assert_eq!(loaded(&here, 1, start()), Some(1));
    assert_eq!(loaded(&here, 1, start() + ALMOST), Some(1));
    assert_eq!(loaded(&here, 1, start() + STALE), Some(2));
}

/// Every way to write to a session in this process, with what is loaded afterwards.
fn writes() -> Vec<(&'static str, fn(&CachedStore<TestStore>), Option<u64>)> {
    vec![
        ("update", |here| assert_eq!(update(here, 1, 1, 2), Updated::Done), Some(2)),
        (
            "retire",
            |here| {
                let change = Change::Retire(Tombstone::new(TombstoneKind::Renewed, MINUTE, start()));
                assert_eq!(at_once(here.update(&token(1), version(1), &change, start())).unwrap(), Updated::Done);
            },
            None,
        ),
        (
            "delete",
            |here| assert_eq!(at_once(here.delete(&token(1).key(), MINUTE, start())).unwrap(), Deleted::Done),
            None,
        ),
        ("revoke", |here| assert_eq!(revoke_all(here), 1), None),
    ]
}

#[test]
fn own_writes_are_seen_at_once() {
    for (what, write, expected) in writes() {
        let here = process(&TestStore::new(Backend::Memory));
        create(&here, 1, &session(1));
        assert_eq!(loaded(&here, 1, start()), Some(1));
        write(&here);
        assert_eq!(loaded(&here, 1, start()), expected, "{what}");
    }
    let here = process(&TestStore::new(Backend::Memory));
    create(&here, 1, &session(1));
    assert_eq!(loaded(&here, 1, start()), Some(1));
    let later = start() + 2 * HOUR;
    assert_eq!(at_once(here.touch(&token(1), version(1), later, start())).unwrap(), Updated::Done);
    assert!(matches!(load(&here, 1, start()), Loaded::Live(record) if record.deadline() == later));
}

#[test]
fn what_is_read_while_a_write_is_under_way_is_forgotten_with_it() {
    for (what, write, expected) in writes() {
        let back = TestStore::new(Backend::Memory);
        let here = process(&back);
        create(&here, 1, &session(1));
        let reader = here.clone();
        // Before the store does what it was asked.
        back.interrupt(0, async move { assert_eq!(loaded(&reader, 1, start()), Some(1)) });
        write(&here);
        assert_eq!(loaded(&here, 1, start()), expected, "{what}");
    }
}

#[test]
fn load_that_began_before_a_write_keeps_nothing_that_the_write_made_old() {
    for (what, write, expected) in writes() {
        let back = TestStore::new(Backend::Memory);
        let here = process(&back);
        create(&here, 1, &session(1));
        let writer = here.clone();
        // Between the store's reading and its answer.
        back.interrupt(1, async move { write(&writer) });
        assert_eq!(loaded(&here, 1, start()), Some(1), "{what}");
        assert_eq!(loaded(&here, 1, start()), expected, "{what}");
    }
}

#[test]
fn write_without_an_answer_is_looked_for_behind() {
    for fault in [Fault::LoseAnswer, Fault::HangAfter] {
        let back = TestStore::new(Backend::Memory);
        let here = process(&back);
        create(&here, 1, &session(1));
        assert_eq!(loaded(&here, 1, start()), Some(1));
        back.fault(Op::Update, fault, 1);
        let change = Change::Replace(session(2).into(), Deadline::Keep);
        let token = token(1);
        let mut asked = Box::pin(here.update(&token, version(1), &change, start()));
        let polled = asked.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        assert_eq!(polled.is_pending(), fault == Fault::HangAfter);
        drop((polled, asked));
        assert_eq!(loaded(&here, 1, start()), Some(2), "{fault:?}");
    }
}

#[test]
fn conflict_and_gone_forget_what_was_read() {
    let back = TestStore::new(Backend::Memory);
    let here = process(&back);
    create(&here, 1, &session(1));
    assert_eq!(loaded(&here, 1, start()), Some(1));
    assert_eq!(update(&back, 1, 1, 2), Updated::Done);
    assert_eq!(update(&here, 1, 1, 3), Updated::Conflict);
    assert_eq!(loaded(&here, 1, start()), Some(2));
    assert_eq!(at_once(back.delete(&token(1).key(), MINUTE, start())).unwrap(), Deleted::Done);
    assert_eq!(loaded(&here, 1, start()), Some(2));
    assert_eq!(update(&here, 1, 2, 3), Updated::Gone);
    assert!(matches!(load(&here, 1, start()), Loaded::Tombstone(_)));
}

#[test]
fn only_what_lives_is_kept() {
    let back = TestStore::new(Backend::Memory);
    let here = process(&back);
    assert_eq!(load(&here, 1, start()), Loaded::Absent);
    create(&back, 1, &session(1));
    assert_eq!(loaded(&here, 1, start()), Some(1), "absence is asked for each time");
    at_once(here.delete(&token(1).key(), MINUTE, start())).unwrap();
    back.forget();
    for _ in 0..2 {
        assert!(matches!(load(&here, 1, start()), Loaded::Tombstone(_)));
    }
    assert_eq!(back.order(), [Op::Load; 2]);
    back.fault(Op::Load, Fault::Fail, 1);
    assert!(at_once(here.load(&token(2), start())).is_err(), "a failure is not absence");
}

#[test]
fn deadline_holds_for_what_is_cached() {
    let back = TestStore::new(Backend::Memory);
    let here = process(&back);
    create(&here, 1, &session(1));
    create(&here, 2, &session(1));
    let end = start() + HOUR;
    for n in [1, 2] {
        assert_eq!(loaded(&here, n, end - INSTANT), Some(1));
    }
    // Another process has moved one deadline meanwhile: only the store behind knows.
    at_once(back.touch(&token(2), version(1), end + HOUR, start())).unwrap();
    assert_eq!(loaded(&here, 1, end), None);
    assert_eq!(loaded(&here, 2, end), Some(1));
    assert_eq!(loaded(&here, 1, end - INSTANT), None, "it was found expired");
}

#[test]
fn clock_that_steps_back_makes_nothing_younger() {
    // When the session is asked for, in seconds, and whether what was done elsewhere since the first shows at the last.
    for (seconds, shows) in [
        (&[10, 12][..], false),
        (&[10, 13], true),
        (&[10, 12, 11], false),
        // Two seconds forward, one back, one forward.
        (&[10, 12, 11, 12], true),
        (&[10, 11, 10, 11, 10, 11], true),
        (&[10, 1_000, 10], true),
        (&[10, 5], false),
        (&[10, 5, 7], false),
        (&[10, 5, 8], true),
    ] {
        let back = TestStore::new(Backend::Memory);
        let here = process(&back);
        create(&back, 1, &session(1));
        create(&back, 2, &session(1));
        let at = |second: u64| start() + Duration::from_secs(second);
        assert_eq!(loaded(&here, 1, at(seconds[0])), Some(1));
        assert_eq!(update(&back, 1, 1, 2), Updated::Done);
        let (last, between) = seconds[1..].split_last().unwrap();
        for second in between {
            // Each call counts, whichever session it is about.
            loaded(&here, 2, at(*second));
        }
        assert_eq!(loaded(&here, 1, at(*last)), Some(if shows { 2 } else { 1 }), "{seconds:?}");
    }
}

#[test]
fn what_any_call_found_expired_stays_so_by_an_earlier_clock() {
    let end = start() + HOUR;
    let calls: [(&str, fn(&CachedStore<TestStore>, SystemTime)); 4] = [
        ("sweep", |here, now| assert_eq!(at_once(here.sweep(10, now)).unwrap(), 1)),
        ("owned", |here, now| assert_eq!(at_once(here.owned("ada", now)).unwrap(), [])),
        ("revoke", |here, now| {
            let revocation = Revocation::new(Revoke::These(vec![session(1).handle()]), MINUTE);
            assert_eq!(at_once(here.revoke("ada", &revocation, now)).unwrap(), 0);
        }),
        ("update", |here, now| {
            let change = Change::Replace(session(2).into(), Deadline::Keep);
            assert_eq!(at_once(here.update(&token(1), version(1), &change, now)).unwrap(), Updated::Gone);
        }),
    ];
    for (what, call) in calls {
        let here = process(&TestStore::new(Backend::Memory));
        create(&here, 1, &session(1));
        assert_eq!(loaded(&here, 1, end - SECOND), Some(1));
        call(&here, end);
        at_once(here.sweep(10, end)).unwrap();
        assert_eq!(loaded(&here, 1, end - SECOND), None, "{what}");
    }
}

#[test]
fn revocation_is_seen_here_at_once_and_elsewhere_in_time() {
    let back = TestStore::new(Backend::Memory);
    let (here, elsewhere) = (process(&back), process(&back));
    let bob = record(1, Some("bob"), "1", (start(), start() + HOUR));
    create(&here, 1, &session(1));
    create(&here, 2, &bob);
    for process in [&here, &elsewhere] {
        assert_eq!((loaded(process, 1, start()), loaded(process, 2, start())), (Some(1), Some(1)));
    }
    assert_eq!(revoke_all(&here), 1);
    assert_eq!(loaded(&here, 1, start()), None);
    assert_eq!(loaded(&elsewhere, 1, start() + ALMOST), Some(1), "as its docs say");
    assert_eq!(update(&elsewhere, 1, 1, 2), Updated::Gone, "but it can change nothing");
    assert_eq!(loaded(&elsewhere, 1, start()), None);
    assert_eq!(loaded(&elsewhere, 1, start() + STALE), None);
    assert_eq!(loaded(&here, 2, start()), Some(1));
}

#[tokio::test]
async fn requests_lose_nothing_whatever_their_process_has_read() {
    let (back, clock) = (TestStore::new(Backend::Remote), ManualClock::default());
    let layer = || {
        let builder = SessionLayer::builder(process(&back)).clock(clock.clone()).cookie_name("sid");
        builder.build().unwrap()
    };
    let (here, elsewhere) = (layer(), layer());
    let token = begin(&here, |session| session.insert("n", 0)).await;
    for layer in [&here, &elsewhere] {
        assert_eq!(values(layer, &token).await, Some(serde_json::json!({ "n": 0 })));
    }
    for step in 1..=6 {
        let layer = if step % 2 == 0 { &here } else { &elsewhere };
        let add = |n: Option<u32>| Some(n.unwrap_or(0) + 1);
        let answer = act(layer, Some(&token), move |session| session.update("n", add).unwrap()).await;
        assert!(answer.status.is_success());
        assert_eq!(values(layer, &token).await, Some(serde_json::json!({ "n": step })), "its own write");
    }
    clock.advance(STALE);
    assert_eq!(values(&here, &token).await, Some(serde_json::json!({ "n": 6 })));

    let writer = hold(&here, &token, |session| session.insert("late", 1).unwrap()).await;
    assert!(act(&elsewhere, Some(&token), |session| session.destroy().unwrap()).await.removes_cookie());
    assert_eq!(values(&elsewhere, &token).await, None);
    assert!(values(&here, &token).await.is_some(), "as its docs say");
    assert!(writer.release().await.leaves_cookie());
    assert_eq!(values(&here, &token).await, None, "what the writer met is known here");
    clock.advance(DAY);
    assert_eq!(values(&here, &token).await, None);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let builder = || CachedStore::builder(MemoryStore::new());
    assert_eq!(builder().max_bytes(0).build().unwrap_err(), ConfigError::ZeroBound("max_bytes"));
    for short in [Duration::ZERO, Duration::from_nanos(999)] {
        assert_eq!(builder().max_staleness(short).build().unwrap_err(), ConfigError::ZeroBound("max_staleness"));
    }
    let cookies = CookieStore::new(CookieKey::new(&[7; 32]).unwrap());
    assert_eq!(CachedStore::new(cookies).unwrap_err(), ConfigError::ClientSideStore("CachedStore"));
    let store = CachedStore::new(MemoryStore::new()).unwrap();
    assert!(store.is_immediate() && store.max_record_len() == MemoryStore::new().max_record_len());
}
