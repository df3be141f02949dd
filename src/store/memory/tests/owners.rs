//! Listing, revocation, and the races between them and everything else.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use crate::store::{Revocation, RevocationMark, Revoke};

impl MemoryStore {
    fn list(&self, owner: &str, now: u64) -> Vec<SessionHandle> {
        let mut handles: Vec<_> =
            at_once(self.owned(owner, time(now))).into_iter().map(|session| session.handle).collect();
        handles.sort_unstable();
        handles
    }

    pub(super) fn cut(&self, owner: &str, which: Revoke, now: u64) -> usize {
        at_once(self.revoke(owner, &Revocation::new(which, time(now), MINUTE), time(now)))
    }
}

#[test]
fn an_owner_sees_and_revokes_own_sessions_only() {
    let store = MemoryStore::new();
    for n in 1..=4 {
        store.put(n, &owned_by("ada", n, 5, 100), 10);
    }
    store.put(5, &owned_by("eve", 5, 5, 100), 10);
    store.put(6, &record(10, 100), 10);
    assert_eq!(store.list("ada", 10), [1, 2, 3, 4].map(handle));
    assert_eq!(store.list("bob", 10), []);
    assert_eq!(store.cut("eve", Revoke::One(handle(1)), 11), 0, "somebody else's");
    assert_eq!(store.cut("ada", Revoke::One(handle(1)), 11), 1);
    assert_eq!(kind_of(store.at(1, 11)), Some(TombstoneKind::Revoked));
    assert_eq!(store.cut("ada", Revoke::One(handle(1)), 11), 0);
    assert_eq!(store.cut("ada", Revoke::Others(handle(3)), 12), 2);
    assert_eq!(store.list("ada", 12), [handle(3)]);
    assert_eq!(store.cut("ada", Revoke::All, 13), 1);
    assert_eq!(store.list("ada", 13), []);
    assert_eq!(store.list("eve", 13), [handle(5)]);
    assert_eq!(version_of(store.at(6, 13)), Some(1));
    store.check();
}

#[test]
fn a_revocation_without_tombstones_leaves_nothing() {
    let store = MemoryStore::new();
    store.put(1, &owned_by("ada", 1, 5, 100), 10);
    assert_eq!(
        at_once(store.revoke("ada", &Revocation::new(Revoke::One(handle(1)), time(10), Duration::ZERO), time(10))),
        1
    );
    assert_eq!((store.table.shards.slots(), store.table.owners.len()), (0, 0));
}

#[test]
fn a_session_leaves_its_owners_list_however_it_ends() {
    type End = fn(&MemoryStore);
    let ends: [(&str, End); 6] = [
        ("delete", |store| assert_eq!(store.end(1, MINUTE, 10), Deleted::Done)),
        ("retire", |store| {
            let retire = Change::Retire(Tombstone::new(TombstoneKind::Renewed, MINUTE, time(10)));
            assert_eq!(store.change(1, 1, &retire, 10), Updated::Done);
        }),
        ("expiry", |store| assert_eq!(store.at(1, 100), Loaded::Absent)),
        ("sweep", |store| assert_eq!(store.swept(5, 100), 1)),
        ("revocation", |store| assert_eq!(store.cut("ada", Revoke::One(handle(1)), 10), 1)),
        ("eviction", |store| {
            for n in 10..13 {
                store.put(n, &owned_by("eve", n, 50, 100), 10);
            }
        }),
    ];
    for (name, end) in ends {
        let store = MemoryStore::builder().max_sessions(3).build().unwrap();
        store.put(1, &owned_by("ada", 1, 5, 100), 10);
        end(&store);
        let others = usize::from(!store.list("eve", 10).is_empty());
        assert_eq!(store.table.owners.len(), others, "{name}");
        store.check();
    }
}

#[test]
fn a_session_that_took_the_place_of_one_that_ended_stays_listed() {
    let store = MemoryStore::new();
    store.put(1, &owned_by("ada", 1, 5, 100), 10);
    let (key, _) = TokenKey::of(&token(1)).unwrap();
    // As whoever ended the earlier one does, a moment too late.
    store.table.owners.unlist("ada", key, &store.table.shards);
    assert_eq!(store.list("ada", 10), [handle(1)]);
}

#[test]
fn a_mark_refuses_sign_ins_that_began_before_it_and_goes_after_a_day() {
    let store = MemoryStore::new();
    let day = u64::try_from(RevocationMark::LIFETIME.as_micros()).unwrap();
    assert_eq!(store.cut("ada", Revoke::One(handle(1)), 9), 0);
    assert_eq!(store.put(0, &owned_by("ada", 0, 5, u64::MAX), 9), Created::Stored, "one revoked is no mark");
    store.end(0, Duration::ZERO, 9);
    assert_eq!(store.cut("ada", Revoke::Others(handle(1)), 10), 0, "nothing there, and a mark all the same");
    assert!(matches!(store.put(2, &owned_by("ada", 2, 10, u64::MAX), 11), Created::Revoked(_)));
    assert_eq!(store.at(2, 11), Loaded::Absent);
    assert_eq!(store.put(1, &owned_by("ada", 1, 10, u64::MAX), 11), Created::Stored, "the spared one");
    assert_eq!(store.put(3, &owned_by("ada", 3, 11, u64::MAX), 11), Created::Stored, "began afterwards");
    assert_eq!(store.put(4, &owned_by("eve", 4, 5, u64::MAX), 11), Created::Stored, "somebody else");
    assert_eq!(store.swept(10, 9 + day), 0);
    assert!(matches!(store.put(5, &owned_by("ada", 5, 5, u64::MAX), 9 + day), Created::Revoked(_)));
    for n in [1, 3, 4] {
        store.end(n, Duration::ZERO, 12);
    }
    assert_eq!(store.table.owners.len(), 1, "the mark alone");
    assert_eq!(store.swept(10, 10 + day), 1);
    assert_eq!(store.table.owners.len(), 0);
}

