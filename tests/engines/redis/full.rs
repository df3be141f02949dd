//! A server without room (promises 8, 10, 17).

use tower_session_layer::store::{Revocation, Revoke};
use tower_session_layer::{RedisStore, SessionLayer, SessionStore as _};

use super::faults::{layer, store};
use super::server::Server;
use crate::support::direct::{act, begin, values};
use crate::support::{HOUR, Log, MINUTE};

/// Takes all the room that there is.
async fn fill(server: &Server) {
    // Below what the server takes by itself.
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
}

async fn is_full(layer: &SessionLayer) {
    let refused = act(layer, None, |session| session.sign_in("eve")).await;
    assert_eq!((refused.status.as_u16(), refused.set_cookie()), (503, None), "nothing is written any more");
}

#[tokio::test]
async fn full_server_ends_sessions_and_revokes_them() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let layer = layer(&store(&server.url()).await, HOUR);
    let copy = begin(&layer, |session| session.sign_in("ada")).await;
    let mut others = Vec::new();
    for _ in 0..200 {
        others.push(begin(&layer, |session| session.sign_in("ada")).await);
    }
    let anonymous = begin(&layer, |session| session.insert("a", 1)).await;
    fill(&server).await;
    is_full(&layer).await;

    for token in [&copy, &anonymous] {
        let ended = act(&layer, Some(token), |session| session.destroy()).await;
        assert!(ended.status.is_success() && ended.removes_cookie(), "{ended:?}");
        assert_eq!(values(&layer, token).await, None, "a copy of the cookie");
    }
    let owners = layer.owners();
    let handle = owners.list("ada").await.unwrap()[0].handle;
    assert!(owners.revoke("ada", handle).await.unwrap());
    assert_eq!(owners.revoke_all("ada").await.unwrap(), 199);
    for token in &others {
        assert_eq!(values(&layer, token).await, None);
    }
    assert_eq!(server.keys("session:mark:*").await.len(), 1, "the mark takes the room that the sessions had");
    let stones = server.keys("session:*").await.len();
    assert_eq!(stones, 203, "and so do the tombstones");
    is_full(&layer).await;
}

/// A store that may not write values on this server, and a layer of it.
async fn without_set(server: &Server) -> RedisStore {
    server.command(&["ACL", "SETUSER", "poor", "on", "nopass", "~*", "+@all", "-set"]).await;
    RedisStore::new(format!("redis://poor:x@127.0.0.1:{}", server.port)).await.unwrap()
}

#[tokio::test]
async fn session_ends_without_a_tombstone_where_the_server_takes_none() {
    let server = Server::start();
    let rich = layer(&store(&server.url()).await, HOUR);
    let token = begin(&rich, |session| session.sign_in("ada")).await;
    let poor = layer(&without_set(&server).await, HOUR);
    let log = Log::capture();
    let ended = act(&poor, Some(&token), |session| session.destroy()).await;
    assert!(ended.status.is_success() && ended.removes_cookie(), "{ended:?}");
    let said = log.take();
    assert_eq!(said.lines().filter(|line| line.contains("WARN")).count(), 1, "{said}");
    assert!(said.contains("leaves no tombstone") && !said.contains(&token), "{said}");
    drop(log);
    assert_eq!(values(&rich, &token).await, None);
    assert!(server.keys("session:*").await.is_empty());
}

#[tokio::test]
async fn revocation_whose_mark_cannot_be_written_ends_the_sessions_and_is_an_error() {
    let server = Server::start();
    let rich = layer(&store(&server.url()).await, HOUR);
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(begin(&rich, |session| session.sign_in("ada")).await);
    }
    let poor = without_set(&server).await;
    assert!(layer(&poor, HOUR).owners().revoke_all("ada").await.is_err(), "a sign-in under way cannot be refused");
    for token in &tokens {
        assert_eq!(values(&rich, token).await, None);
    }
    // The choice of some needs no mark.
    let token = begin(&rich, |session| session.sign_in("ada")).await;
    let handle = rich.owners().list("ada").await.unwrap()[0].handle;
    let now = std::time::SystemTime::now();
    let these = Revocation::new(Revoke::These(vec![handle]), MINUTE);
    assert_eq!(poor.revoke("ada", &these, now).await.unwrap(), 1);
    assert_eq!(values(&rich, &token).await, None);
    assert!(matches!(poor.owned("ada", now).await.as_deref(), Ok([])));
}
