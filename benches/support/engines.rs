//! The engines that keep sessions. Each starts on its own port and in its own directory, and stops when it is dropped.
//!
//! PostgreSQL, MariaDB and SQLite sync each commit before they answer, which is their default. Redis keeps all in memory.

use std::path::PathBuf;

use sqlx::{MySqlPool, PgPool, SqlitePool};
use tempfile::TempDir;
use tower_session_layer::{FileStore, MemoryStore, MySqlStore, PostgresStore, RedisStore, SessionLayer, SqliteStore};

#[path = "../../tests/engines/sql/mysql_server.rs"]
mod mysql_server;
#[path = "../../tests/engines/sql/postgres_server.rs"]
mod postgres_server;
#[path = "../../tests/engines/sql/process.rs"]
mod process;
#[path = "../../tests/engines/redis/server.rs"]
mod redis_server;

/// A place for sessions, with its server if it has one.
pub enum Engine {
    Memory,
    File(TempDir),
    Sqlite(TempDir),
    Redis(redis_server::Server),
    Cluster(redis_server::Cluster),
    Postgres(postgres_server::Server),
    MySql(mysql_server::Server),
}

impl Engine {
    /// Starts the engine of this name.
    pub async fn start(name: &str) -> Self {
        match name {
            "memory" => Self::Memory,
            "file" => Self::File(directory()),
            "SQLite" => Self::Sqlite(directory()),
            "Redis" => Self::Redis(redis_server::Server::start()),
            "Redis Cluster of three" => Self::Cluster(redis_server::Cluster::start(0)),
            "PostgreSQL" => {
                let server = postgres_server::Server::start();
                let pool = PgPool::connect(&server.url()).await.expect("the server");
                // The tests' server syncs nothing.
                for statement in ["ALTER SYSTEM SET fsync = on", "SELECT pg_reload_conf()"] {
                    sqlx::raw_sql(statement).execute(&pool).await.expect("a superuser");
                }
                Self::Postgres(server)
            }
            "MariaDB" => {
                let server = mysql_server::Server::start();
                let pool = MySqlPool::connect(&server.url()).await.expect("the server");
                // The tests' server syncs once a second.
                let statement = "SET GLOBAL innodb_flush_log_at_trx_commit = 1";
                sqlx::raw_sql(statement).execute(&pool).await.expect("a superuser");
                Self::MySql(server)
            }
            _ => panic!("there is no engine {name}"),
        }
    }

    /// Returns the URL that opens a store.
    pub fn url(&self) -> String {
        match self {
            Self::Memory => "memory:".to_owned(),
            Self::File(directory) => format!("file:{}", directory.path().display()),
            Self::Sqlite(directory) => format!("sqlite:{}", directory.path().join("sessions.db").display()),
            Self::Redis(server) => server.url(),
            Self::Cluster(cluster) => cluster.url(),
            Self::Postgres(server) => server.url(),
            Self::MySql(server) => server.url(),
        }
    }

    /// Opens this crate's store with its defaults.
    pub async fn layer(&self) -> SessionLayer {
        match self {
            Self::Memory => SessionLayer::new(MemoryStore::new()),
            Self::File(directory) => SessionLayer::new(FileStore::new(directory.path()).expect("a directory")),
            Self::Sqlite(_) => {
                let store = SqliteStore::connect(&self.url()).await.expect("a file");
                store.migrate().await.expect("a table");
                SessionLayer::new(store)
            }
            Self::Redis(_) | Self::Cluster(_) => {
                SessionLayer::new(RedisStore::new(self.url()).await.expect("the server"))
            }
            Self::Postgres(_) => {
                let store = PostgresStore::connect(&self.url()).await.expect("the server");
                store.migrate().await.expect("a table");
                SessionLayer::new(store)
            }
            Self::MySql(_) => {
                let store = MySqlStore::connect(&self.url()).await.expect("the server");
                store.migrate().await.expect("a table");
                SessionLayer::new(store)
            }
        }
    }

    /// Returns the place of this crate's sessions: a file, a pattern of keys, or a table.
    pub fn place(&self) -> &'static str {
        match self {
            Self::Memory | Self::File(_) => "",
            Self::Sqlite(_) => "sessions.db",
            Self::Redis(_) | Self::Cluster(_) => "session:*",
            Self::Postgres(_) => "public.tower_session_layer",
            Self::MySql(_) => "shop/tower_session_layer",
        }
    }

    /// Returns the bytes of one of `sessions` sessions as the engine counts them, with its indexes and its share of
    /// half-full pages.
    pub async fn bytes_a_session(&self, place: &str, sessions: usize) -> Option<u64> {
        let all = match self {
            Self::Memory | Self::File(_) => return None,
            Self::Redis(server) => return Some(memory_usage(server, place).await.expect("a session")),
            Self::Cluster(cluster) => {
                for node in &cluster.nodes {
                    if let Some(bytes) = memory_usage(node, place).await {
                        return Some(bytes);
                    }
                }
                panic!("no node has a session");
            }
            Self::Sqlite(directory) => {
                let path: PathBuf = directory.path().join(place);
                let pool = SqlitePool::connect(&format!("sqlite:{}", path.display())).await.expect("a file");
                sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&pool).await.expect("a checkpoint");
                std::fs::metadata(path).expect("a file").len()
            }
            Self::Postgres(server) => {
                let pool = PgPool::connect(&server.url()).await.expect("the server");
                let size = sqlx::query_scalar("SELECT pg_total_relation_size($1::text::regclass)").bind(place);
                unsigned(size.fetch_one(&pool).await.expect("a table"))
            }
            Self::MySql(server) => {
                let pool = MySqlPool::connect(&server.url()).await.expect("the server");
                // The table's own figures lag behind; the size of its file does not.
                let statement = "SELECT CAST(SUM(file_size) AS SIGNED) FROM information_schema.innodb_sys_tablespaces \
                     WHERE name = ?";
                let size = sqlx::query_scalar(statement).bind(place);
                unsigned(size.fetch_one(&pool).await.expect("a table"))
            }
        };
        Some(all / sessions as u64)
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn unsigned(bytes: i64) -> u64 {
    bytes.try_into().expect("a size")
}

async fn memory_usage(server: &redis_server::Server, keys: &str) -> Option<u64> {
    let keys = server.keys(keys).await;
    Some(unsigned(server.number(&[&b"MEMORY"[..], b"USAGE", keys.first()?]).await))
}
