//! What the file store says in the log.

use crate::support::scope;
use std::os::unix::fs::PermissionsExt as _;
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
    let file = shard.join(&key[2..]);
    std::fs::write(&file, "secret ".repeat(20)).unwrap();
    assert_eq!(store.load(&token, SystemTime::now()).await.unwrap(), Loaded::Absent);
    let text = log.text();
    warned_once(&text, &key);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(store.load(&token, SystemTime::now()).await.unwrap(), Loaded::Absent);
    let more = log.text().split_off(text.len());
    warned_once(&more, &key);
    assert!(more.contains("another user can write to its file"), "{more}");
}

fn warned_once(log: &str, key: &str) {
    let told: Vec<_> =
        log.lines().filter(|line| ["INFO", "WARN", "ERROR"].iter().any(|level| line.contains(level))).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains("WARN") && told[0].contains(&key[..8]) && !log.contains(&key[..9]), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
