//! Tests of each method; the bounds and the owners have files of their own.

mod bounds;
mod owners;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::slot::{Class, bytes_of};
use super::table::SLOTS_PER_SWEEP;
use super::*;
use crate::clock::time;
use crate::record::{Began, Beginning, Entry, Extensions, SessionHandle, Tombstone, TombstoneKind, Values};
use crate::store::Deadline;

const MINUTE: Duration = Duration::from_secs(60);

/// The answer of a future that must not wait.
fn at_once<T>(future: impl Future<Output = Result<T, StoreError>>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.unwrap(),
        Poll::Pending => panic!("the store waited"),
    }
}

fn token(n: u64) -> SessionToken {
    // Both halves differ, and shards and hashes are spread as with random tokens.
    let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (n << 7);
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&mixed.to_le_bytes());
    bytes[8..16].copy_from_slice(&mixed.rotate_left(23).to_be_bytes());
    bytes[16..].copy_from_slice(&n.to_le_bytes());
    SessionToken::from_random(bytes, crate::token::TokenScope::of("sid"))
}

fn version(n: u64) -> Version {
    Version::new(n).unwrap()
}

fn handle(n: u64) -> SessionHandle {
    SessionHandle::from_bytes(u128::from(n).to_be_bytes())
}

/// A session written at `seen` that ends at `deadline`, both in microseconds.
fn record(seen: u64, deadline: u64) -> Record {
    Record {
        created: 1,
        seen,
        deadline,
        absolute: u64::MAX,
        idle: 0,
        signed_in: 0,
        sign_in: 0,
        began: Began::default(),
        renewed: 0,
        version: version(1),
        handle: handle(0),
        owner: None,
        csrf: [0; 24],
        csrf_handed_out: false,
        flash: Values::default(),
        values: Values::from_sorted(vec![Entry::new("cart", "{}")]),
        extensions: Extensions::default(),
    }
}

fn owned_by(owner: &str, n: u64, signed_in: u64, deadline: u64) -> Record {
    Record { owner: Some(owner.into()), handle: handle(n), signed_in, ..record(signed_in, deadline) }
}

impl MemoryStore {
    fn at(&self, n: u64, now: u64) -> Loaded {
        at_once(self.load(&token(n), time(now)))
    }

    /// Signs in at this moment.
    fn put(&self, n: u64, record: &Record, now: u64) -> Created {
        self.put_since(Instant::now(), n, record, now)
    }

    /// Writes a record whose sign-in began then.
    fn put_since(&self, began: Instant, n: u64, record: &Record, now: u64) -> Created {
        let began = Beginning { at: began, time: SystemTime::now() - began.elapsed(), ..Beginning::now() };
        let record = Record { began: Began::at(began), ..record.clone() };
        at_once(self.create(&token(n), &record.into(), time(now)))
    }

    fn change(&self, n: u64, from: u64, change: &Change, now: u64) -> Updated {
        at_once(self.update(&token(n), version(from), change, time(now)))
    }

    fn replace(&self, n: u64, from: u64, record: &Record, deadline: Deadline, now: u64) -> Updated {
        self.change(n, from, &Change::Replace(record.clone().into(), deadline), now)
    }

    fn moved(&self, n: u64, of: u64, deadline: u64, now: u64) -> Updated {
        at_once(self.touch(&token(n), version(of), time(deadline), time(now)))
    }

    fn end(&self, n: u64, tombstone: Duration, now: u64) -> Deleted {
        at_once(self.delete(&token(n).key(), tombstone, time(now)))
    }

    fn swept(&self, limit: usize, now: u64) -> usize {
        at_once(self.sweep(limit, time(now)))
    }

    /// Checks that every count and the index agree with what is in the map.
    fn check(&self) {
        let shards = &self.table.shards;
        let (mut slots, mut tombstones, mut bytes, mut listed) = (0, 0, 0, 0);
        for at in 0..shards.count() {
            let mut present = [false; 3];
            for (key, slot) in shards.read_at(at).iter() {
                present[slot.class() as usize] = true;
                slots += 1;
                tombstones += usize::from(slot.class() == Class::Tombstone);
                bytes += slot.weight().bytes;
                assert!(shards.is_due(at, slot.deadline()), "a sweep would miss it");
                if let Some(owner) = slot.state.owner() {
                    listed += 1;
                    assert!(self.table.owners.lists(owner, *key), "live, yet not listed");
                }
            }
            let classes = [Class::Anonymous, Class::Tombstone, Class::Owned];
            assert_eq!(classes.map(|class| shards.has(at, class)), present);
        }
        assert_eq!((shards.slots(), shards.bytes()), (slots, bytes));
        self.table.owners.check_marks();
        assert_eq!(self.len(), slots - tombstones);
        assert_eq!(self.table.owners.listed(), listed, "listed, yet not live");
    }
}

