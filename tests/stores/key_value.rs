//! What `KeyValueStore` asks of a map, and what it makes of a map that fails.

mod marks;
mod owners;
use crate::support::scope;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use crate::support::key_value::Map;
use crate::support::record::{record, record_of_len};
use crate::support::{DAY, HOUR, MINUTE};
use tower_session_layer::store::key_value::{Entry, KeyValue};
use tower_session_layer::store::{
    Change, Created, Deadline, Loaded, Record, Revocation, Revoke, SessionHandle, Tombstone, TombstoneKind, Updated,
};
use tower_session_layer::{KeyValueStore, SessionStore as _, SessionToken, StoreError};

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + 20_000 * DAY
}

fn token(byte: u8) -> SessionToken {
    SessionToken::from_random([byte; 24], scope())
}

fn ada(version: u64, deadline: SystemTime) -> Arc<Record> {
    record(version, Some("ada"), "1", (start(), deadline)).signing_in().into()
}

fn handle() -> SessionHandle {
    ada(1, start()).handle()
}

/// What is done to Ada's session of token 1 and version 1; a map fails somewhere on the way.
#[derive(Debug, Clone)]
enum Step {
    SignIn,
    Replace,
    Touch,
    Retire,
    Delete,
    Owned,
    Revoke(Revoke),
}

impl Step {
    fn all() -> [Self; 9] {
        [
            Self::SignIn,
            Self::Replace,
            Self::Touch,
            Self::Retire,
            Self::Delete,
            Self::Owned,
            Self::Revoke(Revoke::All),
            Self::Revoke(Revoke::Others(SessionHandle::from_bytes([0; 16]))),
            Self::Revoke(Revoke::These(vec![handle()])),
        ]
    }

    async fn run(&self, map: &Map) -> Result<(), StoreError> {
        let (store, now, first) = (map.store(), start() + MINUTE, ada(1, start()).version());
        match self {
            Self::SignIn => {
                is_in(&store.create(&token(2), &ada(2, start() + HOUR), now).await?);
            }
            Self::Replace => {
                let change = Change::Replace(ada(3, start() + 2 * DAY), Deadline::Extend);
                assert_eq!(store.update(&token(1), first, &change, now).await?, Updated::Done);
            }
            Self::Touch => {
                store.touch(&token(1), first, start() + 2 * DAY, now).await?;
            }
            Self::Retire => {
                let stone = Tombstone::new(TombstoneKind::Renewed, HOUR, now);
                store.update(&token(1), first, &Change::Retire(stone), now).await?;
            }
            Self::Delete => {
                store.delete(&token(1).key(), HOUR, now).await?;
            }
            Self::Owned => {
                store.owned("ada", now).await?;
            }
            Self::Revoke(which) => {
                store.revoke("ada", &Revocation::new(which.clone(), HOUR), now).await?;
            }
        }
        Ok(())
    }
}

/// Everything that can be asked about the two sessions, and whether an earlier sign-in is still refused.
async fn state(map: &Map) -> (Loaded, Loaded, Vec<(SystemTime, SystemTime)>, bool) {
    let (store, now) = (map.store(), start() + MINUTE);
    let loaded = (store.load(&token(1), now).await.unwrap(), store.load(&token(2), now).await.unwrap());
    let mut owned: Vec<_> = store.owned("ada", now).await.unwrap();
    owned.sort_by_key(|session| session.last_seen);
    let owned: Vec<_> = owned.iter().map(|session| (session.created, session.last_seen)).collect();
    let lasts = |start: &str| {
        let state = map.state();
        let of = state.entries.iter().filter(|(key, _)| key.starts_with(start)).map(|(_, (_, entry))| entry.expires);
        of.max().unwrap_or(SystemTime::UNIX_EPOCH)
    };
    if !owned.is_empty() {
        assert!(lasts("owner.") >= lasts("session.") + DAY, "a list outlasts its sessions");
    }
    let late = store.create(&token(3), &ada(9, start() + HOUR), now).await.unwrap();
    (loaded.0, loaded.1, owned, late != Created::Revoked)
}

/// Asserts that a sign-in was stored.
fn is_in(created: &Created) {
    assert!(matches!(created, Created::SignedIn(moment) if *moment > 0), "{created:?}");
}

