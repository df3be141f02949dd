//! Owners' lists: no revocation passes by a session, whatever fails, whichever clock is wrong.

use std::sync::Arc;
use std::time::Duration;

use tower_session_layer::SessionStore as _;
use tower_session_layer::store::{
    Change, Created, Deadline, Loaded, Record, Revocation, Revoke, SessionHandle, Tombstone, TombstoneKind, Updated,
};

use super::{ada, begun, first, handle, is_in, polled, start, token};
use crate::support::key_value::Map;
use crate::support::record::record;
use crate::support::{DAY, HOUR, MINUTE};

#[tokio::test]
async fn list_outlasts_its_sessions_whatever_the_clock_does() {
    let map = begun().await;
    let store = map.store();
    let expires = |start_of: &str| first(&map, start_of).map(|entry| entry.expires);
    let mut version = ada(1, start()).version();
    // Back by an hour; then each deadline later than the one before.
    for (index, now) in [start() - HOUR, start(), start() + HOUR, start() + 20 * HOUR].into_iter().enumerate() {
        assert_eq!(store.touch(&token(1), version, now + DAY, now).await.unwrap(), Updated::Done, "{index}");
        assert!(expires("owner.") >= expires("session.").map(|end| end + DAY), "{index}: touched");
        let next = ada(index as u64 + 10, now + 2 * DAY);
        let change = Change::Replace(next.clone(), Deadline::Set);
        assert_eq!(store.update(&token(1), version, &change, now).await.unwrap(), Updated::Done, "{index}");
        assert!(expires("owner.") >= expires("session.").map(|end| end + DAY), "{index}: written");
        version = next.version();
    }
    // Without sessions and marks there is no list.
    store.delete(&token(1).key(), Duration::ZERO, start() + 20 * HOUR).await.unwrap();
    assert!(map.state().entries.is_empty());
    let revocation = Revocation::new(Revoke::All, MINUTE);
    store.revoke("ada", &revocation, start()).await.unwrap();
    assert_eq!(expires("owner."), Some(start() + DAY), "a mark is kept for a day");
}

#[tokio::test]
async fn damaged_list_is_an_error_and_nobody_escapes_by_it() {
    let map = begun().await;
    let store = map.store();
    for (key, (_, entry)) in &mut map.state().entries {
        if key.starts_with("owner.") {
            entry.bytes[20] ^= 1;
        }
    }
    let now = start() + MINUTE;
    let error = store.create(&token(2), &ada(2, start() + HOUR), now).await.unwrap_err();
    assert_eq!(error.to_string(), "session store: an owner's list is damaged, or of a newer format");
    store.owned("ada", now).await.unwrap_err();
    store.revoke("ada", &Revocation::new(Revoke::All, MINUTE), now).await.unwrap_err();
    // Everybody else, and what needs no list.
    let other: Arc<_> = record(1, Some("bob"), "1", (now, now + HOUR)).signing_in().into();
    is_in(&store.create(&token(4), &other, now).await.unwrap());
    assert!(matches!(store.load(&token(1), now).await.unwrap(), Loaded::Live(_)));
    store.delete(&token(1).key(), MINUTE, now).await.unwrap();
    assert!(matches!(store.load(&token(1), now).await.unwrap(), Loaded::Tombstone(_)));
}

#[tokio::test]
async fn sign_in_takes_out_of_the_list_what_ended_a_day_ago() {
    let map = begun().await;
    let store = map.store();
    for index in 10..15 {
        store.create(&token(index), &ada(index.into(), start() + HOUR), start()).await.unwrap();
    }
    let len = || first(&map, "owner.").map(|entry| entry.bytes.len());
    let (none, day_later) = (len().map(|len| len - 6 * 64), start() + HOUR + DAY);
    for (index, left) in [(20, 6 + 1 - 4), (21, 3 + 1 - 2), (22, 3)] {
        store.create(&token(index), &ada(index.into(), day_later + HOUR), day_later).await.unwrap();
        assert_eq!(len(), none.map(|none| none + left * 64), "{index}");
    }
}

