//! A copy of an old token and of everything the store ever wrote give no access to the session that goes on (promise 10).

use std::path::Path;

use crate::support::direct::{act, begin, hold, values};
use crate::support::dump::{Found, derive, files, find, nothing_leads_on, secret, tokens};
use crate::support::key_value::Map;
use crate::support::{HOUR, renewal_keys};
use serde_json::json;
use tower_session_layer::{
    CookieKey, Durability, FileStore, ManualClock, MemoryStore, Sealed, Session, SessionLayer, SessionStore,
};

/// The program's key, as [`renewal_keys`] makes it of its secret.
const KEY: [u8; 32] = [7; 32];

fn layer(store: impl SessionStore, clock: &ManualClock, keys: impl IntoIterator<Item = CookieKey>) -> SessionLayer {
    let builder = SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").store_timeout(HOUR);
    builder.renew_after(HOUR, keys).build().unwrap()
}

async fn in_a_map(store: impl SessionStore, map: &Map, what: &str) -> Vec<String> {
    let clock = ManualClock::default();
    let tokens = tokens(&layer(store, &clock, renewal_keys()), &clock, async || ()).await;
    assert!(map.state().written.len() > 2 * tokens.len(), "{what}");
    nothing_leads_on(&map.state().written, &tokens, what);
    tokens
}

async fn in_files(store: impl SessionStore, directory: &Path, what: &str) {
    let (clock, mut written) = (ManualClock::default(), Vec::new());
    let layer = layer(store, &clock, renewal_keys());
    let tokens = tokens(&layer, &clock, async || written.extend(files(directory))).await;
    nothing_leads_on(&written, &tokens, what);
}

#[tokio::test]
async fn no_old_token_opens_a_newer_one_in_anything_that_a_store_wrote() {
    let map = Map::default();
    in_a_map(map.store(), &map, "a map").await;
    let map = Map::default();
    in_a_map(Sealed::new(map.store()).unwrap(), &map, "a sealed map").await;
    for is_sealed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::builder(directory.path()).durability(Durability::Process).build().unwrap();
        if is_sealed {
            in_files(Sealed::new(store).unwrap(), directory.path(), "sealed files").await;
        } else {
            in_files(store, directory.path(), "files").await;
        }
    }
}

/// The search above finds what there is to find, and the program's key is worth as little as an old token alone.
#[tokio::test]
async fn the_key_and_the_old_token_together_open_the_new_one_and_neither_does_alone() {
    let map = Map::default();
    let tokens = in_a_map(map.store(), &map, "a map").await;
    let written = map.state().written.clone();
    let key = derive(&KEY, "tower-session-layer cookie key v1").to_vec();
    let both: Vec<_> = tokens.iter().map(|token| [key.clone(), secret(token)].concat()).collect();
    let leads = |token: usize| Found { token, by: Some((token - 1, "tower-session-layer leading token v1")) };
    assert_eq!(find(&written, &both, &tokens), [leads(3), leads(4)], "each one token on");
    assert_eq!(find(&written, &[key, KEY.to_vec()], &tokens), []);
    // As it is, and among the values of a sealed session.
    let plain = [tokens[1].clone().into_bytes()];
    assert_eq!(find(&plain, &[], &tokens), [Found { token: 1, by: None }]);
    let (map, held) = (Map::default(), tokens[1].clone());
    let layer = layer(Sealed::new(map.store()).unwrap(), &ManualClock::default(), renewal_keys());
    let holder = begin(&layer, move |session| session.insert("held", held)).await;
    let found = find(&map.state().written, &[secret(&holder)], &tokens);
    assert!(found.contains(&Found { token: 1, by: Some((0, "tower-session-layer sealed v1")) }), "{found:?}");
}

/// Through the layer: whoever has the old token and the store, and keys of another program.
#[tokio::test]
async fn an_old_token_leads_on_under_the_programs_keys_alone() {
    let (store, clock) = (MemoryStore::new(), ManualClock::default());
    let ours = layer(store.clone(), &clock, renewal_keys());
    let others = layer(store, &clock, [CookieKey::new(&[8; 32]).unwrap()]);
    let old = begin(&ours, |session| session.insert("a", 1)).await;
    clock.advance(HOUR);
    let read = |session: &Session| session.contains("a").to_string();
    let new = act(&ours, Some(&old), read).await.token().unwrap();
    assert_eq!(values(&others, &old).await, None);
    assert!(act(&others, Some(&old), |session| session.insert("b", 2)).await.leaves_cookie());
    assert_eq!(act(&ours, Some(&old), read).await.token(), Some(new.clone()));
    assert_eq!(values(&ours, &new).await, Some(json!({ "a": 1 })));
}

/// The tombstone of a renewal names its successor by the key alone, which is enough for a late `destroy`.
#[tokio::test]
async fn a_late_destroy_follows_renewals_by_the_successors_key() {
    for is_sealed in [false, true] {
        let (map, clock) = (Map::default(), ManualClock::default());
        let layer = if is_sealed {
            layer(Sealed::new(map.store()).unwrap(), &clock, renewal_keys())
        } else {
            layer(map.store(), &clock, renewal_keys())
        };
        let old = begin(&layer, |session| session.insert("a", 1)).await;
        let late = hold(&layer, &old, Session::destroy).await;
        let second = act(&layer, Some(&old), |session| session.sign_in("ada")).await.token().unwrap();
        let third = act(&layer, Some(&second), Session::renew).await.token().unwrap();
        assert!(late.release().await.removes_cookie());
        for token in [&old, &second, &third] {
            assert_eq!(values(&layer, token).await, None, "sealed: {is_sealed}");
        }
        assert_eq!(map.sessions(), 0, "sealed: {is_sealed}");
        nothing_leads_on(&map.state().written, &[old, second, third], "a late destroy");
    }
}
