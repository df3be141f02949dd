//! Stores that can be read and not be written, as on a standby, a replica or a file system that was remounted (promises
//! 21, 23, 24).

use tower_session_layer::{ManualClock, MovingStore, Sealed, Session, SessionLayer, SessionStore};

use crate::support::direct::{act, begin, values};
use crate::support::key_value::Map;
use crate::support::{Answer, DAY, HOUR, Log, MINUTE};

fn layer(store: impl SessionStore, clock: &ManualClock) -> SessionLayer {
    SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").store_timeout(HOUR).build().unwrap()
}

/// Signs Ada in, twice, a day before the first of the sessions expires. Returns their tokens, that of the first before.
async fn two(layer: &SessionLayer, clock: &ManualClock) -> [String; 2] {
    let sign_in = |session: &Session| session.sign_in("ada").and_then(|()| session.insert("a", 1));
    let first = begin(layer, sign_in).await;
    clock.advance(6 * DAY);
    let second = begin(layer, sign_in).await;
    clock.advance(DAY);
    [first, second]
}

fn refused(what: &str, answer: &Answer, log: &Log) {
    assert_eq!(answer.status.as_u16(), 503, "{what}: {answer:?}");
    let said = log.take();
    assert!(said.contains("read-only"), "{what}: {said}");
}

/// Reads as nobody, without an error.
async fn is_absent(layer: &SessionLayer, token: &str, what: &str) {
    let answer = act(layer, Some(token), |session| session.is_new().to_string()).await;
    assert!(answer.status.is_success() && answer.body == "true", "{what}: {answer:?}");
}

async fn check(store: impl SessionStore, map: &Map, what: &str) {
    let clock = ManualClock::default();
    let layer = layer(store, &clock);
    let [expired, live] = two(&layer, &clock).await;
    map.state().read_only = true;
    let log = Log::capture();
    for _ in 0..2 {
        is_absent(&layer, &expired, what).await;
        let said = log.take();
        let warnings: Vec<_> = said.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
        // `MovingStore` asks its new store once more before it believes the old one.
        assert_eq!(warnings.len(), if what == "the new of two" { 2 } else { 1 }, "{what}: {said}");
        assert!(warnings[0].contains("an expired session counts as absent, but cannot be removed"), "{what}: {said}");
        assert!(!said.contains(&expired), "{what}: {said}");
    }
    assert_eq!(values(&layer, &live).await.unwrap()["a"], 1, "{what}");
    let listed = layer.owners().list("ada").await.unwrap();
    assert_eq!(listed.len(), 1, "{what}");
    log.take();
    for (did, token, act_on) in [
        ("a write", Some(&live), (|session| session.insert("a", 2)) as fn(&Session) -> _),
        ("a write with the expired", Some(&expired), |session| session.insert("a", 2)),
        ("a new session", None, |session| session.insert("a", 2)),
        ("a sign-in", None, |session| session.sign_in("ada")),
        ("a sign-in of a session", Some(&live), |session| session.sign_in("bob")),
    ] {
        let answer = act(&layer, token.map(String::as_str), act_on).await;
        assert!(answer.set_cookies().is_empty(), "{what}: {did}: {answer:?}");
        refused(&format!("{what}: {did}"), &answer, &log);
    }
    let ended = act(&layer, Some(&live), Session::destroy).await;
    refused(what, &ended, &log);
    assert!(layer.owners().revoke_all("ada").await.is_err(), "{what}");
    assert!(layer.owners().revoke("ada", listed[0].handle).await.is_err(), "{what}");
    drop(log);

    map.state().read_only = false;
    assert!(act(&layer, Some(&live), |session| session.insert("a", 3)).await.status.is_success(), "{what}");
    assert_eq!(values(&layer, &live).await.unwrap()["a"], 3, "{what}");
    is_absent(&layer, &expired, what).await;
    assert_eq!(map.sessions(), 1, "{what}: the expired one went");
    assert_eq!(layer.owners().revoke_all("ada").await.unwrap(), 1, "{what}");
}

#[tokio::test]
async fn expired_session_is_absent_and_a_live_one_is_read_where_nothing_can_be_written() {
    for wrap in ["a map", "sealed", "cached", "the new of two"] {
        let map = Map::default();
        let store = map.store();
        match wrap {
            "a map" => check(store, &map, wrap).await,
            "sealed" => check(Sealed::new(store).unwrap(), &map, wrap).await,
            #[cfg(feature = "cached")]
            "cached" => check(tower_session_layer::CachedStore::new(store).unwrap(), &map, wrap).await,
            "the new of two" => check(MovingStore::new(store, Map::default().store()).unwrap(), &map, wrap).await,
            _ => {}
        }
    }
}

#[tokio::test]
async fn sweep_of_a_read_only_store_fails_with_one_warning_a_round() {
    tokio::time::pause();
    let map = Map::default();
    let clock = ManualClock::default();
    let layer = layer(map.store(), &clock);
    begin(&layer, |session| session.insert("a", 1)).await;
    map.state().read_only = true;
    let log = Log::capture();
    for _ in 0..3 {
        tokio::time::advance(MINUTE + MINUTE / 60).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let said = log.take();
        assert_eq!(said.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count(), 1, "{said}");
        assert!(said.contains("read-only"), "{said}");
    }
}

/// A session is in one place, and the old store must give it up.
#[tokio::test]
async fn session_moves_once_its_old_store_can_be_written_again() {
    let (new, old) = (Map::default(), Map::default());
    let clock = ManualClock::default();
    let before = layer(old.store(), &clock);
    let [expired, live] = two(&before, &clock).await;
    let moving = layer(MovingStore::new(new.store(), old.store()).unwrap(), &clock);
    old.state().read_only = true;
    let log = Log::capture();
    is_absent(&moving, &expired, "expired").await;
    assert!(act(&moving, Some(&expired), |session| session.insert("a", 2)).await.token().is_some(), "a new session");
    assert_eq!(moving.owners().list("ada").await.unwrap().len(), 1);
    for _ in 0..2 {
        log.take();
        let answer = act(&moving, Some(&live), |session| session.contains("a").to_string()).await;
        refused("a session that has not moved", &answer, &log);
        assert!(answer.set_cookies().is_empty(), "{answer:?}");
    }
    assert!(moving.owners().revoke_all("ada").await.is_err());
    drop(log);
    old.state().read_only = false;
    assert_eq!(values(&moving, &live).await.unwrap()["a"], 1);
    is_absent(&moving, &expired, "expired").await;
    assert_eq!((new.sessions(), old.sessions()), (2, 0));
    assert_eq!(moving.owners().revoke_all("ada").await.unwrap(), 1);
}