#[tokio::test]
async fn revocation_ends_nobody_else_under_a_key_that_was_used_before() {
    let map = begun().await;
    let (store, now) = (map.store(), start() + MINUTE);
    // Ada's session goes, and its entry in her list is left.
    map.state().fault = Some((2, false));
    store.delete(&token(1).key(), Duration::ZERO, now).await.unwrap();
    let bob = record(1, Some("bob"), "1", (now, now + HOUR));
    let head = bob.head().with_sign_in(SessionHandle::from_bytes([9; 16]), 0);
    let bob = Arc::new(Record::decode(head, &bob.encode()).unwrap().signing_in());
    assert_eq!(bob.handle(), SessionHandle::from_bytes([9; 16]));
    let Created::SignedIn(moment) = store.create(&token(1), &bob, now).await.unwrap() else { panic!("not stored") };
    assert_eq!(store.revoke("ada", &Revocation::new(Revoke::All, HOUR), now).await.unwrap(), 0);
    assert_eq!(store.load(&token(1), now).await.unwrap(), Loaded::Live(bob.with_sign_in(moment).into()));
}

#[tokio::test]
async fn reading_a_list_takes_out_what_has_ended() {
    let map = begun().await;
    let store = map.store();
    store.create(&token(2), &ada(2, start() + 2 * HOUR), start()).await.unwrap();
    let len = || first(&map, "owner.").map(|entry| entry.bytes.len());
    let both = len();
    assert_eq!(store.owned("ada", start() + HOUR).await.unwrap().len(), 1);
    assert_eq!(len(), both.map(|len| len - 64));
    assert_eq!(map.sessions(), 1, "what was found expired went");
}

/// The new record is in the list before the old one ends; a revocation that has read the list before, and comes to the old
/// record after, finds neither at first.
#[tokio::test]
async fn revocation_reaches_a_session_that_is_renewed_under_its_hands() {
    for which in [Revoke::These(vec![handle()]), Revoke::All] {
        for polls in 0.. {
            let map = begun().await;
            let (store, now) = (map.store(), start() + MINUTE);
            let revocation = Revocation::new(which.clone(), HOUR);
            let mut revoking = std::pin::pin!(store.revoke("ada", &revocation, now));
            let mut is_over = false;
            for _ in 0..polls {
                let polled = polled(revoking.as_mut()).await;
                is_over |= polled.is_ready();
                if is_over {
                    break;
                }
            }
            if is_over {
                break;
            }
            // The first sign-in of the owner, in a map without a clock.
            let renewal = ada(2, start() + HOUR).with_sign_in(1).into();
            let renewed = store.create(&token(2), &renewal, now).await.unwrap();
            if renewed == Created::SignedIn(1) {
                let stone = Tombstone::new(TombstoneKind::Renewed, HOUR, now);
                let version = ada(1, now).version();
                let retired = store.update(&token(1), version, &Change::Retire(stone), now).await.unwrap();
                if retired == Updated::Gone {
                    // As the layer does, whose renewal comes to nothing then.
                    store.delete(&token(2).key(), Duration::ZERO, now).await.unwrap();
                }
            }
            assert!(revoking.await.unwrap() > 0);
            assert_eq!(map.sessions(), 0, "{which:?} after {polls} polls: {renewed:?}");
        }
    }
}

/// As with a token that `MovingStore` brings over: somebody may write before the sign-in has come to the mark again.
#[tokio::test]
async fn sign_in_that_is_refused_leaves_nothing_that_was_written_meanwhile() {
    let (map, now) = (Map::default(), start() + MINUTE);
    let store = map.store();
    let mut signing_in = std::pin::pin!(async { store.create(&token(1), &ada(1, start() + HOUR), now).await });
    while map.sessions() == 0 {
        let polled = polled(signing_in.as_mut()).await;
        assert!(polled.is_pending());
    }
    let change = Change::Replace(ada(2, start() + HOUR).with_sign_in(1).into(), Deadline::Keep);
    assert_eq!(store.update(&token(1), ada(1, now).version(), &change, now).await.unwrap(), Updated::Done);
    // The revocation is cut off once its mark is written.
    map.state().fault = Some((2, false));
    store.revoke("ada", &Revocation::new(Revoke::All, MINUTE), now).await.unwrap_err();
    assert_eq!((map.sessions(), signing_in.await.unwrap()), (1, Created::Revoked));
    assert_eq!(map.sessions(), 0);
}

