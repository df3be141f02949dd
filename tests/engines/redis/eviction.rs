//! A server that evicts what it needs no room for any more, by its own judgement (promise 10).

use tower_session_layer::{ConfigError, RedisStore, StoreError};

use super::faults::layer;
use super::server::{Cluster, Server};
use crate::support::direct::{act, begin, values};
use crate::support::{HOUR, Log};

fn policy(error: &StoreError) -> Option<&str> {
    match error.get_ref()?.downcast_ref() {
        Some(ConfigError::RedisEviction(policy)) => Some(policy),
        _ => None,
    }
}

#[tokio::test]
async fn server_that_evicts_is_refused_unless_that_is_accepted() {
    let server = Server::start();
    for name in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl", "volatile-random"] {
        server.command(&["CONFIG", "SET", "maxmemory-policy", name]).await;
        let error = RedisStore::new(server.url()).await.unwrap_err();
        assert_eq!(policy(&error), Some(name));
        assert!(error.to_string().contains("noeviction"), "{error}");
        let connection = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        assert_eq!(policy(&RedisStore::new(connection).await.unwrap_err()), Some(name));
        RedisStore::builder(server.url()).insecure_eviction().build().await.unwrap();
    }
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    RedisStore::new(server.url()).await.unwrap();

    // A Cluster of its own, since its policy is that of all tests otherwise.
    let cluster = Cluster::start(0);
    let log = Log::capture();
    RedisStore::new(cluster.url()).await.unwrap();
    assert!(!log.take().contains("WARN"));
    cluster.nodes[1].command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    assert_eq!(policy(&RedisStore::new(cluster.url()).await.unwrap_err()), Some("allkeys-lru"), "one of the nodes");
}

#[tokio::test]
async fn server_that_does_not_tell_its_policy_is_warned_of() {
    let server = Server::start();
    server.command(&["ACL", "SETUSER", "web", "on", "nopass", "~*", "+@all", "-info"]).await;
    let log = Log::capture();
    RedisStore::new(format!("redis://web:x@127.0.0.1:{}", server.port)).await.unwrap();
    let said = log.take();
    let warnings: Vec<_> = said.lines().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("noeviction"), "{said}");
}

#[tokio::test]
async fn list_that_was_evicted_is_written_again_by_the_next_write() {
    let server = Server::with(&["--maxmemory-policy", "allkeys-lru"]);
    let store = RedisStore::builder(server.url()).insecure_eviction().build().await.unwrap();
    let layer = layer(&store, HOUR);
    let thief = begin(&layer, |session| session.sign_in("ada")).await;
    let evict = async || {
        let list = server.list(&["KEYS", "session:owner:*"]).await.remove(0);
        server.command(&["DEL", &list]).await;
    };
    evict().await;
    assert!(act(&layer, Some(&thief), |session| session.insert("a", 1)).await.leaves_cookie());
    assert_eq!(layer.owners().list("ada").await.unwrap().len(), 1);
    assert_eq!(layer.owners().revoke_all("ada").await.unwrap(), 1);
    assert_eq!(values(&layer, &thief).await, None);

    // One that the revocation missed ends with its next write.
    let thief = begin(&layer, |session| session.sign_in("ada")).await;
    evict().await;
    assert_eq!(layer.owners().revoke_all("ada").await.unwrap(), 0);
    let write = act(&layer, Some(&thief), |session| session.insert("a", 2)).await;
    assert_eq!(values(&layer, &thief).await, None, "{write:?}");
}
