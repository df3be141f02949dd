//! When the server is slow, gone, or forgets; when the connection breaks; when requests end early (promises 14, 23, 24).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;
use tower_session_layer::{RedisStore, Session, SessionLayer};

use super::proxy::{Fault, Proxy};
use super::server::Server;
use crate::support::direct::{act, begin, pass, respond, values};
use crate::support::{Answer, MINUTE};

const SHORT: Duration = Duration::from_millis(300);
/// For what has to succeed, however busy the machine is.
const LONG: Duration = Duration::from_secs(600);

pub async fn store(url: &str) -> RedisStore {
    // As patient as the layer that succeeds, so that only the layer's patience ends.
    RedisStore::builder(url).response_timeout(LONG).connect_timeout(LONG).build().await.unwrap()
}

pub fn layer(store: &RedisStore, patience: Duration) -> SessionLayer {
    SessionLayer::builder(store.clone()).cookie_name("sid").store_timeout(patience).build().unwrap()
}

/// What a request with this token finds under `canary`; `Err` for a 503.
async fn canary(layer: &SessionLayer, token: &str) -> Result<String, StatusCode> {
    let read = |session: &Session| session.get::<String>("canary").unwrap().unwrap_or_else(|| "none".into());
    let answer = act(layer, Some(token), read).await;
    if answer.status.is_success() { Ok(answer.body) } else { Err(answer.status) }
}

async fn canaries(layer: &SessionLayer, count: usize) -> Vec<(String, String)> {
    let mut made = Vec::new();
    for index in 0..count {
        let name = format!("bird-{index}");
        let value = name.clone();
        made.push((begin(layer, move |session| session.insert("canary", value)).await, name));
    }
    made
}

/// Every kind of request that needs the store is refused, and one that needs none is not.
async fn everything_is_refused(layer: &SessionLayer, token: &str) {
    let refused = |what: &str, answer: Answer| {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{what}");
        assert!(answer.set_cookies().is_empty(), "{what} sets a cookie: {answer:?}");
    };
    refused("a read", act(layer, Some(token), |session| session.contains("a").to_string()).await);
    refused("a write", act(layer, Some(token), |session| session.insert("b", 2)).await);
    refused("a new session", act(layer, None, |session| session.insert("b", 2)).await);
    refused("a sign-in", act(layer, None, |session| session.sign_in("ada")).await);
    let answer = act(layer, None, |_| "hello").await;
    assert!(answer.leaves_cookie() && answer.body == "hello", "a request without a cookie: {answer:?}");
}

#[tokio::test]
async fn frozen_server_is_503_and_the_next_request_after_it_works() {
    let server = Server::start();
    let store = store(&server.url()).await;
    let (hasty, patient) = (layer(&store, SHORT), layer(&store, LONG));
    let lazy = SessionLayer::builder(store.clone()).cookie_name("sid").store_timeout(LONG).lazy().build().unwrap();
    let token = begin(&patient, |session| session.insert("a", 1)).await;
    for _ in 0..3 {
        server.freeze();
        everything_is_refused(&hasty, &token).await;
        let unasked = pass(&lazy, &token).await;
        assert!(unasked.leaves_cookie() && unasked.body == "hello", "who does not ask does not wait: {unasked:?}");
        server.thaw();
        let found = values(&patient, &token).await.unwrap();
        assert_eq!(found["a"], 1);
        assert!(act(&patient, Some(&token), |session| session.insert("c", 3)).await.leaves_cookie());
    }
}

#[tokio::test]
async fn killed_server_is_503_and_the_next_request_after_its_restart_works() {
    let server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = store(&server.url()).await;
    let patient = layer(&store, LONG);
    let token = begin(&patient, |session| session.insert("a", 1)).await;
    for round in 0..3 {
        server.kill();
        for _ in 0..round {
            everything_is_refused(&patient, &token).await;
        }
        server.restart();
        // Even where nobody has noticed that it was gone; and the server has forgotten the scripts.
        let answer = act(&patient, Some(&token), move |session| session.insert("round", round)).await;
        assert!(answer.leaves_cookie(), "{answer:?}");
        assert_eq!(values(&patient, &token).await, Some(json!({ "a": 1, "round": round })));
    }
}

#[tokio::test]
async fn server_that_has_become_a_replica_is_left_for_the_one_behind_its_name() {
    let (old, new) = (Server::start(), Server::start());
    let name = Proxy::to(old.port).await;
    let layer = layer(&store(&name.url()).await, LONG);
    let token = begin(&layer, |session| session.insert("a", 1)).await;
    new.command(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]).await;
    new.wait_for("MASTER <-> REPLICA sync: Finished with success");
    new.command(&["REPLICAOF", "NO", "ONE"]).await;
    old.command(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]).await;
    name.lead_to(new.port);
    assert!(act(&layer, Some(&token), |session| session.insert("b", 2)).await.leaves_cookie());
    assert_eq!(values(&layer, &token).await, Some(json!({ "a": 1, "b": 2 })));
}

