//! The log of the file store. The test is alone in its process, which decides as a whole whether an event is wanted.
#![cfg(unix)]

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tower_session_layer::store::Loaded;
use tower_session_layer::{FileStore, SessionStore, SessionToken};

#[tokio::test]
async fn what_cannot_be_read_is_warned_of_by_eight_digits() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::new(dir.path()).unwrap();
    let token = SessionToken::from_random([1; 24]);
    let key = token.key().hex();
    let shard = dir.path().join(&key[..2]);
    std::fs::create_dir(&shard).unwrap();
    std::fs::write(shard.join(&key[2..]), "secret ".repeat(20)).unwrap();
    assert_eq!(store.load(&token, SystemTime::now()).await.unwrap(), Loaded::Absent);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("WARN") && log.contains(&key[..8]) && !log.contains(&key[..9]), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
