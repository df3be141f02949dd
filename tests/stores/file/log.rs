//! What the file store says in the log.

use crate::support::scope;
use std::time::SystemTime;

use crate::support::Log;
use tower_session_layer::store::Loaded;
use tower_session_layer::{FileStore, SessionStore, SessionToken};

#[tokio::test]
async fn what_cannot_be_read_is_warned_of_by_eight_digits() {
    let log = Log::capture();
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::new(dir.path()).unwrap();
    let token = SessionToken::from_random([1; 24], scope());
    let key = token.key().hex();
    let shard = dir.path().join(&key[..2]);
    std::fs::create_dir(&shard).unwrap();
    std::fs::write(shard.join(&key[2..]), "secret ".repeat(20)).unwrap();
    assert_eq!(store.load(&token, SystemTime::now()).await.unwrap(), Loaded::Absent);
    let log = log.text();
    let told: Vec<_> =
        log.lines().filter(|line| ["INFO", "WARN", "ERROR"].iter().any(|level| line.contains(level))).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("WARN") && told[0].contains(&key[..8]) && !log.contains(&key[..9]), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