fn version_of(loaded: Loaded) -> Option<u64> {
    match loaded {
        Loaded::Live(record) => Some(record.version.get()),
        _ => None,
    }
}

fn kind_of(loaded: Loaded) -> Option<TombstoneKind> {
    match loaded {
        Loaded::Tombstone(stone) => Some(stone.kind()),
        _ => None,
    }
}

#[test]
fn a_created_session_loads_as_it_was_and_is_never_overwritten() {
    let store = MemoryStore::new();
    assert_eq!(store.at(1, 10), Loaded::Absent);
    assert_eq!(store.put(1, &record(10, 100), 10), Created::Stored);
    assert_eq!(store.clone().at(1, 10), Loaded::Live(record(10, 100).into()), "a clone shows the same sessions");
    assert_eq!(store.put(1, &record(10, 100), 10), Created::Stored, "sent again");
    assert_eq!(store.put(1, &Record { version: version(2), ..record(10, 999) }, 10), Created::Taken);
    assert_eq!(store.at(1, 10), Loaded::Live(record(10, 100).into()));
    store.end(1, MINUTE, 20);
    assert_eq!(store.put(1, &record(10, 100), 21), Created::Taken, "a tombstone stands there");
    store.check();
}

#[test]
fn the_bytes_of_a_key_end_a_session_too() {
    let store = MemoryStore::new();
    store.put(1, &record(10, 100), 10);
    store.put(2, &record(10, 100), 10);
    let key = StoreKey::from_bytes(*token(1).key().as_bytes());
    assert_eq!(at_once(store.delete(&key, MINUTE, time(10))), Deleted::Done);
    assert!(matches!(at_once(store.delete(&key, MINUTE, time(10))), Deleted::Retired(_)));
    assert_eq!(store.at(2, 10), Loaded::Live(record(10, 100).into()));
    store.check();
}

#[test]
fn half_a_token_opens_nothing() {
    let store = MemoryStore::new();
    store.put(1, &record(10, 100), 10);
    let mut other: [u8; 24] = *token(1).random().unwrap().0;
    other[23] ^= 1;
    let other = SessionToken::from_random(other, crate::token::TokenScope::of("sid"));
    let sealed = SessionToken::from_sealed("AAECAwQFBgcICQoLDA0ODxAREhMUFRYX".into()).unwrap();
    for token in [&other, &sealed] {
        assert_eq!(at_once(store.load(token, time(10))), Loaded::Absent);
        let change = Change::Replace(Record { version: version(2), ..record(10, 100) }.into(), Deadline::Set);
        assert_eq!(at_once(store.update(token, version(1), &change, time(10))), Updated::Gone);
        assert_eq!(at_once(store.touch(token, version(1), time(500), time(10))), Updated::Gone);
        assert_eq!(at_once(store.delete(&token.key(), MINUTE, time(10))), Deleted::Absent);
    }
    assert_eq!(at_once(store.create(&other, &record(10, 100).into(), time(10))), Created::Taken);
    assert_eq!(store.at(1, 10), Loaded::Live(record(10, 100).into()));
}

#[test]
fn an_update_replaces_only_the_version_it_was_made_for() {
    let store = MemoryStore::new();
    store.put(1, &owned_by("ada", 1, 5, 100), 10);
    let next = Record { version: version(2), ..record(20, 50) };
    assert_eq!(store.replace(2, 1, &next, Deadline::Set, 20), Updated::Gone);
    assert_eq!(store.replace(1, 9, &next, Deadline::Set, 20), Updated::Conflict);
    assert_eq!(version_of(store.at(1, 20)), Some(1));
    assert_eq!(store.replace(1, 1, &next, Deadline::Keep, 20), Updated::Done);
    let Loaded::Live(found) = store.at(1, 20) else { panic!("absent") };
    assert_eq!((found.version.get(), found.deadline, found.owner()), (2, 100, Some("ada")));
    let again = Record { deadline: 900, ..next.clone() };
    assert_eq!(store.replace(1, 1, &again, Deadline::Set, 20), Updated::Done, "applied before");
    for (name, version_now, deadline, expected) in
        [("an earlier one", 3, Deadline::Extend, 100), ("as asked", 4, Deadline::Set, 50)]
    {
        let next = Record { version: version(version_now), ..next.clone() };
        assert_eq!(store.replace(1, version_now - 1, &next, deadline, 20), Updated::Done);
        let Loaded::Live(found) = store.at(1, 20) else { panic!("absent") };
        assert_eq!(found.deadline, expected, "{name}");
    }
    store.check();
}

