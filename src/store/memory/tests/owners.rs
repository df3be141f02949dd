//! Listing, revocation, and the races between them and everything else.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use crate::store::{Revocation, RevocationMark, Revoke};

/// Names of revocations.
static NAME: AtomicU64 = AtomicU64::new(0);

fn these(n: u64) -> Revoke {
    Revoke::These(vec![handle(n)])
}

impl MemoryStore {
    fn list(&self, owner: &str, now: u64) -> Vec<SessionHandle> {
        let mut handles: Vec<_> =
            at_once(self.owned(owner, time(now))).into_iter().map(|session| session.handle).collect();
        handles.sort_unstable();
        handles
    }

    pub(super) fn cut(&self, owner: &str, which: Revoke, now: u64) -> usize {
        let revocation = Revocation::new(which, MINUTE).named(1 + NAME.fetch_add(1, Relaxed));
        let ended = at_once(self.revoke(owner, &revocation, time(now)));
        revocation.complete();
        ended
    }

    /// Revokes an owner's sessions, and returns whether there was room for the mark.
    fn revokes_all(&self, owner: &str) -> bool {
        let revocation = Revocation::new(Revoke::All, MINUTE);
        let revoking = pin!(self.revoke(owner, &revocation, time(10))).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(ended) = revoking else { panic!("the store waited") };
        ended.inspect_err(|error| assert!(error.to_string().contains("`max_bytes`"), "{error}")).is_ok()
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
    assert_eq!(store.cut("eve", these(1), 11), 0, "somebody else's");
    assert_eq!(store.cut("ada", these(1), 11), 1);
    assert_eq!(kind_of(store.at(1, 11)), Some(TombstoneKind::Revoked));
    assert_eq!(store.cut("ada", these(1), 11), 0);
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
    assert_eq!(at_once(store.revoke("ada", &Revocation::new(these(1), Duration::ZERO), time(10))), 1);
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
        ("revocation", |store| assert_eq!(store.cut("ada", these(1), 10), 1)),
        ("eviction", |store| {
            for n in 10..13 {
                store.put(n, &owned_by(&format!("eve{n}"), n, 50, 100), 10);
            }
        }),
    ];
    for (name, end) in ends {
        let store = MemoryStore::builder().max_sessions(3).build().unwrap();
        store.put(1, &owned_by("ada", 1, 5, 100), 10);
        end(&store);
        let others = (10..13).filter(|n| !store.list(&format!("eve{n}"), 10).is_empty()).count();
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

/// A time by the store's own clock at which every mark of now has expired.
fn a_day_later() -> SystemTime {
    crate::clock::monotonic() + RevocationMark::LIFETIME + Duration::from_secs(60)
}

#[test]
fn a_mark_refuses_sign_ins_that_began_before_it_and_goes_after_a_day() {
    let store = MemoryStore::new();
    let owned = |owner, n| owned_by(owner, n, 5, u64::MAX);
    let before = Instant::now();
    assert_eq!(store.cut("ada", these(1), 9), 0);
    assert!(matches!(store.put_since(before, 0, &owned("ada", 0), 9), Created::SignedIn(_)), "one revoked is no mark");
    store.end(0, Duration::ZERO, 9);
    assert_eq!(store.cut("ada", Revoke::Others(handle(1)), 10), 0, "nothing there, and a mark all the same");
    assert_eq!(store.put_since(before, 2, &owned("ada", 2), 11), Created::Revoked);
    assert_eq!(store.at(2, 11), Loaded::Absent);
    assert!(matches!(store.put_since(before, 1, &owned("ada", 1), 11), Created::SignedIn(_)), "the spared one");
    assert!(matches!(store.put(3, &owned("ada", 3), 11), Created::SignedIn(_)), "began afterwards");
    assert!(matches!(store.put_since(before, 4, &owned("eve", 4), 11), Created::SignedIn(_)), "somebody else");
    // However far ahead a layer's clock is.
    store.swept(10, u64::MAX / 2);
    assert_eq!(store.put_since(before, 5, &owned("ada", 5), 12), Created::Revoked);
    for n in [1, 3, 4] {
        store.end(n, Duration::ZERO, 12);
    }
    assert_eq!(store.table.owners.len(), 1, "the mark alone");
    assert_eq!(store.table.owners.purge_marks(10, a_day_later()), 1);
    assert_eq!((store.table.owners.len(), store.bytes()), (0, 0));
}

#[test]
fn sign_ins_are_in_the_order_of_the_store_whatever_the_clocks_show() {
    let store = MemoryStore::new();
    let mut latest = 0;
    for (n, signed_in) in [(1, 500), (2, 5), (3, u64::MAX / 2), (4, 1)] {
        let Created::SignedIn(moment) = store.put(n, &owned_by("ada", n, signed_in, u64::MAX), 10) else {
            panic!("not stored")
        };
        assert!(moment > latest);
        let again = Record { sign_in: moment, ..owned_by("ada", n, signed_in, u64::MAX) };
        assert_eq!(store.at(n, 10), Loaded::Live(again.into()));
        assert_eq!(store.put(n, &owned_by("ada", n, signed_in, u64::MAX), 11), Created::SignedIn(moment), "sent again");
        latest = moment;
    }
    let other = Record { handle: handle(9), ..owned_by("ada", 4, 1, u64::MAX) };
    assert_eq!(store.put(4, &other, 11), Created::Taken, "another record at the same version");
    let renewed = Record { sign_in: 1, handle: handle(1), ..owned_by("ada", 1, 500, u64::MAX) };
    assert_eq!(store.put(11, &renewed, 12), Created::SignedIn(1), "a renewal keeps its moment");
    store.cut("ada", Revoke::All, 13);
    assert_eq!(store.put(12, &renewed, 13), Created::Revoked, "a renewal of a session that was revoked");
}

#[test]
fn a_later_revocation_prolongs_a_mark() {
    let store = MemoryStore::new();
    store.cut("ada", Revoke::All, 10);
    let first = a_day_later();
    let before = Instant::now();
    store.cut("ada", Revoke::All, 500);
    assert_eq!(store.put_since(before, 1, &owned_by("ada", 1, 400, u64::MAX), 499), Created::Revoked);
    assert_eq!(store.table.owners.purge_marks(10, first), 1);
    assert!(matches!(store.put_since(before, 1, &owned_by("ada", 1, 400, u64::MAX), 500), Created::SignedIn(_)));
    store.end(1, Duration::ZERO, 501);
    assert_eq!(store.table.owners.len(), 0);
}

#[test]
fn marks_are_swept_within_the_limit() {
    let store = MemoryStore::new();
    for n in 0..100 {
        store.cut(&format!("user-{n}"), Revoke::All, 10);
    }
    let purge = || store.table.owners.purge_marks(60, a_day_later());
    assert_eq!((purge(), purge(), purge()), (60, 40, 0));
}

#[test]
fn a_mark_outlasts_every_session_in_a_full_store() {
    type Flood = fn(&MemoryStore, u64);
    let floods: [(&str, Flood); 3] = [
        ("sessions without an owner", |store, n| drop(store.put(n, &record(n, u64::MAX), 20))),
        ("sign-ins", |store, n| drop(store.put(n, &owned_by(&format!("user-{n}"), n, 5, u64::MAX), 20))),
        ("an owner's own sign-ins", |store, n| drop(store.put(n, &owned_by("ada", n, 5, u64::MAX), 20))),
    ];
    for (name, flood) in floods {
        let store = MemoryStore::builder().max_bytes(20_000).build().unwrap();
        let before = Instant::now();
        store.cut("ada", Revoke::All, 10);
        for n in 100..400 {
            flood(&store, n);
            assert!(store.bytes() <= 20_000, "{name}");
        }
        assert_eq!(store.put_since(before, 1, &owned_by("ada", 1, 5, u64::MAX), 30), Created::Revoked, "{name}");
        store.check();
    }
}

#[test]
fn a_revocation_whose_mark_has_no_room_ends_the_sessions_and_is_an_error() {
    let store = MemoryStore::builder().max_bytes(1 << 20).build().unwrap();
    let (before, name) = (Instant::now(), |n: u64| format!("user-{n:04}"));
    let mut marked = 0;
    while marked < 9_999 && store.revokes_all(&name(marked)) {
        marked += 1;
    }
    assert!(store.bytes() <= 1 << 19 && marked >= (1 << 19) / (256 + 9), "{marked} marks");
    for n in [0, marked - 1] {
        let under_way = store.put_since(before, n, &owned_by(&name(n), n, 5, u64::MAX), 10);
        assert_eq!(under_way, Created::Revoked, "no mark went for another");
    }
    let late = name(marked);
    store.put(1, &owned_by(&late, 1, 5, u64::MAX), 10);
    assert!(!store.revokes_all(&late));
    assert_eq!((kind_of(store.at(1, 10)), store.list(&late, 10)), (Some(TombstoneKind::Revoked), vec![]));
    assert!(store.revokes_all(&name(0)), "who has a mark needs no more room");
    store.put(2, &owned_by(&late, 2, 5, u64::MAX), 10);
    assert_eq!(store.cut(&late, these(2), 10), 1, "one by its name needs no mark");
    store.check();
    assert_eq!(store.table.owners.purge_marks(1, a_day_later()), 1);
    assert!(store.revokes_all(&late));
}

#[test]
fn a_mark_takes_the_place_of_sessions() {
    let store = MemoryStore::builder().max_bytes(40_000).build().unwrap();
    for n in 0..200 {
        store.put(n, &owned_by(&format!("user-{n}"), n, 5, u64::MAX), 10);
    }
    let full = store.len();
    for n in 0..50 {
        store.cut(&format!("nobody-{n}"), Revoke::All, 10);
        assert!(store.bytes() <= 40_000);
    }
    assert!((1..full).contains(&store.len()));
    store.check();
}

#[test]
fn no_session_remains_whose_sign_in_began_before_a_revocation() {
    let store = MemoryStore::new();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..3_000 {
                    let n = thread * 100_000 + n;
                    let began = Instant::now();
                    store.put_since(began, n, &owned_by("ada", n, 5, u64::MAX), 5);
                }
            });
        }
        scope.spawn(|| {
            for n in 0..2_000 {
                let which = if n % 2 == 0 { Revoke::All } else { Revoke::Others(handle(u64::MAX)) };
                let latest = at_once(store.owned("ada", time(6))).iter().map(|session| session.sign_in).max();
                store.cut("ada", which, 6);
                let remaining = at_once(store.owned("ada", time(6)));
                assert!(remaining.iter().all(|session| Some(session.sign_in) > latest));
            }
        });
    });
    store.check();
    store.cut("ada", Revoke::All, 7);
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
                        11 => drop(store.cut(owner, these(n), now)),
                        12 => {
                            at_once(store.revoke(owner, &Revocation::new(Revoke::All, Duration::ZERO), time(now)));
                        }
                        13 => drop(store.list(owner, now)),
                        14 => drop(store.moved(n, 1, now + 60, now)),
                        _ => drop(store.replace(n, 1, &owned_by(owner, n, now, now + 9), Deadline::Extend, now)),
                    }
                }
            });
        }
    });
    store.check();
    store.swept(usize::MAX, clock.load(Relaxed) + 2 * 60_000_000);
    store.table.owners.purge_marks(usize::MAX, a_day_later());
    assert_eq!((store.table.shards.slots(), store.bytes(), store.table.owners.len()), (0, 0, 0));
    store.check();
}
