//! Evictions from a full store.

use super::*;

fn store(max_sessions: usize) -> MemoryStore {
    MemoryStore::builder().max_sessions(max_sessions).build().unwrap()
}

fn live(store: &MemoryStore, range: std::ops::Range<u64>, now: u64) -> Vec<u64> {
    range.filter(|&n| version_of(store.at(n, now)).is_some()).collect()
}

/// A session with a value of that many bytes.
fn heavy(seen: u64, len: usize) -> Record {
    Record { values: Values::from_sorted(vec![Entry::new("k", &"1".repeat(len))]), ..record(seen, 9_000) }
}

#[test]
fn the_longest_idle_session_goes_first() {
    let store = store(5);
    for n in 0..5 {
        store.put(n, &record(10 + n, 9_000), 20);
    }
    store.moved(0, 1, 9_000, 30);
    store.put(5, &record(40, 9_000), 40);
    assert_eq!(live(&store, 0..6, 40), [0, 2, 3, 4, 5]);
    store.put(6, &record(1, 9_000), 41);
    assert_eq!(live(&store, 0..7, 41), [0, 3, 4, 5, 6], "never the one just written");
    store.check();
}

#[test]
fn what_has_expired_goes_before_what_is_idle() {
    let store = store(5);
    store.put(0, &record(1, 9_000), 10);
    store.put(1, &owned_by("ada", 1, 30, 100), 10);
    for n in 2..5 {
        store.put(n, &record(10, 9_000), 10);
    }
    store.put(5, &record(10, 9_000), 100);
    assert_eq!(live(&store, 0..6, 99), [0, 2, 3, 4, 5]);
    assert_eq!(store.table.owners.len(), 0);
    store.check();
}

#[test]
fn nobody_who_signed_in_goes_while_anything_has_expired() {
    // So many shards that a few looks would not find the one.
    let store = store(100_000);
    for n in 0..100_000 {
        store.put(n, &owned_by(&format!("user{n}"), n, 1, if n == 77_777 { 500 } else { 100 }), 10);
        // All hints but one lead nowhere.
        store.moved(n, 1, if n == 77_777 { 500 } else { 9_000 }, 10);
    }
    store.put(100_000, &owned_by("new", 100_000, 1, 9_000), 600);
    assert_eq!((store.len(), version_of(store.at(77_777, 499))), (100_000, None));
    store.put(100_001, &owned_by("newer", 100_001, 1, 9_000), 600);
    assert_eq!(store.len(), 100_000, "then the longest idle of a sample");
    assert_eq!(live(&store, 100_000..100_002, 600).len(), 2);
}

#[test]
fn one_person_who_signs_in_again_and_again_evicts_nobody_else() {
    let store = store(50);
    for n in 0..40 {
        store.put(n, &owned_by(&format!("user{n}"), n, 10 + n, 9_000), 100);
    }
    for n in 100..1_000 {
        store.put(n, &owned_by("eve", n, n, 9_000), 200);
    }
    assert_eq!(live(&store, 0..40, 200).len(), 40);
    assert_eq!(live(&store, 990..1_000, 200), (990..1_000).collect::<Vec<_>>(), "the latest ones");
    store.put(50, &owned_by("bob", 50, 300, 9_000), 300);
    assert_eq!(store.len(), 50, "who has no session yet takes the place of the longest idle");
    store.check();
}

#[test]
fn tombstones_outlast_sessions_without_an_owner_and_go_before_those_with_one() {
    let store = store(4);
    store.put(0, &record(10, 9_000), 10);
    store.put(1, &record(10, 9_000), 10);
    store.put(2, &owned_by("ada", 2, 1, 9_000), 10);
    store.end(0, MINUTE, 20);
    store.end(1, MINUTE, 21);
    for n in 3..50 {
        store.put(n, &record(10 + n, 9_000), 30);
        assert_eq!((live(&store, 0..3, 30), live(&store, 3..50, 30)), (vec![2], vec![n]));
        let stone = |n| kind_of(store.at(n, 30));
        assert_eq!((stone(0), stone(1)), (Some(TombstoneKind::Destroyed), Some(TombstoneKind::Destroyed)));
    }
    store.put(50, &owned_by("ada", 50, 2, 9_000), 30);
    store.put(51, &owned_by("ada", 51, 3, 9_000), 30);
    assert_eq!(kind_of(store.at(0, 30)), None, "the oldest first");
    assert_eq!(kind_of(store.at(1, 30)), Some(TombstoneKind::Destroyed));
    store.put(52, &owned_by("ada", 52, 4, 9_000), 30);
    assert_eq!((live(&store, 0..53, 30), kind_of(store.at(1, 30))), (vec![2, 50, 51, 52], None));
    store.check();
}

#[test]
fn sessions_of_owners_go_last() {
    let store = store(3);
    store.put(0, &owned_by("ada", 0, 1, 9_000), 10);
    store.put(1, &owned_by("ada", 1, 2, 9_000), 10);
    for n in 2..50 {
        store.put(n, &record(10 + n, 9_000), 100);
        assert_eq!(live(&store, 0..2, 100), [0, 1]);
        assert_eq!(live(&store, 2..50, 100), [n]);
    }
    store.put(50, &owned_by("ada", 50, 3, 9_000), 100);
    store.put(51, &owned_by("ada", 51, 4, 9_000), 100);
    assert_eq!(live(&store, 0..52, 100), [1, 50, 51], "only owners are left");
    assert_eq!(at_once(store.owned("ada", time(100))).len(), 3);
    store.check();
}