#[test]
fn a_retired_session_is_a_tombstone_and_stays_one() {
    let store = MemoryStore::new();
    store.put(1, &owned_by("ada", 1, 5, 100), 10);
    let retire = Change::Retire(Tombstone::new(TombstoneKind::Renewed, Duration::from_micros(50), time(20)));
    assert_eq!(store.change(1, 9, &retire, 20), Updated::Conflict);
    assert_eq!(store.change(1, 1, &retire, 20), Updated::Done);
    assert_eq!(kind_of(store.at(1, 20)), Some(TombstoneKind::Renewed));
    assert_eq!(store.change(1, 1, &retire, 20), Updated::Gone);
    assert_eq!(
        store.replace(1, 1, &Record { version: version(2), ..record(20, 100) }, Deadline::Set, 20),
        Updated::Gone
    );
    assert_eq!(store.moved(1, 1, 500, 20), Updated::Gone);
    assert!(matches!(store.end(1, MINUTE, 20), Deleted::Retired(left) if left.kind() == TombstoneKind::Renewed));
    assert_eq!((store.len(), store.table.shards.slots()), (0, 1));
    store.check();
    assert_eq!(store.at(1, 70), Loaded::Absent, "tombstones end too");
    assert_eq!(store.table.shards.slots(), 0);
}

#[test]
fn a_touch_moves_a_deadline_later_and_nothing_else() {
    let store = MemoryStore::new();
    assert_eq!(store.moved(1, 1, 100, 10), Updated::Gone);
    store.put(1, &record(10, 100), 10);
    assert_eq!(store.moved(1, 2, 300, 20), Updated::Conflict);
    assert_eq!(store.moved(1, 1, 50, 20), Updated::Done);
    assert_eq!(store.at(1, 20), Loaded::Live(record(20, 100).into()));
    assert_eq!(store.moved(1, 1, 300, 30), Updated::Done);
    assert_eq!(store.at(1, 200), Loaded::Live(record(30, 300).into()));
}

#[test]
fn a_delete_leaves_a_tombstone_unless_it_lasts_no_time() {
    let store = MemoryStore::new();
    assert_eq!(store.end(1, MINUTE, 10), Deleted::Absent);
    store.put(1, &record(10, 100), 10);
    assert_eq!(store.end(1, MINUTE, 10), Deleted::Done);
    assert_eq!(kind_of(store.at(1, 10)), Some(TombstoneKind::Destroyed));
    assert!(matches!(store.end(1, Duration::ZERO, 10), Deleted::Retired(_)));
    assert_eq!(kind_of(store.at(1, 10)), Some(TombstoneKind::Destroyed), "as it was");
    store.put(2, &record(10, 100), 10);
    assert_eq!(store.end(2, Duration::ZERO, 10), Deleted::Done);
    assert_eq!(store.at(2, 10), Loaded::Absent);
    assert_eq!(store.table.shards.slots(), 1);
    store.check();
}

