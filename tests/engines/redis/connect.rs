//! Where a store's connection comes from, and what is said where it cannot be had.

use std::time::Duration;

use redis::Client;
use tokio::io::AsyncWriteExt as _;
use tower_session_layer::{ConfigError, MemoryStore, RedisSource, RedisStore, SessionLayer, StoreError};

use super::server::{Cluster, Server};
use crate::support::HOUR;
use crate::support::direct::{act, begin, everybody_moves, no_more_than_two, values};

const SECRET: &str = "correct-horse-battery";

pub async fn works(store: RedisStore) {
    let layer = SessionLayer::builder(store).cookie_name("sid").store_timeout(HOUR).build().unwrap();
    let token = begin(&layer, |session| session.insert("a", 1)).await;
    assert!(act(&layer, Some(&token), |session| session.insert("a", 2)).await.leaves_cookie());
    let owned = act(&layer, Some(&token), |session| session.sign_in("ada")).await.token().unwrap();
    assert_eq!(values(&layer, &owned).await.unwrap()["a"], 2);
    let owners = layer.owners();
    assert_eq!(owners.list("ada").await.unwrap().len(), 1);
    assert_eq!(owners.revoke_all("ada").await.unwrap(), 1);
    assert_eq!(values(&layer, &owned).await, None);
    assert!(act(&layer, None, |session| session.sign_in("ada")).await.token().is_some(), "the mark is of before");
    assert_eq!(owners.revoke_all("ada").await.unwrap(), 1);
}

#[tokio::test]
async fn owner_has_no_more_sessions_than_the_layer_allows() {
    let server = Server::start();
    no_more_than_two(RedisStore::new(server.url()).await.unwrap()).await;
    let cluster = Cluster::shared();
    no_more_than_two(RedisStore::builder(cluster.url()).prefix("limit:").build().await.unwrap()).await;
}

#[tokio::test]
async fn sessions_move_here_from_another_store() {
    let server = Server::start();
    let here = RedisStore::new(server.url()).await.unwrap();
    everybody_moves(MemoryStore::new(), here.clone()).await;
    everybody_moves(here, RedisStore::builder(server.url()).prefix("other:").build().await.unwrap()).await;
}

fn is_clear(error: &StoreError, says: &str) {
    let said = error.to_string();
    assert!(said.contains(says), "{said}");
    assert!(!said.contains('\n') && !said.contains(SECRET) && !format!("{error:?}").contains(SECRET), "{error:?}");
}

#[tokio::test]
async fn server_that_is_not_there_or_refuses_is_a_clear_error() {
    let server = Server::with(&["--requirepass", SECRET]);
    let place = format!("127.0.0.1:{}", server.port);
    for (url, says) in [
        (format!("redis://{place}"), "asks for a password"),
        (format!("redis://:not-{SECRET}@{place}"), "refused the user or the password"),
        (format!("redis://nobody:{SECRET}@{place}"), "refused the user or the password"),
        (format!("rediss://:{SECRET}@{}", speaks_no_tls().await), "cannot be reached"),
        (format!("redis+cluster://:not-{SECRET}@{place}"), "refused the user or the password"),
        (format!("redis+cluster://:{SECRET}@{place}"), &place),
        (format!("redis://:{SECRET}@127.0.0.1:1"), "127.0.0.1:1"),
        (format!("redis+cluster://:{SECRET}@127.0.0.1:1,127.0.0.1:2"), "127.0.0.1:1,127.0.0.1:2"),
        (format!("redis+unix:///nowhere.sock?pass={SECRET}"), "/nowhere.sock"),
        (format!("redis://:{SECRET}@{place}/99"), &place),
    ] {
        let builder = RedisStore::builder(url.as_str()).connect_timeout(Duration::from_secs(5));
        assert!(!format!("{builder:?}").contains(SECRET), "{builder:?}");
        is_clear(&builder.build().await.expect_err(&url), says);
    }
    let url = format!("redis://:{SECRET}@{place}");
    let store = RedisStore::builder(url.as_str()).prefix("shop:").build().await.unwrap();
    assert_eq!(format!("{store:?}"), format!("RedisStore {{ place: {place:?}, prefix: \"shop:\", .. }}"));
    works(store).await;
    assert!(server_keys(&url).await > 0);
}

