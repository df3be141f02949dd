//! The store in SQLite.

#[macro_use]
mod rules;
mod records;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool as Pool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tempfile::TempDir;
use tower_session_layer::SqliteStore;

/// A pool as `connect` makes it, but nothing is synced, and whoever waits waits for long.
async fn open(directory: &Path, busy_timeout: Duration) -> Pool {
    let options = SqliteConnectOptions::new()
        .filename(directory.join("sessions.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off)
        .busy_timeout(busy_timeout);
    SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap()
}

async fn database() -> (Pool, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (open(directory.path(), Duration::from_secs(30)).await, directory)
}

sql_rules!(SqliteStore, database().await, "?");
