//! Who signed in first, whom a revocation reaches, and whom the limit leaves (promises 10, 14, 22, 27).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tower_session_layer::store::{Created, Deleted, Loaded, Revocation, Revoke, TombstoneKind};
use tower_session_layer::{RedisStore, SessionHandle, SessionStore as _, SessionToken};

use super::faults::{layer, store};
use super::keys::{an_hour_later, name};
use super::server::{Cluster, Server};
use crate::support::direct::{a_burst_leaves_five, act, ahead, begin, send, values};
use crate::support::record::record;
use crate::support::{DAY, HOUR, MINUTE, scope};

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn burst_of_sign_ins_leaves_as_many_sessions_as_the_limit_allows() {
    let server = Server::start();
    a_burst_leaves_five(store(&server.url()).await, 300).await;
}

async fn revocation_reaches_more_sessions_than_a_page_has(store: RedisStore) {
    let layer = layer(&store, HOUR);
    let mut sign_ins = JoinSet::new();
    for _ in 0..1_100 {
        let layer = layer.clone();
        sign_ins.spawn(async move { begin(&layer, |session| session.sign_in("ada")).await });
    }
    let tokens = sign_ins.join_all().await;
    let (owners, keeper) = (layer.owners(), tokens[700].clone());
    assert_eq!(owners.count("ada").await.unwrap(), 1_100);
    let kept = act(&layer, Some(&keeper), |session| format!("{:?}", session.handle().unwrap())).await.body;
    let listed: Vec<_> = owners.list("ada").await.unwrap().into_iter().map(|session| session.handle).collect();
    assert_eq!(listed.len(), 1_100);
    let some: Vec<_> = listed.into_iter().filter(|handle| format!("{handle:?}") != kept).step_by(100).collect();
    let these = Revocation::new(Revoke::These(some), MINUTE);
    assert_eq!(store.revoke("bob", &these, SystemTime::now()).await.unwrap(), 0, "they are not his");
    assert_eq!(store.revoke("ada", &these, SystemTime::now()).await.unwrap(), 11);
    let left = owners.list("ada").await.unwrap().len();
    let others = owners.clone();
    let ended =
        send(
            &layer,
            Some(&keeper),
            move |session| async move { others.revoke_others(&session).await.unwrap().to_string() },
        );
    let ended: usize = ended.await.body.parse().unwrap();
    assert_eq!(ended + 1, left, "all but the own one");
    assert_eq!(owners.revoke_all("ada").await.unwrap(), left - ended);
    for token in &tokens {
        assert_eq!(values(&layer, token).await, None);
    }
    assert_eq!(owners.count("ada").await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revocation_reaches_more_sessions_than_are_read_at_once() {
    let server = Server::start();
    revocation_reaches_more_sessions_than_a_page_has(store(&server.url()).await).await;
    let cluster = Cluster::shared();
    let store = RedisStore::builder(cluster.url()).prefix("many:").response_timeout(HOUR).build().await.unwrap();
    revocation_reaches_more_sessions_than_a_page_has(store).await;
}

#[tokio::test]
async fn host_whose_clock_is_ahead_locks_nobody_out_and_comes_first_no_longer() {
    let server = Server::start();
    let store = store(&server.url()).await;
    let (wrong, right) = (ahead(&store, YEAR), layer(&store, HOUR));
    begin(&wrong, |session| session.sign_in("ada")).await;
    assert_eq!(wrong.owners().revoke_all("ada").await.unwrap(), 1);

    let early = begin(&wrong, |session| session.sign_in("ada")).await;
    let late = begin(&right, |session| session.sign_in("ada")).await;
    assert!(values(&right, &late).await.is_some() && values(&wrong, &early).await.is_some());
    let listed = right.owners().list("ada").await.unwrap();
    let soon = SystemTime::now() + HOUR;
    let ahead: Vec<_> = listed.iter().map(|session| session.signed_in.unwrap() > soon).collect();
    assert_eq!(ahead, [false, true], "the last to sign in is first, and each host shows its own time");
    assert!(listed[0].sign_in > listed[1].sign_in);
}

#[tokio::test]
async fn sign_in_under_way_on_a_host_that_is_ahead_does_not_outlive_a_revocation() {
    let server = Server::start();
    let store = store(&server.url()).await;
    let (owners, fast) = (layer(&store, HOUR).owners(), ahead(&store, Duration::from_secs(2)));
    let answer = send(&fast, None, move |session| async move {
        session.sign_in("ada").unwrap();
        owners.revoke_all("ada").await.unwrap().to_string()
    });
    assert_eq!(answer.await.token(), None);
    assert_eq!(layer(&store, HOUR).owners().list("ada").await.unwrap().len(), 0);
}

#[tokio::test]
async fn sign_in_that_cannot_enter_its_owners_list_leaves_no_session() {
    let server = Server::start();
    server.command(&["ACL", "SETUSER", "default", "-zadd"]).await;
    let (store, now) = (store(&server.url()).await, SystemTime::now());
    let token = SessionToken::from_random([1; 24], scope());
    let signed_in = Arc::new(record(7, Some("ada"), "1", (now, now + HOUR)));
    store.create(&token, &signed_in, now).await.unwrap_err();
    assert_eq!(store.load(&token, now).await.unwrap(), Loaded::Absent, "no revocation would find it");
    // As a session that moves here, which has a moment.
    let moved = Arc::new(signed_in.with_sign_in(17));
    store.create(&token, &moved, now).await.unwrap_err();
    assert_eq!(store.load(&token, now).await.unwrap(), Loaded::Absent);
}

#[tokio::test]
async fn session_that_is_listed_and_not_there_yet_stays_listed_for_an_hour_and_is_revoked() {
    let server = Server::start();
    let store = RedisStore::builder(server.url()).build().await.unwrap();
    let (now, all) = (SystemTime::now(), Revocation::new(Revoke::All, MINUTE));
    let tokens = [1, 2].map(|byte| SessionToken::from_random([byte; 24], scope()));
    let moved = |moment| Arc::new(record(7, Some("ada"), "1", (now, now + DAY)).with_sign_in(moment));
    // Cut off between the list and the record.
    server.command(&["ACL", "SETUSER", "default", "-set"]).await;
    for token in &tokens {
        store.create(token, &moved(17), now).await.unwrap_err();
    }
    server.command(&["ACL", "SETUSER", "default", "+set"]).await;
    assert!(store.owned("ada", now).await.unwrap().is_empty());
    assert_eq!(store.count(Some("ada"), now).await.unwrap(), 2, "the records may be on their way");

    let these = Revocation::new(Revoke::These(vec![SessionHandle::from_bytes([8; 16])]), MINUTE);
    assert_eq!(store.revoke("ada", &these, now).await.unwrap(), 0);
    for token in &tokens {
        let Loaded::Tombstone(stone) = store.load(token, now).await.unwrap() else { panic!("it cannot come any more") };
        assert_eq!(stone.kind(), TombstoneKind::Revoked);
        assert_eq!(store.create(token, &moved(18), now).await.unwrap(), Created::Taken);
    }
    assert_eq!(store.revoke("ada", &all, now).await.unwrap(), 0);
    assert_eq!(store.create(&tokens[0], &moved(17), now).await.unwrap(), Created::Revoked);
    assert_eq!(store.count(Some("ada"), now).await.unwrap(), 0);

    // Nothing comes of it any more, after an hour.
    let late = SessionToken::from_random([3; 24], scope());
    let signed_in = moved(u64::MAX >> 12);
    assert!(matches!(store.create(&late, &signed_in, now).await.unwrap(), Created::SignedIn(_)));
    server.command(&[&b"DEL"[..], &name(&late)]).await;
    assert!(store.owned("ada", now).await.unwrap().is_empty());
    assert_eq!(store.count(Some("ada"), now).await.unwrap(), 1);
    an_hour_later(&server).await;
    assert!(store.owned("ada", now).await.unwrap().is_empty());
    assert_eq!(store.count(Some("ada"), now).await.unwrap(), 0);
}

#[tokio::test]
async fn record_that_is_created_again_is_ours_only_if_it_is_this_record() {
    let server = Server::start();
    let (store, now) = (store(&server.url()).await, SystemTime::now());
    for owner in [None, Some("ada")] {
        let token = SessionToken::from_random([u8::from(owner.is_some()); 24], scope());
        let parent = Arc::new(record(7, owner, "\"parent\"", (now, now + HOUR)));
        let first = store.create(&token, &parent, now).await.unwrap();
        assert!(matches!((&first, owner), (Created::Stored, None) | (Created::SignedIn(_), Some(_))), "{first:?}");
        store.touch(&token, parent.version(), now + 2 * HOUR, now + MINUTE).await.unwrap();
        assert_eq!(store.create(&token, &parent, now).await.unwrap(), first, "the same moment");
        for json in ["\"child_\"", "\"a child\""] {
            let child = Arc::new(record(7, owner, json, (now, now + HOUR)));
            assert_eq!(store.create(&token, &child, now).await.unwrap(), Created::Taken);
        }
        let other = Some("eve").filter(|_| owner.is_some());
        if other.is_some() {
            let child = Arc::new(record(7, other, "\"parent\"", (now, now + HOUR)));
            assert_eq!(store.create(&token, &child, now).await.unwrap(), Created::Taken);
            assert_eq!(store.count(other, now).await.unwrap(), 0, "and leaves no trace");
        }
        let Loaded::Live(standing) = store.load(&token, now).await.unwrap() else { panic!("it lives") };
        assert_eq!(standing.encode(), parent.encode());
        assert_eq!(store.delete(&token.key(), MINUTE, now).await.unwrap(), Deleted::Done);
    }
}

#[tokio::test]
async fn session_that_signs_in_while_a_revocation_goes_on_stays() {
    let server = Server::start();
    let (store, now) = (store(&server.url()).await, SystemTime::now());
    let layer = layer(&store, HOUR);
    for _ in 0..600 {
        begin(&layer, |session| session.sign_in("ada")).await;
    }
    let (begun, has_begun) = oneshot::channel();
    let revoking = tokio::spawn({
        let store = store.clone();
        async move {
            let all = Revocation::new(Revoke::All, MINUTE);
            begun.send(()).unwrap();
            store.revoke("ada", &all, now).await.unwrap()
        }
    });
    has_begun.await.unwrap();
    let mark = "session:mark:*";
    while server.keys(mark).await.is_empty() {}
    // By hand, since the layer's sign-in would count as begun before the revocation if that had not been seen.
    let token = SessionToken::from_random([9; 24], scope());
    let later = Arc::new(record(7, Some("ada"), "1", (now, now + HOUR)).with_sign_in(u64::MAX >> 12));
    assert!(matches!(store.create(&token, &later, now).await.unwrap(), Created::SignedIn(_)));
    assert_eq!(revoking.await.unwrap(), 600);
    assert!(matches!(store.load(&token, now).await.unwrap(), Loaded::Live(_)));
}