/// The address of a server that answers in plain text.
async fn speaks_no_tls() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"-ERR what is this?\r\n").await.unwrap();
        }
    });
    address
}

async fn server_keys(url: &str) -> usize {
    let mut connection = Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("shop:*").query_async(&mut connection).await.unwrap();
    keys.len()
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_anything_is_connected() {
    let source = |error: StoreError| {
        let source = error.get_ref().and_then(|inner| inner.downcast_ref::<ConfigError>());
        source.cloned().unwrap_or_else(|| panic!("no ConfigError: {error:?}"))
    };
    let nowhere = || RedisStore::builder("redis://127.0.0.1:1");
    let long = "a".repeat(65);
    for prefix in ["", "a b", "{a}", "a*", "ä", "a\n", &long] {
        let error = nowhere().prefix(prefix).build().await.unwrap_err();
        assert!(!error.to_string().contains('\n'));
        assert_eq!(source(error), ConfigError::KeyPrefix(prefix.to_owned()));
    }
    let error = nowhere().connect_timeout(Duration::ZERO).build().await.unwrap_err();
    assert_eq!(source(error), ConfigError::ZeroBound("connect_timeout"));
    let error = nowhere().response_timeout(Duration::ZERO).build().await.unwrap_err();
    assert_eq!(source(error), ConfigError::ZeroBound("response_timeout"));
    for url in ["http://localhost", "localhost", "redis+cluster://", "redis+cluster://a,,b", "redis://"] {
        let error = RedisStore::new(url).await.unwrap_err();
        assert!(matches!(source(error), ConfigError::RedisUrl(_)), "{url}");
    }
    let nodes: [&str; 0] = [];
    assert!(matches!(source(RedisStore::new(nodes).await.unwrap_err()), ConfigError::RedisUrl(_)));
    let source = RedisSource::from(format!("redis://:{SECRET}@localhost"));
    assert!(!format!("{source:?}").contains(SECRET));
}

#[tokio::test]
async fn server_is_reached_by_socket_user_and_database() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let server = Server::with(&["--unixsocket", socket]);
    works(RedisStore::new(format!("redis+unix://{socket}")).await.unwrap()).await;
    works(RedisStore::new(format!("{}/?protocol=resp3", server.url())).await.unwrap()).await;
    let before = server.number(&["DBSIZE"]).await;
    // What the docs say the user needs.
    let rules = "on >PASSWORD ~session:* +get +mget +set +getrange +setrange +del +pexpire +pttl +time +zadd +zrange +zrem \
                 +zcard +zcount +zscore +eval +evalsha +ping +info";
    let rules = rules.replace("PASSWORD", SECRET);
    server.command(&[&["ACL", "SETUSER", "web"], &rules.split(' ').collect::<Vec<_>>()[..]].concat()).await;
    server.command(&["ACL", "SETUSER", "web", "+select"]).await;
    works(RedisStore::new(format!("redis://web:{SECRET}@127.0.0.1:{}/3", server.port)).await.unwrap()).await;
    assert_eq!(server.number(&["DBSIZE"]).await, before, "the last one is in another database");
}

#[tokio::test]
async fn connection_of_the_program_is_shared() {
    let server = Server::start();
    let client = Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    works(RedisStore::new(connection.clone()).await.unwrap()).await;
    let manager = redis::aio::ConnectionManager::new(client).await.unwrap();
    works(RedisStore::new(manager).await.unwrap()).await;

    let cluster = Cluster::shared();
    let nodes = cluster.nodes.iter().map(Server::url).collect::<Vec<_>>();
    works(RedisStore::new(nodes.clone()).await.unwrap()).await;
    let client = redis::cluster::ClusterClient::new(nodes).unwrap();
    works(RedisStore::new(client.get_async_connection().await.unwrap()).await.unwrap()).await;
}

#[tokio::test]
async fn manager_of_the_program_finds_a_server_that_has_come_back() {
    let server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let client = Client::open(server.url()).unwrap();
    let store = RedisStore::new(redis::aio::ConnectionManager::new(client).await.unwrap()).await.unwrap();
    let layer = SessionLayer::builder(store).cookie_name("sid").store_timeout(HOUR).build().unwrap();
    let token = begin(&layer, |session| session.insert("a", 1)).await;
    server.kill();
    server.restart();
    assert_eq!(values(&layer, &token).await.unwrap()["a"], 1);
}