async fn begun() -> Map {
    let map = Map::default();
    is_in(&map.store().create(&token(1), &ada(1, start() + HOUR), start()).await.unwrap());
    map.calls();
    map
}

/// The first entry whose key begins so.
fn first(map: &Map, start: &str) -> Option<Entry> {
    let state = map.state();
    state.entries.iter().find(|(key, _)| key.starts_with(start)).map(|(_, (_, entry))| entry.clone())
}

async fn polled<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

#[tokio::test]
async fn what_fails_halfway_is_made_whole_by_doing_it_again() {
    for step in Step::all() {
        let whole = begun().await;
        step.run(&whole).await.unwrap();
        let (calls, expected) = (whole.calls(), state(&whole).await);
        for after in 0..calls {
            for acts in [false, true] {
                let map = begun().await;
                map.state().fault = Some((after, acts));
                // An ended session counts as ended even if its entry in the list is left.
                let failed = step.run(&map).await.is_err();
                assert!(map.state().fault.is_none(), "{step:?} comes to call {after}");
                let leaves_entry = after >= 2 && matches!(step, Step::Retire | Step::Delete);
                assert_eq!(failed, !leaves_entry, "{step:?} with call {after} failing, done: {acts}");
                step.run(&map).await.unwrap();
                assert_eq!(state(&map).await, expected, "{step:?} again after call {after} failed, done: {acts}");
            }
        }
    }
}

#[tokio::test]
async fn calls_of_the_map_are_as_few_as_is_said() {
    let expected = [
        (Step::SignIn, 4),
        (Step::Replace, 4),
        (Step::Touch, 4),
        (Step::Retire, 4),
        (Step::Delete, 4),
        (Step::Owned, 2),
        (Step::Revoke(Revoke::All), 5 + 2),
        (Step::Revoke(Revoke::These(vec![handle()])), 1 + 2 + 1 + 2),
    ];
    for (step, calls) in expected {
        let map = begun().await;
        step.run(&map).await.unwrap();
        assert_eq!(map.calls(), calls, "{step:?}");
    }
    // Without an owner.
    let (map, now) = (Map::default(), start());
    let (store, plain) = (map.store(), |version| Arc::new(record(version, None, "1", (now, now + HOUR))));
    store.create(&token(1), &plain(1), now).await.unwrap();
    assert_eq!(map.calls(), 1);
    store.load(&token(1), now).await.unwrap();
    assert_eq!(map.calls(), 1);
    let change = Change::Replace(plain(2), Deadline::Extend);
    assert_eq!(store.update(&token(1), plain(1).version(), &change, now).await.unwrap(), Updated::Done);
    assert_eq!(map.calls(), 2);
    assert_eq!(store.touch(&token(1), plain(2).version(), now + DAY, now).await.unwrap(), Updated::Done);
    assert_eq!(map.calls(), 2);
    store.delete(&token(1).key(), Duration::ZERO, now).await.unwrap();
    assert_eq!(map.calls(), 2);
    assert!(map.state().entries.is_empty());
    // A sign-in that is refused: the list, and no record of it that an earlier sending has left.
    let map = begun().await;
    map.store().revoke("ada", &Revocation::new(Revoke::All, MINUTE), now).await.unwrap();
    map.calls();
    assert_eq!(map.store().create(&token(2), &ada(2, now + HOUR), now).await.unwrap(), Created::Revoked);
    assert_eq!(map.calls(), 1 + 1);
    // Whose deadline stays needs no list.
    let map = begun().await;
    let change = Change::Replace(ada(3, start() + 2 * DAY), Deadline::Keep);
    map.store().update(&token(1), ada(1, now).version(), &change, now).await.unwrap();
    assert_eq!(map.calls(), 2);
}

