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
use tower_session_layer::{ManualClock, Sealed, Session, SessionLayer, SqliteStore};

use crate::support::direct::{act, begin, values};
use crate::support::dump;

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
order_rules!(SqliteStore, database().await);
token_rules!(SqliteStore, database().await);

// Promise 10. The log holds what the file held before, too.
#[tokio::test]
async fn no_old_token_opens_a_newer_one_in_the_file_and_its_log() {
    for is_sealed in [false, true] {
        let (pool, directory) = database().await;
        let store = SqliteStore::new(pool);
        store.migrate().await.unwrap();
        let clock = ManualClock::default();
        let layer = if is_sealed {
            tokens::renewing(Sealed::new(store).unwrap(), &clock)
        } else {
            tokens::renewing(store, &clock)
        };
        let tokens = dump::tokens(&layer, &clock, async || ()).await;
        dump::nothing_leads_on(&dump::files(directory.path()), &tokens, "SQLite");
    }
}

/// The columns beside a sealed body are bound in. The deadline, which a touch moves, is within the bound end.
#[tokio::test]
async fn sealed_session_whose_row_was_changed_does_not_open() {
    let (pool, _directory) = database().await;
    let store = SqliteStore::new(pool);
    store.migrate().await.unwrap();
    let sealed = Sealed::new(store.clone()).unwrap();
    let layer = SessionLayer::builder(sealed).clock(ManualClock::default()).cookie_name("sid").build().unwrap();
    for (column, to, opens) in [
        ("deadline", "deadline + 86400000000", true),
        ("deadline", "deadline + 30 * 86400000000", false),
        ("handle", "randomblob(16)", false),
        ("owner", "CAST('eve' AS BLOB)", false),
    ] {
        let token = begin(&layer, |session| session.sign_in("ada")).await;
        assert!(values(&layer, &token).await.is_some());
        let live = "version <> 0 AND seen IS NOT NULL";
        assert!(sql(&store, &format!("UPDATE tower_session_layer SET {column} = {to} WHERE {live}")).await > 0);
        assert_eq!(values(&layer, &token).await.is_some(), opens, "{column} = {to}");
    }
}

/// A statement that writes a mark does not see a sign-in whose own statement is not complete.
#[tokio::test]
async fn mark_is_later_than_a_session_that_it_was_written_without() {
    let (pool, _directory) = database().await;
    let store = SqliteStore::new(pool);
    store.migrate().await.unwrap();
    let kept = owned(1, Some("ada"));
    store.create(&token(1), &kept, at(0)).await.unwrap();
    let later = i64::MAX / 2;
    let trigger = format!(
        "CREATE TRIGGER meanwhile AFTER INSERT ON tower_session_layer WHEN NEW.version IS NULL BEGIN \
         UPDATE tower_session_layer SET sign_in = {later} WHERE version <> 0 AND seen IS NOT NULL; END"
    );
    sql(&store, &trigger).await;
    assert_eq!(store.revoke("ada", &Revocation::new(Revoke::All, MINUTE), at(1)).await.unwrap(), 1);
    let renewed = kept.with_sign_in(later.cast_unsigned()).into();
    assert_eq!(store.create(&token(2), &renewed, at(1)).await.unwrap(), Created::Revoked);
}

/// A revocation whose mark finds no room ends the sessions, which makes room, and is an error if that was not enough.
#[tokio::test]
async fn sessions_end_before_a_mark_that_cannot_be_written() {
    for (is_full, enough) in
        [("EXISTS (SELECT * FROM tower_session_layer WHERE version <> 0 AND seen IS NOT NULL)", true), ("1", false)]
    {
        let (pool, _directory) = database().await;
        let store = SqliteStore::new(pool);
        store.migrate().await.unwrap();
        let full = format!(
            "CREATE TRIGGER full BEFORE INSERT ON tower_session_layer WHEN NEW.version IS NULL AND {is_full} BEGIN \
             SELECT RAISE(ABORT, 'the disk is full'); END"
        );
        sql(&store, &full).await;
        let created = store.create(&token(1), &owned(1, Some("ada")), at(0)).await.unwrap();
        let revoked = store.revoke("ada", &Revocation::new(Revoke::All, MINUTE), at(1)).await;
        assert_eq!(
            revoked.map_err(|error| error.to_string().contains("the disk is full")),
            if enough { Ok(1) } else { Err(true) }
        );
        assert!(matches!(store.load(&token(1), at(1)).await.unwrap(), Loaded::Tombstone(_)));
        if let (true, Created::SignedIn(moment)) = (enough, created) {
            let renewed = owned(1, Some("ada")).with_sign_in(moment).into();
            assert_eq!(store.create(&token(2), &renewed, at(1)).await.unwrap(), Created::Revoked);
        }
    }
}

/// A database that may not grow is as full as a disk. A tombstone is shorter than a session, but its deadline may need a
/// page.
#[tokio::test]
async fn full_database_ends_sessions_without_tombstones_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(directory.path().join("sessions.db")).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).pragma("max_page_count", "60");
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let store = SqliteStore::new(pool);
    store.migrate().await.unwrap();
    let owner = |n: u64| n.is_multiple_of(2).then_some("ada");
    let mut stored = 0;
    while store.create(&token(stored), &owned(stored + 1, owner(stored)), at(0)).await.is_ok() {
        stored += 1;
    }
    assert!(stored > 300, "{stored}");
    let log = Log::capture();
    for n in (1..stored).step_by(2) {
        assert_eq!(store.delete(&token(n).key(), MINUTE, at(1)).await.unwrap(), Deleted::Done);
    }
    let text = log.text();
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("leaves no tombstone")).collect();
    let keys: Vec<_> = (1..stored).map(|n| token(n).key().hex()).collect();
    assert!(
        !warnings.is_empty() && warnings.iter().all(|line| keys.iter().any(|key| line.contains(&key[..8]))),
        "{text}"
    );
    let mut left = 0;
    for n in (1..stored).step_by(2) {
        left += usize::from(matches!(store.load(&token(n), at(1)).await.unwrap(), Loaded::Tombstone(_)));
    }
    assert_eq!(left + warnings.len(), usize::try_from(stored / 2).unwrap());
    let ended = store.revoke("ada", &Revocation::new(Revoke::All, MINUTE), at(1)).await.unwrap();
    assert_eq!(ended, usize::try_from(stored.div_ceil(2)).unwrap());
    assert_eq!(store.owned("ada", at(1)).await.unwrap(), []);
}

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