/// The name leads to the new master only after the old one has become a replica, as with a proxy or DNS.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_promotion_under_load_the_first_write_over_the_name_succeeds() {
    let (old, new) = (Server::start(), Server::start());
    let name = Proxy::to(old.port).await;
    let layer = layer(&store(&name.url()).await, LONG);
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(begin(&layer, |session| session.insert("count", 0)).await);
    }
    let count = async |layer: &SessionLayer, token: &str| {
        act(layer, Some(token), |session| session.update("count", |count: Option<u64>| Some(count.unwrap() + 1))).await
    };
    new.command(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]).await;
    new.wait_for("MASTER <-> REPLICA sync: Finished with success");
    let (ended, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut writers = JoinSet::new();
    for token in tokens.clone() {
        let (layer, ended, refused) = (layer.clone(), Arc::clone(&ended), Arc::clone(&refused));
        writers.spawn(async move {
            while !ended.load(SeqCst) {
                let answer = count(&layer, &token).await;
                assert!(answer.set_cookies().is_empty(), "{answer:?}");
                refused.fetch_add(usize::from(!answer.status.is_success()), SeqCst);
            }
        });
    }
    new.command(&["REPLICAOF", "NO", "ONE"]).await;
    old.command(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]).await;
    let begun = std::time::Instant::now();
    while refused.load(SeqCst) == 0 {
        assert!(begun.elapsed() < 10 * MINUTE, "the old master is a replica and takes writes");
        tokio::task::yield_now().await;
    }
    name.lead_to(new.port);
    let led = std::time::Instant::now();
    for token in &tokens {
        let answer = count(&layer, token).await;
        assert!(answer.leaves_cookie() && answer.status.is_success(), "{answer:?}");
        assert!(values(&layer, token).await.is_some());
    }
    let took = led.elapsed();
    ended.store(true, SeqCst);
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    eprintln!("promotion: {refused:?} refused, each session written {took:?} after the name led to the new master");
}

#[tokio::test]
async fn server_that_has_forgotten_all_is_an_empty_store_and_no_error() {
    let server = Server::start();
    let store = store(&server.url()).await;
    let layer = layer(&store, LONG);
    let asks: [(&str, fn(&Session) -> Result<(), tower_session_layer::Error>); 5] = [
        ("a read", |_| Ok(())),
        ("a write", |session| session.insert("a", 2)),
        ("a sign-in", |session| session.sign_in("ada")),
        ("a renewal", Session::renew),
        ("an end", Session::destroy),
    ];
    for (what, ask) in asks {
        let ada = begin(&layer, |session| session.sign_in("ada")).await;
        layer.owners().revoke_all("ada").await.unwrap();
        let other = begin(&layer, |session| session.sign_in("ada")).await;
        assert_eq!(server.keys("session:mark:*").await.len(), 1);
        server.kill();
        server.restart();
        // The very first call, over a connection that nobody knows to be lost, to a server without our scripts.
        let answer = act(&layer, Some(&other), ask).await;
        assert!(answer.status.is_success(), "{what}: {answer:?}");
        assert_eq!(values(&layer, &other).await, None, "{what}");
        assert_eq!(values(&layer, &ada).await, None, "{what}");
        assert!(server.keys("session:mark:*").await.is_empty(), "{what}");
        let again = begin(&layer, |session| session.sign_in("ada")).await;
        assert!(values(&layer, &again).await.is_some(), "{what}");
    }
    server.kill();
    server.restart();
    assert!(layer.owners().list("ada").await.unwrap().is_empty());
    assert_eq!(layer.owners().revoke_all("ada").await.unwrap(), 0);
}