#[tokio::test]
async fn unreadable_session_is_absent_and_stays_as_it_is() {
    let map = begun().await;
    let (store, now) = (map.store(), start());
    let damaged = {
        let mut state = map.state();
        let (_, (_, entry)) = state.entries.iter_mut().find(|(key, _)| key.starts_with("session.")).unwrap();
        let last = entry.bytes.len() - 1;
        entry.bytes[last] ^= 1;
        entry.bytes.clone()
    };
    assert_eq!(store.load(&token(1), now).await.unwrap(), Loaded::Absent);
    let version = ada(1, now).version();
    let change = Change::Replace(ada(2, now + HOUR), Deadline::Extend);
    assert_eq!(store.update(&token(1), version, &change, now).await.unwrap(), Updated::Gone);
    assert_eq!(store.touch(&token(1), version, now + DAY, now).await.unwrap(), Updated::Gone);
    assert_eq!(store.create(&token(1), &ada(1, now + HOUR), now).await.unwrap(), Created::Taken);
    assert!(store.owned("ada", now).await.unwrap().is_empty());
    assert_eq!(store.revoke("ada", &Revocation::new(Revoke::All, MINUTE), now).await.unwrap(), 0);
    store.delete(&token(1).key(), MINUTE, now).await.unwrap();
    assert!(map.state().entries.values().any(|(_, entry)| entry.bytes == damaged));
    // Whoever can read it finds it where it was.
    for (_, entry) in map.state().entries.values_mut().filter(|(_, entry)| entry.bytes == damaged) {
        *entry.bytes.last_mut().unwrap() ^= 1;
    }
    assert_eq!(store.owned("ada", now).await.unwrap().len(), 1);
}

#[tokio::test]
async fn map_that_counts_time_itself_is_told_no_more_than_a_century() {
    let (map, now) = (Map::default(), start());
    let eternal = Arc::new(record(1, None, "1", (now, now + 400 * 365 * DAY)));
    assert_eq!(map.store().create(&token(1), &eternal, now).await.unwrap(), Created::Stored);
    let (_, entry) = map.state().entries.values().next().unwrap().clone();
    assert_eq!((entry.expires, entry.ttl), (eternal.deadline(), Duration::from_secs(100 * 31_557_600)));
}

#[tokio::test]
async fn narrow_map_takes_no_more_than_it_can() {
    let map = Map::default();
    map.state().narrow = Some(1_000);
    let (store, now) = (map.store(), start());
    let most = store.max_record_len().unwrap();
    let fits = Arc::new(record_of_len(1, most, (now, now + HOUR)));
    assert_eq!(store.create(&token(1), &fits, now).await.unwrap(), Created::Stored);
    let over = Arc::new(record_of_len(2, most + 1, (now, now + HOUR)));
    assert!(store.create(&token(2), &over, now).await.unwrap_err().is_too_large());
    let change = Change::Replace(over, Deadline::Extend);
    assert!(store.update(&token(1), fits.version(), &change, now).await.unwrap_err().is_too_large());
    assert_eq!(store.load(&token(1), now).await.unwrap(), Loaded::Live(fits));
    // An owner's list as well: 72 bytes, and 64 for each of 14 sessions.
    for index in 3..17 {
        is_in(&store.create(&token(index), &ada(index.into(), now + HOUR), now).await.unwrap());
    }
    let error = store.create(&token(17), &ada(17, now + HOUR), now).await.unwrap_err();
    assert!(error.to_string().contains("max_sessions_per_owner"), "{error}");
    assert_eq!(store.revoke("ada", &Revocation::new(Revoke::All, MINUTE), now).await.unwrap(), 14);
}

/// A map whose swaps all fail, at once and without a word.
#[derive(Debug, Default)]
struct Stubborn(std::sync::atomic::AtomicUsize);

impl KeyValue for Stubborn {
    type Revision = ();

    async fn get(&self, _: &str) -> Result<Option<(Vec<u8>, ())>, StoreError> {
        Ok(None)
    }

    async fn compare_and_swap(&self, _: &str, _: Option<&()>, _: Option<Entry>) -> Result<bool, StoreError> {
        let calls = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(calls < 1_000, "nothing else has its turn");
        Ok(false)
    }

    async fn sweep(&self, _: usize, _: SystemTime) -> Result<usize, StoreError> {
        Ok(0)
    }
}

#[tokio::test]
async fn map_that_swaps_nothing_lets_others_have_their_turn() {
    let store = KeyValueStore::new(Stubborn::default());
    let record = ada(1, start() + HOUR);
    let fresh = token(1);
    let mut creating = std::pin::pin!(store.create(&fresh, &record, start()));
    for _ in 0..10 {
        let polled = polled(creating.as_mut()).await;
        assert!(polled.is_pending());
    }
}