#[test]
fn what_has_expired_is_absent_for_every_method_and_a_clock_that_steps_back_revives_nothing() {
    type Method = fn(&MemoryStore) -> bool;
    let next = || Record { version: version(2), ..record(10, 900) };
    let methods: [(&str, Method); 7] = [
        ("load", |store| store.at(1, 100) == Loaded::Absent),
        ("update", |store| {
            let next = Record { version: version(2), ..record(10, 900) };
            store.replace(1, 1, &next, Deadline::Set, 100) == Updated::Gone
        }),
        ("update to the same version", |store| {
            store.replace(1, 1, &record(10, 900), Deadline::Set, 100) == Updated::Gone
        }),
        ("touch", |store| store.moved(1, 1, 900, 100) == Updated::Gone),
        ("delete", |store| store.end(1, MINUTE, 100) == Deleted::Absent),
        ("owned", |store| at_once(store.owned("ada", time(100))).is_empty()),
        ("revoke", |store| store.cut("ada", crate::store::Revoke::These(vec![handle(1)]), 100) == 0),
    ];
    for (name, method) in methods {
        let store = MemoryStore::new();
        store.put(1, &owned_by("ada", 1, 5, 100), 10);
        assert!(method(&store), "{name}");
        assert_eq!(store.at(1, 50), Loaded::Absent, "{name}, and the clock steps back");
        assert_eq!((store.len(), store.bytes(), store.table.owners.len()), (0, 0, 0), "{name}");
    }
    for (name, method) in methods.iter().take(5) {
        let store = MemoryStore::new();
        store.put(1, &record(10, 999), 10);
        store.end(1, Duration::from_micros(90), 10);
        assert!(method(&store), "{name} of a tombstone");
        assert_eq!(store.at(1, 50), Loaded::Absent, "{name} of a tombstone, and the clock steps back");
    }
    let store = MemoryStore::new();
    store.put(1, &owned_by("ada", 1, 5, 100), 10);
    assert_eq!(store.put(1, &next(), 100), Created::Stored, "the place is free");
    assert_eq!(store.table.owners.len(), 0);
    store.check();
}

#[test]
fn a_sweep_removes_what_has_expired_and_nothing_else() {
    let store = MemoryStore::new();
    for n in 0..300 {
        store.put(n, &owned_by("ada", n, 5, 100 + n), 10);
    }
    store.end(299, Duration::from_micros(50), 10);
    store.moved(0, 1, 1_000, 10);
    store.replace(298, 1, &Record { version: version(2), ..record(10, 80) }, Deadline::Set, 10);
    assert_eq!(store.swept(10, 50), 0);
    assert_eq!(store.swept(10, 80), 2, "the tombstone, and the deadline that was moved to an earlier time");
    assert_eq!((store.swept(0, 199), store.swept(60, 199), store.swept(60, 199)), (0, 60, 39));
    assert_eq!(store.swept(60, 199), 0);
    assert_eq!(store.len(), 199);
    store.check();
    assert_eq!(version_of(store.at(0, 199)), Some(1), "touched meanwhile");
    assert_eq!(store.swept(1_000, 1_000), 199);
    assert_eq!((store.bytes(), store.table.owners.len()), (0, 0));
}

#[test]
fn a_sweep_looks_at_a_slice_and_goes_on_there() {
    let store = MemoryStore::builder().max_sessions(100_000).build().unwrap();
    let slice = u64::try_from(SLOTS_PER_SWEEP).unwrap();
    for n in 0..2 * slice {
        store.put(n, &record(10, 100), 10);
        // The hints lag behind, so each shard has to be looked at.
        store.moved(n, 1, 1_000, 10);
    }
    let shards = &store.table.shards;
    let due = || (0..shards.count()).filter(|&at| shards.is_due(at, 100)).count();
    let all = due();
    assert_eq!(store.swept(10, 100), 0);
    assert!((all / 3..=all * 2 / 3).contains(&due()), "{} of {all} after half a round", due());
    assert_eq!(store.swept(10, 100), 0);
    assert!(due() <= all / 20, "{} of {all} after a round", due());
    assert_eq!(store.len(), SLOTS_PER_SWEEP * 2);
}

#[test]
fn no_shard_keeps_the_others_from_being_swept() {
    let store = MemoryStore::builder().max_sessions(4_096).build().unwrap();
    for n in 0..400 {
        store.put(n, &record(10, 100), 10);
    }
    let shards = store.table.shards.count();
    let busy = |at: usize| store.table.shards.read_at(at).len();
    let before: Vec<_> = (0..shards).map(busy).collect();
    for _ in 0..shards {
        assert_eq!(store.swept(3, 100), 3);
    }
    assert!((0..shards).all(|at| busy(at) == before[at] - 3), "each gave the same");
}

#[test]
fn debug_shows_counts_only() {
    let store = MemoryStore::new();
    store.put(1, &owned_by("ada", 1, 5, 100), 10);
    assert_eq!(format!("{store:?}"), format!("MemoryStore {{ sessions: 1, bytes: {} }}", store.bytes()));
}