/// The entry comes first, so a revocation meets it before the record is there.
#[tokio::test]
async fn record_cannot_arrive_after_the_revocation_that_has_met_its_entry() {
    for (sign_in, polls) in (1..).map(|polls| (ada(1, start() + HOUR), polls)) {
        let (map, now) = (Map::default(), start() + MINUTE);
        let store = map.store();
        let mut signing_in = Box::pin(async { store.create(&token(1), &sign_in, now).await });
        let mut is_over = false;
        for _ in 0..polls {
            is_over = is_over || polled(signing_in.as_mut()).await.is_ready();
        }
        if is_over {
            break;
        }
        store.revoke("ada", &Revocation::new(Revoke::All, HOUR), now).await.unwrap();
        // A sign-in that had come to its end is refused no more, and has ended all the same.
        signing_in.await.unwrap();
        assert_eq!(map.sessions(), 0, "after {polls} polls");
        assert!(!matches!(store.load(&token(1), now).await.unwrap(), Loaded::Live(_)));
    }
    // One that is cut off, such as a move, leaves an entry by which nobody lives.
    let (map, now) = (Map::default(), start() + MINUTE);
    map.state().fault = Some((2, false));
    map.store().create(&token(1), &ada(1, start() + HOUR), now).await.unwrap_err();
    assert!(map.store().owned("ada", now).await.unwrap().is_empty());
    map.store().revoke("ada", &Revocation::new(Revoke::All, HOUR), now).await.unwrap();
    assert_eq!(map.store().create(&token(1), &ada(1, start() + HOUR), now).await.unwrap(), Created::Revoked);
    assert_eq!(map.sessions(), 0);
}

// Promise 27. A host whose clock is ten days fast serves one sign-in; who else is signed in is out of its sight.
#[tokio::test]
async fn sign_in_by_a_clock_that_is_fast_hides_no_session_from_a_revocation() {
    let map = begun().await;
    let (store, fast) = (map.store(), start() + 10 * DAY);
    let there: Arc<_> = record(2, Some("ada"), "1", (fast, fast + DAY)).signing_in().into();
    is_in(&store.create(&token(2), &there, fast).await.unwrap());
    let now = start() + MINUTE;
    store.revoke("ada", &Revocation::new(Revoke::All, HOUR), now).await.unwrap();
    assert!(!matches!(store.load(&token(1), now).await.unwrap(), Loaded::Live(_)));
}

// Promise 27. Such a host writes a list in which nobody lives by its own clock.
#[tokio::test]
async fn sign_out_by_a_clock_that_is_fast_leaves_the_list_of_those_who_live() {
    let map = begun().await;
    let (store, fast) = (map.store(), start() + 10 * DAY);
    store.create(&token(2), &ada(2, fast + HOUR), start()).await.unwrap();
    store.delete(&token(2).key(), Duration::ZERO, fast).await.unwrap();
    let now = start() + MINUTE;
    store.revoke("ada", &Revocation::new(Revoke::All, HOUR), now).await.unwrap();
    assert!(!matches!(store.load(&token(1), now).await.unwrap(), Loaded::Live(_)));
}

// Promise 27, in a map that counts the time of its entries itself: a clock that has stepped back gives a session that is
// written longer than was foreseen.
#[tokio::test]
async fn list_outlasts_its_sessions_in_a_map_that_counts_time_itself() {
    let map = Map::default();
    let (store, deadline) = (map.store(), start() + 7 * DAY);
    store.create(&token(1), &ada(1, deadline), start()).await.unwrap();
    for step in 1..=3 {
        let (now, from) = (start() - step * 20 * HOUR, ada(step.into(), deadline).version());
        let change = Change::Replace(ada(u64::from(step) + 1, deadline), Deadline::Keep);
        assert_eq!(store.update(&token(1), from, &change, now).await.unwrap(), Updated::Done);
        let ttl = |start_of: &str| first(&map, start_of).map(|entry| entry.ttl);
        assert!(ttl("owner.") >= ttl("session."), "{step}: {:?} {:?}", ttl("owner."), ttl("session."));
    }
}
