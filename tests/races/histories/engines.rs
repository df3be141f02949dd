//! The stores on engines, on servers that the tests start. Their answers come when they come, so a seed is a similar
//! history each time and no more.

#![allow(dead_code, unreachable_pub, clippy::pedantic, reason = "what starts the servers is also for other tests")]

#[cfg(feature = "mysql")]
#[path = "../../engines/sql/mysql_server.rs"]
mod mysql_server;
#[cfg(feature = "postgres")]
#[path = "../../engines/sql/postgres_server.rs"]
mod postgres_server;
#[cfg(any(feature = "postgres", feature = "mysql"))]
#[path = "../../engines/sql/process.rs"]
mod process;
#[cfg(feature = "redis")]
#[path = "../../engines/redis/server.rs"]
mod redis_server;

use tower_session_layer::SessionStore;

use super::{Subject, histories};

const SHARE: u64 = 10;

async fn explained(what: &str, store: impl SessionStore + Clone) {
    histories(what, SHARE, async || Subject { store: store.clone(), is_immediate: false, is_conducted: false }).await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn histories_in_redis_are_explained() {
    let server = redis_server::Server::start();
    explained("Redis", tower_session_layer::RedisStore::builder(server.url()).build().await.unwrap()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn histories_in_postgres_are_explained() {
    let server = postgres_server::Server::start();
    let store = tower_session_layer::PostgresStore::new(server.pool_with(|options| options).await);
    store.migrate().await.unwrap();
    explained("PostgreSQL", store).await;
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn histories_in_mariadb_are_explained() {
    let server = mysql_server::Server::start();
    let store = tower_session_layer::MySqlStore::new(server.pool_with(|options| options).await);
    store.migrate().await.unwrap();
    explained("MariaDB", store).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn histories_in_sqlite_are_explained() {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(directory.path().join("sessions.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // Nobody takes the machine's power away.
        .synchronous(SqliteSynchronous::Off)
        .busy_timeout(std::time::Duration::from_secs(30));
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    let store = tower_session_layer::SqliteStore::new(pool);
    store.migrate().await.unwrap();
    explained("SQLite", store).await;
}
