//! A directory that is moved away, unmounted or replaced under the store.

use std::fs;
use std::path::Path;

use tower_session_layer::store::{Change, Deadline, Revocation, Revoke};
use tower_session_layer::{FileStore, Session, SessionLayer, SessionStore};

use super::support::*;
use crate::support::HOUR;
use crate::support::direct::{act, begin, values};

/// A store in the directory `sessions` below the temporary one, and a layer of it.
fn below(dir: &Path) -> (FileStore, SessionLayer) {
    let store = open(&dir.join("sessions"));
    let layer = SessionLayer::builder(store.clone()).cookie_name("sid").store_timeout(HOUR).build().unwrap();
    (store, layer)
}

async fn everything_is_an_error(store: &FileStore) {
    let key = token(1).key();
    let change = Change::Replace(record(2, "2"), Deadline::Keep);
    assert!(store.load(&token(1), at(0)).await.is_err());
    assert!(store.load(&token(9), at(0)).await.is_err(), "unknown, as far as anybody can tell");
    assert!(store.create(&token(2), &record(1, "1"), at(0)).await.is_err());
    assert!(store.create(&token(2), &owned(1, "ada", 0), at(0)).await.is_err());
    assert!(store.update(&token(1), version(1), &change, at(0)).await.is_err());
    assert!(store.touch(&token(1), version(1), at(9000), at(0)).await.is_err());
    assert!(store.delete(&key, MINUTE, at(0)).await.is_err());
    assert!(store.owned("ada", at(0)).await.is_err());
    assert!(store.count(Some("ada"), at(0)).await.is_err());
    for which in [Revoke::All, Revoke::Others(handle(1)), Revoke::These(vec![handle(1)])] {
        assert!(store.revoke("ada", &Revocation::new(which, MINUTE), at(0)).await.is_err());
    }
    assert!(store.sweep(100, at(0)).await.is_err());
}

/// Each kind of request is a 503 that leaves the cookie alone.
async fn everything_is_refused(layer: &SessionLayer, token: &str) {
    for (what, answer) in [
        ("a read", act(layer, Some(token), |session| session.contains("a").to_string()).await),
        ("a write", act(layer, Some(token), |session| session.insert("a", 2)).await),
        ("a sign-in", act(layer, Some(token), |session| session.sign_in("bob")).await),
        ("an end", act(layer, Some(token), Session::destroy).await),
        ("a new session", act(layer, None, |session| session.insert("a", 1)).await),
        ("a first sign-in", act(layer, None, |session| session.sign_in("ada")).await),
    ] {
        assert_eq!((answer.status.as_u16(), answer.set_cookie()), (503, None), "{what}");
    }
    let owners = layer.owners();
    assert!(owners.revoke_all("ada").await.is_err() && owners.list("ada").await.is_err());
    let free = act(layer, None, |_| "hello").await;
    assert!(free.leaves_cookie() && free.body == "hello", "a request that needs no store: {free:?}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[tokio::test]
async fn sessions_whose_directory_is_gone_are_refused_and_nothing_is_made_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (sessions, away) = (dir.path().join("sessions"), dir.path().join("away"));
    let (store, layer) = below(dir.path());
    let ada = begin(&layer, |session| session.sign_in("ada").and_then(|()| session.insert("a", 1))).await;
    put(&store, &token(1), &owned(1, "ada", 0)).await;

    for is_mount_point in [false, true] {
        fs::rename(&sessions, &away).unwrap();
        if is_mount_point {
            // As where a file system was mounted, and is no more.
            fs::create_dir(&sessions).unwrap();
        }
        let before = tree(dir.path());
        everything_is_refused(&layer, &ada).await;
        everything_is_an_error(&store).await;
        assert_eq!(tree(dir.path()), before);
        if is_mount_point {
            fs::remove_dir(&sessions).unwrap();
        }
        fs::rename(&away, &sessions).unwrap();
        assert_eq!(values(&layer, &ada).await.unwrap()["a"], 1);
        assert!(act(&layer, Some(&ada), move |session| session.insert("b", is_mount_point)).await.leaves_cookie());
        assert_eq!(values(&layer, &ada).await.unwrap()["b"], is_mount_point);
        assert_eq!(store.count(Some("ada"), at(0)).await.unwrap(), 2);
        live(&store, &token(1), at(0)).await;
    }
    fs::remove_dir_all(&sessions).unwrap();
    everything_is_refused(&layer, &ada).await;
    everything_is_an_error(&store).await;
    assert_eq!(tree(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn copy_that_is_put_in_place_of_the_directory_is_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (sessions, backup) = (dir.path().join("sessions"), dir.path().join("backup"));
    let (store, layer) = below(dir.path());
    let ada = begin(&layer, |session| session.sign_in("ada")).await;
    copy(&sessions, &backup);
    let late = begin(&layer, |session| session.insert("a", 1)).await;
    fs::rename(&sessions, dir.path().join("broken")).unwrap();
    fs::rename(&backup, &sessions).unwrap();
    assert!(values(&layer, &ada).await.is_some());
    assert!(values(&layer, &late).await.is_none(), "it is not in the backup");
    assert!(act(&layer, Some(&ada), |session| session.insert("a", 1)).await.leaves_cookie());
    assert_eq!(store.count(Some("ada"), at(0)).await.unwrap(), 1);
    assert!(act(&layer, Some(&ada), Session::destroy).await.removes_cookie());

    // Another store's directory is another one.
    fs::rename(&sessions, &backup).unwrap();
    let (other, _) = below(dir.path());
    let before = tree(&sessions);
    everything_is_refused(&layer, &ada).await;
    everything_is_an_error(&store).await;
    assert_eq!(tree(&sessions), before);
    put(&other, &token(1), &record(1, "1")).await;
}

/// The wipe that signs everybody out needs no restart.
#[tokio::test]
async fn directory_that_was_emptied_is_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (store, layer) = below(dir.path());
    let ada = begin(&layer, |session| session.sign_in("ada")).await;
    for entry in fs::read_dir(dir.path().join("sessions")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    assert!(values(&layer, &ada).await.is_none());
    assert!(act(&layer, None, |session| session.sign_in("ada")).await.status.is_success());
    assert_eq!(store.count(Some("ada"), at(0)).await.unwrap(), 1);
}