#[test]
fn a_flood_of_anonymous_sessions_logs_nobody_out() {
    let store = store(10_000);
    for n in 0..1_000 {
        store.put(n, &owned_by("ada", n, 1, u64::MAX), 10);
    }
    let mut anonymous = record(0, u64::MAX);
    for n in 1_000..201_000 {
        anonymous.seen = n;
        store.put(n, &anonymous, n);
        assert!(store.table.shards.slots() <= 10_000);
    }
    assert_eq!(store.len(), 10_000);
    assert_eq!(live(&store, 0..1_000, 10).len(), 1_000);
    // Of the younger half of those that fit, hardly one was taken for long idle.
    let young = live(&store, 196_500..201_000, 10).len();
    assert!(young > 4_450, "{young} of 4,500");
    store.check();
}

#[test]
fn no_place_is_out_of_an_evictions_reach() {
    let store = store(4_096);
    for n in 0..40_000 {
        store.put(n, &record(n, u64::MAX), n);
    }
    assert!(live(&store, 0..30_000, 10).is_empty());
}

#[test]
fn a_session_that_was_used_since_it_was_chosen_stays() {
    let store = store(5);
    store.put(1, &record(10, 9_000), 10);
    store.moved(1, 1, 9_000, 11);
    let (key, _) = TokenKey::of(&token(1)).unwrap();
    assert!(!store.table.remove_unused(key, 10) && version_of(store.at(1, 11)).is_some());
    assert!(store.table.remove_unused(key, 11) && store.is_empty());
}

#[test]
fn the_bytes_are_bounded_too() {
    let one = bytes_of(&heavy(1, 1_000));
    let store = MemoryStore::builder().max_bytes(4 * one).build().unwrap();
    for n in 0..4 {
        store.put(n, &heavy(10 + n, 1_000), 20);
    }
    assert_eq!((store.bytes(), store.len()), (4 * one, 4));
    store.put(4, &heavy(20, 1_000), 20);
    assert_eq!(live(&store, 0..5, 20), [1, 2, 3, 4]);
    let grown = Record { version: version(2), ..heavy(30, 1_001) };
    assert_eq!(store.replace(1, 1, &grown, Deadline::Keep, 30), Updated::Done);
    assert_eq!(live(&store, 0..5, 30), [1, 3, 4], "what grew stays");
    let huge = Record { version: version(3), ..heavy(30, 3 * one) };
    assert_eq!(store.replace(1, 2, &huge, Deadline::Keep, 30), Updated::Done);
    assert_eq!(live(&store, 0..5, 30), [1]);
    assert!(store.bytes() <= 4 * one);
    store.check();
}

#[test]
fn a_record_larger_than_the_store_is_refused_and_evicts_nobody() {
    let store = MemoryStore::builder().max_bytes(10_000).build().unwrap();
    store.put(0, &record(1, 9_000), 10);
    let huge = Record { version: version(2), ..heavy(10, 10_000) };
    let waker = &mut Context::from_waker(Waker::noop());
    let change = Change::Replace(huge.clone().into(), Deadline::Keep);
    let Poll::Ready(created) = pin!(store.create(&token(1), &huge.into(), time(10))).poll(waker) else {
        panic!("waited")
    };
    let updating = pin!(store.update(&token(0), version(1), &change, time(10))).poll(waker);
    let Poll::Ready(updated) = updating else { panic!("waited") };
    assert!(created.unwrap_err().is_too_large() && updated.unwrap_err().is_too_large());
    assert_eq!(version_of(store.at(0, 10)), Some(1));
    assert!(store.max_record_len().is_some_and(|len| len < 10_000));
}

#[test]
fn a_record_has_the_bytes_that_marks_leave() {
    let store = MemoryStore::builder().max_bytes(20_000).build().unwrap();
    let large = heavy(10, 15_000);
    assert_eq!(store.put(0, &large, 10), Created::Stored);
    for n in 0..30 {
        store.cut(&format!("user-{n}"), crate::store::Revoke::All, 10);
    }
    assert!(store.is_empty() && store.bytes() < 10_000, "it made room for the marks");
    let bytes = store.bytes();
    let creating = pin!(store.create(&token(1), &large.into(), time(10))).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(created) = creating else { panic!("waited") };
    assert!(created.unwrap_err().is_too_large());
    assert_eq!((store.len(), store.bytes()), (0, bytes));
    assert_eq!(store.put(2, &heavy(10, 9_000), 10), Created::Stored);
    store.check();
}

#[test]
fn a_bound_of_zero_is_an_error() {
    let build = |sessions, bytes| MemoryStore::builder().max_sessions(sessions).max_bytes(bytes).build();
    assert_eq!(build(0, 1).unwrap_err(), ConfigError::ZeroBound("max_sessions"));
    assert_eq!(build(1, 0).unwrap_err(), ConfigError::ZeroBound("max_bytes"));
    assert_eq!(MemoryStore::new().table.shards.count(), 4_096);
}

#[test]
fn a_session_weighs_little_beside_its_values() {
    let bytes = bytes_of(&Record { values: Values::default(), ..owned_by("", 1, 1, 1) });
    assert!(bytes <= 424, "{bytes}");
}

#[test]
fn the_bounds_hold_with_many_writers() {
    let store = store(100);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..2_000 {
                    store.put(thread * 10_000 + n, &record(n, 9_000), 10);
                    assert!(store.table.shards.slots() <= 103, "one over for each other writer at most");
                }
            });
        }
    });
    assert_eq!(store.len(), 100, "nor did two evictions remove twice what one had to");
    store.check();
}