#[tokio::test]
async fn connection_that_was_refused_is_tried_again() {
    let server = Server::start();
    let set = async |password: &str| {
        server.command(&["ACL", "SETUSER", "web", "on", "resetpass", password, "~*", "+@all"]).await
    };
    set(">right").await;
    let layer = layer(&store(&format!("redis://web:right@127.0.0.1:{}", server.port)).await, LONG);
    let token = begin(&layer, |session| session.insert("a", 1)).await;
    for _ in 0..3 {
        set(">wrong").await;
        server.command(&["CLIENT", "KILL", "USER", "web"]).await;
        everything_is_refused(&layer, &token).await;
        set(">right").await;
        assert_eq!(values(&layer, &token).await, Some(json!({ "a": 1 })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connection_cut_in_mid_reply_gives_nobody_anything_else() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    // A command that is queued at the very moment of the cut is forgotten by the client, and ends with this timeout.
    let store = RedisStore::builder(proxy.url()).response_timeout(Duration::from_secs(5)).build().await.unwrap();
    let layer = layer(&store, LONG);
    let birds = canaries(&layer, 4).await;
    let mut unhurt = 0;
    for at in 0..400 {
        proxy.plan(Fault::Cut(at));
        let mut loads = JoinSet::new();
        for (token, name) in birds.clone() {
            let layer = layer.clone();
            loads.spawn(async move { (canary(&layer, &token).await, name) });
        }
        while let Some(load) = loads.join_next().await {
            let (found, name) = load.unwrap();
            match found {
                Ok(found) => assert_eq!(found, name, "cut after {at} bytes"),
                Err(status) => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "cut after {at} bytes"),
            }
        }
        unhurt += usize::from(proxy.is_planned());
    }
    assert!(unhurt < 200, "most cuts met a reply: {unhurt} did not");
    for (token, name) in &birds {
        // What was planned last may still come.
        let found = canary(&layer, token).await;
        assert!(found.as_ref().is_ok_and(|found| found == name), "{name}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn row_of_replies_that_has_slipped_gives_nobody_anothers_session() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let layer = layer(&store(&proxy.url()).await, LONG);
    let birds = canaries(&layer, 4).await;
    let mut refused = 0;
    for round in 0..50 {
        for name in server.keys("session:*").await {
            // As if somebody had not taken the reply to a GET: who comes next gets it, and the one after that the next.
            let value: Vec<u8> = redis::from_redis_value(server.command(&[&b"GET"[..], &name]).await).unwrap();
            proxy.plan(Fault::Inject([format!("${}\r\n", value.len()).as_bytes(), &value, b"\r\n"].concat()));
            let mut loads = JoinSet::new();
            for (token, bird) in birds.clone() {
                let layer = layer.clone();
                loads.spawn(async move { (canary(&layer, &token).await, bird) });
            }
            while let Some(load) = loads.join_next().await {
                let (found, bird) = load.unwrap();
                match found {
                    Ok(found) => assert_eq!(found, bird, "round {round}"),
                    Err(status) => {
                        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(refused > 0, "rows have slipped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn request_cancelled_in_mid_command_a_thousand_times_gives_nobody_anothers_session() {
    let server = Server::start();
    let layer = layer(&store(&server.url()).await, LONG);
    let birds = canaries(&layer, 5).await;
    let (victim, _) = birds[0].clone();
    let ended = Arc::new(AtomicBool::new(false));
    let loads = Arc::new(AtomicUsize::new(0));
    let mut others = JoinSet::new();
    for (token, name) in &birds[1..] {
        let (token, name) = (token.clone(), name.clone());
        let (layer, ended, loads) = (layer.clone(), Arc::clone(&ended), Arc::clone(&loads));
        others.spawn(async move {
            while !ended.load(SeqCst) {
                assert_eq!(canary(&layer, &token).await, Ok(name.clone()));
                loads.fetch_add(1, SeqCst);
            }
        });
    }
    let (mut cancelled, mut round) = (0, 0_usize);
    while cancelled < 1_000 {
        round += 1;
        let wait = async {
            for _ in 0..round % 16 {
                tokio::task::yield_now().await;
            }
        };
        let request = respond(&layer, Some(&victim), move |session| async move {
            match round % 3 {
                0 => session.insert("round", round),
                1 => session.update("count", |count: Option<u64>| Some(count.unwrap_or(0) + 1)),
                _ => session.get::<String>("canary").map(drop),
            }
        });
        tokio::select! {
            biased;
            _ = request => {}
            () = wait => cancelled += 1,
        }
    }
    ended.store(true, SeqCst);
    while let Some(other) = others.join_next().await {
        other.unwrap();
    }
    assert!(loads.load(SeqCst) > 100, "the others were busy meanwhile: {loads:?}");
    assert_eq!(canary(&layer, &victim).await, Ok("bird-0".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn scripts_that_are_flushed_under_load_are_not_missed() {
    let server = Server::start();
    let layer = layer(&store(&server.url()).await, LONG);
    let token = begin(&layer, |session| session.insert("count", 0)).await;
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for _ in 0..3 {
        let (layer, token, ended) = (layer.clone(), token.clone(), Arc::clone(&ended));
        writers.spawn(async move {
            let mut written = 0;
            while !ended.load(SeqCst) {
                let count = |session: &Session| session.update("count", |count: Option<u64>| Some(count.unwrap() + 1));
                let answer = act(&layer, Some(&token), count).await;
                assert!(answer.leaves_cookie(), "{answer:?}");
                written += 1;
            }
            written
        });
    }
    for _ in 0..200 {
        server.command(&["SCRIPT", "FLUSH"]).await;
    }
    ended.store(true, SeqCst);
    let mut written = 0;
    while let Some(writer) = writers.join_next().await {
        written += writer.unwrap();
    }
    assert_eq!(values(&layer, &token).await, Some(json!({ "count": written })));
}