#[test]
fn a_later_revocation_prolongs_a_mark_and_an_expired_one_refuses_nobody() {
    let store = MemoryStore::new();
    let day = u64::try_from(RevocationMark::LIFETIME.as_micros()).unwrap();
    store.cut("ada", Revoke::All, 10);
    store.cut("ada", Revoke::All, 500);
    assert_eq!((store.swept(10, 10 + day), store.table.owners.len()), (0, 1));
    assert!(matches!(store.put(1, &owned_by("ada", 1, 400, u64::MAX), 499 + day), Created::Revoked(_)));
    assert_eq!(store.put(1, &owned_by("ada", 1, 400, u64::MAX), 500 + day), Created::Stored, "not yet swept");
    assert_eq!((store.swept(10, 500 + day), store.swept(10, 500 + day)), (1, 0));
    assert_eq!(store.list("ada", 500 + day), [handle(1)]);
    store.end(1, Duration::ZERO, 500 + day);
    assert_eq!(store.table.owners.len(), 0);
}

#[test]
fn marks_are_swept_within_the_limit() {
    let store = MemoryStore::new();
    let day = u64::try_from(RevocationMark::LIFETIME.as_micros()).unwrap();
    for n in 0..100 {
        store.cut(&format!("user-{n}"), Revoke::All, 10);
    }
    assert_eq!((store.swept(60, 10 + day), store.swept(60, 10 + day), store.swept(60, 10 + day)), (60, 40, 0));
}

#[test]
fn no_session_remains_whose_sign_in_began_before_a_revocation() {
    let store = MemoryStore::new();
    let clock = AtomicU64::new(1);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (store, clock) = (&store, &clock);
            scope.spawn(move || {
                for n in 0..3_000 {
                    let n = thread * 100_000 + n;
                    let signed_in = clock.fetch_add(1, Relaxed);
                    store.put(n, &owned_by("ada", n, signed_in, u64::MAX), signed_in);
                }
            });
        }
        scope.spawn(|| {
            for n in 0..2_000 {
                let now = clock.fetch_add(1, Relaxed);
                let which = if n % 2 == 0 { Revoke::All } else { Revoke::Others(handle(u64::MAX)) };
                store.cut("ada", which, now);
                let remaining = at_once(store.owned("ada", time(now)));
                assert!(remaining.iter().all(|session| session.signed_in > Some(time(now))));
            }
        });
    });
    store.check();
    store.cut("ada", Revoke::All, clock.load(Relaxed));
    assert_eq!(store.len(), 0, "nothing was in the map without being listed");
}

#[test]
fn the_index_agrees_with_the_map_whatever_happens_at_once() {
    // Few tokens, owners and places, so that everything meets.
    let store = MemoryStore::builder().max_sessions(24).build().unwrap();
    let clock = AtomicU64::new(1);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (store, clock) = (&store, &clock);
            scope.spawn(move || {
                let mut dice = thread + 1;
                for _ in 0..20_000 {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let (what, n, owner) = (dice >> 60, (dice >> 40) % 32, ["ada", "eve"][(dice >> 33) as usize % 2]);
                    let now = clock.fetch_add(1, Relaxed);
                    let brief = Duration::from_micros(20);
                    match what {
                        0..5 => drop(store.put(n, &owned_by(owner, n, now, now + 40), now)),
                        5 => drop(store.put(n, &record(now, now + 40), now)),
                        6 => drop(store.end(n, Duration::ZERO, now)),
                        7 => drop(store.end(n, brief, now)),
                        8 => {
                            let retire = Change::Retire(Tombstone::new(TombstoneKind::Renewed, brief, time(now)));
                            store.change(n, 1, &retire, now);
                        }
                        9 => drop(store.at(n, now + 20)),
                        10 => drop(store.swept(3, now + 20)),
                        11 => drop(store.cut(owner, Revoke::One(handle(n)), now)),
                        12 => drop(at_once(store.revoke(
                            owner,
                            &Revocation::new(Revoke::All, time(now), Duration::ZERO),
                            time(now),
                        ))),
                        13 => drop(store.list(owner, now)),
                        14 => drop(store.moved(n, 1, now + 60, now)),
                        _ => drop(store.replace(n, 1, &owned_by(owner, n, now, now + 9), Deadline::Extend, now)),
                    }
                }
            });
        }
    });
    store.check();
    let end = clock.load(Relaxed) + 2 * u64::try_from(RevocationMark::LIFETIME.as_micros()).unwrap();
    store.swept(usize::MAX, end);
    assert_eq!((store.table.shards.slots(), store.bytes(), store.table.owners.len()), (0, 0, 0));
    store.check();
}
