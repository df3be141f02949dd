//! The store in MariaDB under load, with the server's own settings.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use sqlx::MySqlPool;
use tokio::task::JoinSet;
use tower_session_layer::{MySqlStore, Session, SessionLayer, SessionStore as _};

use super::mysql_server::Server;
use super::records::{at, record, token};
use crate::support::direct::{act, begin, values};

const CLIENTS: u64 = 64;
const ROUNDS: u64 = 12;
const OWNERS: u64 = 2;

#[derive(Default)]
struct Person {
    /// The tokens of sign-ins since the last revocation began, with the two counts when they began.
    signed_in: Mutex<Vec<(String, (u64, u64))>>,
    /// The revocations that have begun, and those that are done.
    revoking: AtomicU64,
    revoked: AtomicU64,
}

/// Whoever waits for the locks of others, or is their victim, is answered all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_at_once_are_all_answered_and_nothing_is_lost_or_back() {
    let server = Server::start();
    // The isolation level of the server, REPEATABLE READ.
    let store = MySqlStore::new(MySqlPool::connect(&server.url()).await.unwrap());
    store.migrate().await.unwrap();
    let layer = SessionLayer::builder(store.clone()).cookie_name("sid").store_timeout(Duration::from_secs(60));
    let layer = layer.build().unwrap();
    let mut shared = Vec::new();
    for _ in 0..8 {
        shared.push((begin(&layer, |session| session.insert("n", 0)).await, AtomicU64::new(0)));
    }
    let shared = Arc::new(shared);
    let people: Arc<Vec<Person>> = Arc::new((0..OWNERS).map(|_| Person::default()).collect());
    let is_over = Arc::new(AtomicBool::new(false));
    let sweeping = tokio::spawn({
        let (store, is_over) = (store.clone(), Arc::clone(&is_over));
        async move {
            let mut swept = 0;
            // Once more after the others.
            while !is_over.load(SeqCst) {
                swept += store.sweep(10, SystemTime::now()).await.unwrap();
            }
            swept + store.sweep(usize::MAX, SystemTime::now()).await.unwrap()
        }
    });
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (store, layer) = (store.clone(), layer.clone());
        let (shared, people) = (Arc::clone(&shared), Arc::clone(&people));
        clients.spawn(async move {
            let add = |session: &Session| session.update("n", |n: Option<u64>| Some(n.unwrap_or_default() + 1));
            let (own, owner) = (begin(&layer, |session| session.insert("n", 0)).await, client % OWNERS);
            for round in 0..ROUNDS {
                let (token_of_all, count) = &shared[usize::try_from((client + round) % 8).unwrap()];
                assert_eq!(act(&layer, Some(token_of_all), add).await.status, StatusCode::OK);
                count.fetch_add(1, SeqCst);
                assert_eq!(act(&layer, Some(&own), add).await.status, StatusCode::OK);
                let sign_in = move |session: &Session| session.sign_in(&format!("owner {owner}"));
                let person = &people[usize::try_from(owner).unwrap()];
                let before = (person.revoked.load(SeqCst), person.revoking.load(SeqCst));
                match act(&layer, None, sign_in).await.token() {
                    Some(begun) => {
                        person.signed_in.lock().unwrap().push((begun.clone(), before));
                        // A revocation may end it at the same time.
                        assert_eq!(act(&layer, Some(&begun), add).await.status, StatusCode::OK);
                    }
                    None => assert!(before.0 < person.revoking.load(SeqCst), "only a revocation refuses a sign-in"),
                }
                // It has expired long ago.
                let n = client * ROUNDS + round + 1;
                store.create(&token(n), &record(n), at(0)).await.unwrap();
                if (client + round) % 4 == 0 {
                    let before = std::mem::take(&mut *person.signed_in.lock().unwrap());
                    person.revoking.fetch_add(1, SeqCst);
                    layer.owners().revoke_all(&format!("owner {owner}")).await.unwrap();
                    person.revoked.fetch_add(1, SeqCst);
                    for (ended, _) in before {
                        assert_eq!(values(&layer, &ended).await, None, "it was revoked");
                    }
                }
            }
            assert_eq!(values(&layer, &own).await.unwrap()["n"], ROUNDS);
        });
    }
    clients.join_all().await;
    is_over.store(true, SeqCst);
    assert_eq!(u64::try_from(sweeping.await.unwrap()).unwrap(), CLIENTS * ROUNDS, "each once");
    for (token, count) in &*shared {
        assert_eq!(values(&layer, token).await.unwrap()["n"], count.load(SeqCst));
    }
    for person in &*people {
        let last = person.revoked.load(SeqCst);
        let signed_in = std::mem::take(&mut *person.signed_in.lock().unwrap());
        for (token, before) in signed_in {
            let is_after_all = before == (last, last);
            assert!(!is_after_all || values(&layer, &token).await.is_some(), "nobody revoked it");
        }
    }
}
