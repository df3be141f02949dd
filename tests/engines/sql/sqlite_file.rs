//! The file of an SQLite database: read-only, moved away, replaced.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tempfile::TempDir;
use tower_session_layer::{Clock as _, ManualClock, Session, SessionLayer, SessionStore as _, SqliteStore};

use super::records::{at, token};
use crate::support::Log;
use crate::support::direct::{act, begin, values};

/// A store as a URL makes it, a layer on it, and the path of the database.
async fn store() -> (SqliteStore, SessionLayer, PathBuf, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.db");
    let store = SqliteStore::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    store.migrate().await.unwrap();
    let layer = SessionLayer::builder(store.clone()).cookie_name("sid").build().unwrap();
    (store, layer, path, directory)
}

/// Every kind of request fails, and leaves the cookie alone.
async fn all_unavailable(layer: &SessionLayer, begun: &str) {
    let requests: [(Option<&str>, fn(&Session) -> Result<(), tower_session_layer::Error>); 4] = [
        (Some(begun), |session| session.get::<u64>("n").map(drop)),
        (Some(begun), |session| session.insert("n", 2)),
        (Some(begun), Session::destroy),
        (None, |session| session.insert("n", 1)),
    ];
    for (token, request) in requests {
        let answer = act(layer, token, request).await;
        assert_eq!((answer.status, answer.set_cookies()), (StatusCode::SERVICE_UNAVAILABLE, Vec::new()));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn file_that_is_moved_away_is_missing_until_it_is_back() {
    let (store, layer, path, directory) = store().await;
    let begun = begin(&layer, |session| session.insert("n", 1)).await;
    let away = directory.path().join("away.db");
    fs::rename(&path, &away).unwrap();
    all_unavailable(&layer, &begun).await;
    let error = store.load(&token(1), at(0)).await.unwrap_err().to_string();
    assert!(error.contains("shop.db` was moved away or removed"), "{error}");
    assert!(!path.exists(), "nothing is made in its place");
    fs::rename(&away, &path).unwrap();
    assert_eq!(values(&layer, &begun).await, Some(json!({ "n": 1 })));
    assert!(act(&layer, Some(&begun), |session| session.insert("n", 2)).await.leaves_cookie());
}

#[cfg(unix)]
#[tokio::test]
async fn file_that_is_replaced_is_an_error_until_the_program_opens_it() {
    let (store, layer, path, directory) = store().await;
    let begun = begin(&layer, |session| session.insert("n", 1)).await;
    let backup = directory.path().join("backup.db");
    sqlx::query("VACUUM INTO ?").bind(backup.display().to_string()).execute(store.pool()).await.unwrap();
    let later = begin(&layer, |session| session.insert("n", 1)).await;
    fs::rename(&backup, &path).unwrap();
    all_unavailable(&layer, &begun).await;
    let error = store.sweep(1, at(0)).await.unwrap_err().to_string();
    assert!(error.contains("shop.db` was replaced while it was open: stop the program, remove"), "{error}");
    store.pool().close().await;
    for end in ["wal", "shm"] {
        fs::remove_file(path.with_extension(format!("db-{end}"))).unwrap();
    }
    let store = SqliteStore::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let layer = SessionLayer::builder(store).cookie_name("sid").build().unwrap();
    assert_eq!(values(&layer, &begun).await, Some(json!({ "n": 1 })));
    assert_eq!(values(&layer, &later).await, None, "the backup does not know it");
}

/// The file of a URI is known, too.
#[cfg(unix)]
#[tokio::test]
async fn file_of_a_uri_that_is_moved_away_is_missing() {
    for prefix in ["file:", "file://"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.db");
        fs::write(&path, "").unwrap();
        let options = SqliteConnectOptions::new().filename(format!("{prefix}{}?cache=private", path.display()));
        let store = SqliteStore::new(SqlitePool::connect_with(options.shared_cache(true)).await.unwrap());
        store.migrate().await.unwrap();
        fs::rename(&path, directory.path().join("away.db")).unwrap();
        let error = store.load(&token(1), at(0)).await.unwrap_err().to_string();
        assert!(error.contains("shop.db` was moved away or removed"), "{prefix}: {error}");
    }
}

/// Each connection resolves its path when it is opened, and the program may have changed its working directory.
#[tokio::test]
async fn relative_path_of_a_url_is_resolved_once() {
    let directory = tempfile::tempdir().unwrap();
    let here = std::env::current_dir().unwrap();
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = up.join(directory.path().strip_prefix("/").unwrap()).join("shop.db");
    let store = SqliteStore::connect(&format!("sqlite:{}", relative.display())).await.unwrap();
    assert!(directory.path().join("shop.db").exists());
    assert!(store.pool().connect_options().get_filename().is_absolute());
}

/// No file is at the path of a database in memory.
#[tokio::test]
async fn database_in_memory_has_no_file_to_look_for() {
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    let store = SqliteStore::new(pool);
    store.migrate().await.unwrap();
    let layer = SessionLayer::builder(store).cookie_name("sid").build().unwrap();
    let begun = begin(&layer, |session| session.insert("n", 1)).await;
    assert_eq!(values(&layer, &begun).await, Some(json!({ "n": 1 })));
}

#[tokio::test]
async fn read_only_database_knows_who_is_there_and_tells_others_that_it_is_read_only() {
    let (store, _, path, _directory) = store().await;
    let clock = ManualClock::default();
    let layer = |store| SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").build().unwrap();
    let writing = layer(store);
    let expired = begin(&writing, |session| session.sign_in("ada")).await;
    clock.advance(Duration::from_secs(6 * 24 * 60 * 60));
    let live = begin(&writing, |session| session.sign_in("ada")).await;
    clock.advance(Duration::from_secs(2 * 24 * 60 * 60));

    let read_only = SqliteConnectOptions::new().filename(&path).read_only(true);
    let asked_to_be = SqliteConnectOptions::new().filename(&path).pragma("query_only", "on");
    for options in [read_only, asked_to_be] {
        let store = SqliteStore::new(SqlitePool::connect_with(options).await.unwrap());
        let layer = layer(store.clone());
        let log = Log::capture();
        let answer = act(&layer, Some(&expired), |session| session.owner().is_none().to_string()).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "true"));
        let text = log.text();
        let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
        let is_told = |line: &str| line.contains("cannot be removed") && line.contains("the database is read-only");
        assert!(matches!(*warnings, [line] if is_told(line)), "{text}");
        assert_eq!(layer.owners().list("ada").await.unwrap().len(), 1);
        let answer = act(&layer, Some(&live), |session| session.owner().is_some().to_string()).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "true"));
        for token in [None, Some(&*live)] {
            let answer = act(&layer, token, |session| session.insert("n", 1)).await;
            assert_eq!((answer.status, answer.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None));
        }
        let error = store.sweep(1, clock.now()).await.unwrap_err().to_string();
        assert!(error.contains("the database is read-only"), "{error}");
    }
}
