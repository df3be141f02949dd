//! The store in SQLite.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use sqlx::Row as _;
use sqlx::SqlitePool as Pool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tempfile::TempDir;
use tower_session_layer::{Session, SessionLayer, SqliteStore};

use crate::support::direct::{act, begin, values};

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

#[tokio::test]
async fn writer_that_finds_the_database_locked_waits_and_then_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let other = open(directory.path(), Duration::from_secs(30)).await;
    let patient = SqliteStore::new(other.clone());
    let impatient = SqliteStore::new(open(directory.path(), Duration::from_millis(20)).await);
    patient.migrate().await.unwrap();
    patient.create(&token(1), &record(1), at(0)).await.unwrap();

    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = impatient.create(&token(2), &record(2), at(0)).await.unwrap_err();
    assert!(error.to_string().contains("kept the database locked for too long"), "{error}");
    assert!(matches!(impatient.load(&token(1), at(0)).await.unwrap(), Loaded::Live(_)), "a reader does not wait");
    let waiting = tokio::spawn(async move { patient.create(&token(2), &record(2), at(0)).await });
    // Time enough for one that does not wait.
    impatient.create(&token(3), &record(3), at(0)).await.unwrap_err();
    assert!(!waiting.is_finished());
    lock.rollback().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), Created::Stored);
    assert!(matches!(impatient.load(&token(2), at(0)).await.unwrap(), Loaded::Live(_)));
}

#[tokio::test]
async fn database_locked_by_another_process_is_503_until_it_lets_go() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::new(open(directory.path(), Duration::from_millis(20)).await);
    store.migrate().await.unwrap();
    let layer = SessionLayer::builder(store).cookie_name("sid").build().unwrap();
    let begun = begin(&layer, |session| session.insert("n", 1)).await;
    let write = || act(&layer, Some(&begun), |session: &Session| session.insert("n", 2));

    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "sql::sqlite::process_that_locks_the_database", "--nocapture"])
        .env(LOCKED, directory.path());
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "locked"));
    let answer = write().await;
    assert_eq!((answer.status, answer.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None));
    assert_eq!(values(&layer, &begun).await, Some(json!({ "n": 1 })), "reading goes on");
    drop(process.stdin.take());
    assert!(process.wait().unwrap().success());
    assert!(write().await.leaves_cookie());
    assert_eq!(values(&layer, &begun).await, Some(json!({ "n": 2 })));
}

const LOCKED: &str = "SESSIONS_TO_LOCK";

/// Does nothing unless it is started by the test above.
#[allow(clippy::print_stdout, reason = "that test listens")]
#[tokio::test]
async fn process_that_locks_the_database() {
    let Some(directory) = std::env::var_os(LOCKED) else { return };
    let pool = open(Path::new(&directory), Duration::from_secs(30)).await;
    let lock = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    println!("locked");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    lock.rollback().await.unwrap();
}

#[tokio::test]
async fn url_makes_a_file_in_wal_mode_that_another_store_finds() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("shop.db").display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    store.create(&token(1), &record(1), at(0)).await.unwrap();
    let pragma = async |name: &str| {
        let row = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA {name}"))).fetch_one(store.pool()).await.unwrap();
        row.try_get::<String, _>(0).unwrap_or_else(|_| row.get::<i64, _>(0).to_string())
    };
    assert_eq!(pragma("journal_mode").await, "wal");
    assert_eq!(pragma("busy_timeout").await, "4000");
    assert_eq!(pragma("synchronous").await, "2", "FULL: a power loss takes nothing back");
    let again = SqliteStore::connect(&url).await.unwrap();
    assert!(matches!(again.load(&token(1), at(0)).await.unwrap(), Loaded::Live(_)));
    let cases = ["postgres://localhost/db", "sqlite:/nowhere/at/all.db", "sqlite::memory:", "sqlite:x.db?mode=memory"];
    for wrong in cases {
        SqliteStore::connect(wrong).await.unwrap_err();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn files_that_a_url_makes_are_nobody_elses() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::connect(&format!("sqlite:{}/shop.db", directory.path().display())).await.unwrap();
    store.migrate().await.unwrap();
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().flatten().collect();
    assert_eq!(files.len(), 3, "database, log and index of the log");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", file.path().display());
    }
}
