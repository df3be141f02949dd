//! A disk without room, or read-only, for tests: a directory in which the name `full` leads to something takes no new
//! file, and one with the name `read-only` takes none and loses none.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;

use super::{Durability, FileStore};
use crate::record::{Record, SessionHandle, Tombstone, TombstoneKind, Version};
use crate::store::{Change, Created, Deleted, Loaded, Revocation, Revoke, SessionStore as _, Updated};
use crate::token::{SessionToken, TokenScope};

pub(super) fn check(dir: impl AsFd) -> Result<(), Errno> {
    if statat(&dir, "full", AtFlags::empty()).is_ok() { Err(Errno::NOSPC) } else { check_writable(dir) }
}

pub(super) fn check_writable(dir: impl AsFd) -> Result<(), Errno> {
    if statat(dir, "read-only", AtFlags::empty()).is_ok() { Err(Errno::ROFS) } else { Ok(()) }
}

const MINUTE: Duration = Duration::from_secs(60);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 1_000_000 * MINUTE
}

fn token(n: u8) -> SessionToken {
    SessionToken::from_random([n; 24], TokenScope::of("sid"))
}

/// A session of Ada.
fn record(n: u8) -> Arc<Record> {
    let handle = SessionHandle::from_bytes([n; 16]);
    let deadline = crate::clock::micros(now() + 60 * MINUTE);
    Arc::new(Record {
        version: Version::new(1).unwrap(),
        handle,
        deadline,
        owner: Some("ada".into()),
        ..Record::blank()
    })
}

/// A store with these sessions of Ada.
async fn store(sessions: &[u8]) -> (tempfile::TempDir, FileStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::builder(dir.path()).durability(Durability::Process).build().unwrap();
    for n in sessions {
        let created = store.create(&token(*n), &record(*n), now()).await.unwrap();
        assert!(matches!(created, Created::SignedIn(_)), "{created:?}");
    }
    (dir, store)
}

fn path_of(dir: &Path, n: u8) -> PathBuf {
    let hex = token(n).key().hex();
    dir.join(&hex[..2]).join(&hex[2..])
}

/// The directory of the only owner.
fn owner(dir: &Path) -> PathBuf {
    let only = |path: PathBuf| path.read_dir().unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    only(only(dir.join("owners")).unwrap()).unwrap()
}

/// Lets a directory take no new file as long as there is something under this path.
fn fill(dir: &Path, path: &Path) {
    symlink(path, dir.join("full")).unwrap();
}

fn fill_shards(dir: &Path, sessions: &[u8]) {
    for n in sessions {
        fill(path_of(dir, *n).parent().unwrap(), dir);
    }
}

async fn revoke(store: &FileStore, which: Revoke) -> Result<usize, crate::error::StoreError> {
    store.revoke("ada", &Revocation::new(which, MINUTE), now()).await
}

fn handle(n: u8) -> SessionHandle {
    record(n).handle
}

#[tokio::test]
async fn a_full_disk_takes_no_session_and_keeps_those_that_it_has() {
    let (dir, store) = store(&[1]).await;
    fill_shards(dir.path(), &[1]);
    let Loaded::Live(standing) = store.load(&token(1), now()).await.unwrap() else { panic!("gone") };
    let next = Record { version: Version::new(2).unwrap(), ..(*standing).clone() };
    let change = Change::Replace(next.into(), crate::store::Deadline::Keep);
    assert!(store.update(&token(1), standing.version(), &change, now()).await.is_err());
    assert_eq!(store.load(&token(1), now()).await.unwrap(), Loaded::Live(standing));
    assert!(!path_of(dir.path(), 1).with_file_name("new").exists());
}

#[tokio::test]
async fn a_session_ends_without_a_tombstone_where_there_is_no_room_for_one() {
    let stone = Tombstone::new(TombstoneKind::Renewed, MINUTE, now());
    for step in ["delete", "retire", "revoke one", "revoke all"] {
        let (dir, store) = store(&[1, 2]).await;
        fill_shards(dir.path(), &[1]);
        match step {
            "delete" => {
                assert_eq!(store.delete(&token(1).key(), MINUTE, now()).await.unwrap(), Deleted::Done);
            }
            "retire" => {
                let (change, version) = (Change::Retire(stone.clone()), Version::new(1).unwrap());
                assert_eq!(store.update(&token(1), version, &change, now()).await.unwrap(), Updated::Done);
            }
            "revoke one" => assert_eq!(revoke(&store, Revoke::These(vec![handle(1)])).await.unwrap(), 1),
            _ => assert_eq!(revoke(&store, Revoke::All).await.unwrap(), 2),
        }
        assert_eq!(store.load(&token(1), now()).await.unwrap(), Loaded::Absent, "{step}");
        assert!(!path_of(dir.path(), 1).exists(), "{step}");
        let lives = matches!(store.load(&token(2), now()).await.unwrap(), Loaded::Live(_));
        assert_eq!(lives, step != "revoke all", "{step}");
        assert_eq!(store.owned("ada", now()).await.unwrap().len(), usize::from(lives), "{step}");
    }
}

#[tokio::test]
async fn a_revocation_without_room_for_its_mark_ends_the_sessions_and_tries_again() {
    let (dir, store) = store(&[1, 2, 3]).await;
    fill(&owner(dir.path()), &path_of(dir.path(), 3));
    fill_shards(dir.path(), &[1, 2, 3]);
    assert_eq!(revoke(&store, Revoke::Others(handle(1))).await.unwrap(), 2);
    assert!(owner(dir.path()).join("mark").exists(), "the sessions that are gone left room");
    for n in [2, 3] {
        assert_eq!(store.load(&token(n), now()).await.unwrap(), Loaded::Absent);
        assert_eq!(store.create(&token(n), &record(n), now()).await.unwrap(), Created::Revoked);
    }
    assert!(matches!(store.load(&token(1), now()).await.unwrap(), Loaded::Live(_)));
}

#[tokio::test]
async fn a_revocation_that_leaves_no_mark_ends_the_sessions_and_is_an_error() {
    let (dir, store) = store(&[1, 2]).await;
    fill(&owner(dir.path()), dir.path());
    let error = revoke(&store, Revoke::All).await.unwrap_err();
    assert!(std::error::Error::source(&error).is_some() || error.to_string().contains("os error 28"), "{error:?}");
    for n in [1, 2] {
        assert!(matches!(store.load(&token(n), now()).await.unwrap(), Loaded::Tombstone(_)), "{n}");
    }
    assert!(!owner(dir.path()).join("mark").exists());
}

#[tokio::test]
async fn a_read_only_store_reads_the_expired_as_absent_and_the_rest_as_ever() {
    let (dir, store) = store(&[1, 2, 3]).await;
    let later = now() + 30 * MINUTE;
    let moved = store.touch(&token(1), Version::new(1).unwrap(), later + 60 * MINUTE, now()).await.unwrap();
    assert_eq!(moved, Updated::Done);
    assert_eq!(store.delete(&token(3).key(), MINUTE, now()).await.unwrap(), Deleted::Done);
    for n in 1..=3 {
        fs::write(path_of(dir.path(), n).with_file_name("read-only"), "").unwrap();
    }
    fs::write(owner(dir.path()).join("read-only"), "").unwrap();
    let late = now() + 60 * MINUTE;
    for _ in 0..2 {
        for expired in [2, 3] {
            assert_eq!(store.load(&token(expired), late).await.unwrap(), Loaded::Absent);
            assert!(path_of(dir.path(), expired).exists(), "it waits for the sweep");
        }
        assert!(matches!(store.load(&token(1), late).await.unwrap(), Loaded::Live(_)));
        let listed: Vec<_> = store.owned("ada", late).await.unwrap().iter().map(|one| one.handle).collect();
        assert_eq!(listed, [handle(1)]);
    }
    let change = Change::Replace(record(1), crate::store::Deadline::Keep);
    assert_eq!(store.update(&token(2), Version::new(1).unwrap(), &change, late).await.unwrap(), Updated::Gone);
    assert_eq!(store.delete(&token(3).key(), MINUTE, late).await.unwrap(), Deleted::Absent);
    let refused = store.delete(&token(1).key(), MINUTE, late).await.unwrap_err();
    assert!(refused.to_string().contains("ead-only"), "{refused}");
    assert!(store.create(&token(2), &record(2), late).await.is_err(), "an expired file stands under the name");
    assert!(revoke(&store, Revoke::All).await.is_err());
    assert!(store.sweep(100, late).await.is_err());
    assert!(matches!(store.load(&token(1), late).await.unwrap(), Loaded::Live(_)));
}
