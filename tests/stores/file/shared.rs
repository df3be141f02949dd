//! Several stores on one directory, and calls that are dropped.

use std::fs::File;
use std::sync::Arc;

use tower_session_layer::store::{
    Change, Created, Deadline, Deleted, Loaded, Record, Revoke, Tombstone, TombstoneKind, Updated,
};
use tower_session_layer::{Durability, FileStore, SessionStore};

use super::support::*;

#[tokio::test]
async fn what_one_store_does_another_sees() {
    let (dir, first) = store();
    let second = open(dir.path());
    let ada = put(&first, &token(1), &owned(1, "ada", 0)).await;
    assert_eq!(live(&second, &token(1), at(0)).await, ada);
    assert_eq!(second.owned("ada", at(0)).await.unwrap().len(), 1);
    assert_eq!(second.delete(&token(1).key(), MINUTE, at(0)).await.unwrap(), Deleted::Done);
    assert_eq!(replace(&first, &token(1), 1, 2, "2").await, Updated::Gone);
    assert_eq!(first.owned("ada", at(0)).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_is_lost_among_stores() {
    const TASKS: u64 = 8;
    const EACH: u64 = 25;
    let (dir, first) = store();
    let stores = [first, open(dir.path())];
    put(&stores[0], &token(1), &record(1, "0")).await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = stores[usize::from(task % 2 == 0)].clone();
            tokio::spawn(async move {
                for step in 0..EACH {
                    let to = 2 + task * EACH + step;
                    loop {
                        let found = live(&store, &token(1), at(1)).await;
                        let next = value(&found).parse::<u64>().unwrap() + 1;
                        let from = found.version().get();
                        match replace(&store, &token(1), from, to, &next.to_string()).await {
                            Updated::Done => break,
                            Updated::Conflict => {}
                            other => panic!("{other:?}"),
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(value(&live(&stores[1], &token(1), at(1)).await), (TASKS * EACH).to_string());
    assert!(!path_of(&dir, &token(1)).with_file_name("new").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_destroyed_session_is_not_resurrected_and_a_reader_sees_it_whole() {
    let (dir, first) = store();
    let second = open(dir.path());
    for round in 0..50 {
        let token = token(round);
        put(&first, &token, &record(1, "\"aaaa\"")).await;
        let writer = tokio::spawn({
            let (store, token) = (first.clone(), token.clone());
            async move {
                for n in 1_u64.. {
                    store.touch(&token, version(n), at(3600 + n), at(n)).await.unwrap();
                    if replace(&store, &token, n, n + 1, "\"bbbb\"").await == Updated::Gone {
                        break;
                    }
                }
            }
        });
        for _ in 0..10 {
            live(&second, &token, at(0)).await;
        }
        assert_eq!(second.delete(&token.key(), MINUTE, at(0)).await.unwrap(), Deleted::Done);
        writer.await.unwrap();
        assert!(matches!(first.load(&token, at(0)).await.unwrap(), Loaded::Tombstone(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_creates_wins() {
    let (dir, first) = store();
    let stores = [first, open(dir.path())];
    let tasks: Vec<_> = (1..=16)
        .map(|n| {
            let store = stores[n % 2].clone();
            tokio::spawn(async move { store.create(&token(1), &record(n as u64, "1"), at(0)).await.unwrap() })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        winners += usize::from(task.await.unwrap() == Created::Stored);
    }
    assert_eq!(winners, 1);
}

/// Polls each kind of call once, twice and so on, and drops it. The old state or the new one must be there, and later
/// calls must succeed.
#[tokio::test]
async fn a_dropped_call_leaves_old_or_new_and_no_lock() {
    for durability in [Durability::Process, Durability::System] {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::builder(dir.path()).durability(durability).build().unwrap();
        for polls in 0..12 {
            let token = token(polls);
            let old = signed_in_now(1, "ada");
            let polls = usize::from(polls);
            dropped_after(polls, store.create(&token, &old, at(0))).await;
            // Sent again, as the layer does, or as a sign-in after the revocation of the round before.
            let old = match store.load(&token, at(0)).await.unwrap() {
                Loaded::Live(stored) => stored,
                _ => old,
            };
            let old = put(&store, &token, &old).await;
            let mut head = old.head();
            head.version = Some(version(2));
            let next = Record::decode(head, &old.encode()).unwrap().into();
            let change = Change::Replace(next, Deadline::Keep);
            dropped_after(polls, store.update(&token, version(1), &change, at(0))).await;
            let found = live(&store, &token, at(0)).await.version();
            assert!([version(1), version(2)].contains(&found));
            assert_eq!(store.update(&token, version(1), &change, at(0)).await.unwrap(), Updated::Done);
            dropped_after(polls, store.touch(&token, version(2), at(5000), at(0))).await;
            dropped_after(polls, store.load(&token, at(0))).await;
            dropped_after(polls, store.owned("ada", at(0))).await;
            assert_eq!(store.touch(&token, version(2), at(5000), at(0)).await.unwrap(), Updated::Done);
            assert_eq!(live(&store, &token, at(0)).await.deadline(), at(5000));
            let now = at(polls as u64 * 10 + 6);
            dropped_after(polls, revoke(&store, Revoke::All, MINUTE, now)).await;
            dropped_after(polls, store.delete(&token.key(), MINUTE, now)).await;
            store.delete(&token.key(), MINUTE, now).await.unwrap();
            assert!(matches!(store.load(&token, now).await.unwrap(), Loaded::Tombstone(_)));
            dropped_after(polls, store.sweep(100, at(6000))).await;
            assert_eq!(store.owned("ada", at(0)).await.unwrap(), []);
            store.sweep(100, at(6000)).await.unwrap();
        }
        assert!(files(dir.path()).iter().all(|name| name.ends_with("/mark")), "{:?}", files(dir.path()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_another_process_keeps_is_an_error_in_the_end_and_nothing_stays_behind() {
    let (dir, store) = store();
    put(&store, &token(1), &record(1, "1")).await;
    let shard = File::open(path_of(&dir, &token(1)).parent().unwrap()).unwrap();
    shard.try_lock().unwrap();
    let retire = Change::Retire(Tombstone::new(TombstoneKind::Emptied, MINUTE, at(0)));
    let error = store.update(&token(1), version(1), &retire, at(0)).await.unwrap_err();
    assert!(error.to_string().contains("kept a lock on the session directory for 10s"), "{error}");
    assert_eq!(live(&store, &token(1), at(0)).await, record(1, "1"), "loading needs no lock");
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { replace(&store, &token(1), 1, 2, "2").await }
    });
    tokio::task::yield_now().await;
    shard.unlock().unwrap();
    assert_eq!(waiting.await.unwrap(), Updated::Done);
}

#[tokio::test]
async fn a_reader_that_runs_into_a_touch_looks_again() {
    let (dir, store) = store();
    put(&store, &token(1), &record(1, "1")).await;
    let path = path_of(&dir, &token(1));
    let shard = File::open(path.parent().unwrap()).unwrap();
    shard.try_lock().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn[15] ^= 1;
    std::fs::write(&path, torn).unwrap();
    let token = token(1);
    let mut load = Box::pin(store.load(&token, at(0)));
    assert!(dropped_after(3, load.as_mut()).await.is_none(), "no answer before the lock");
    std::fs::write(&path, whole).unwrap();
    shard.unlock().unwrap();
    assert_eq!(load.await.unwrap(), Loaded::Live(record(1, "1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_all_end() {
    let (dir, first) = store();
    let stores = Arc::new([first, open(dir.path())]);
    let tasks: Vec<_> = (0..=255)
        .map(|n| {
            let stores = Arc::clone(&stores);
            tokio::spawn(async move {
                let store = &stores[usize::from(n % 2)];
                put(store, &token(n), &owned(u64::from(n) + 1, "ada", 5)).await;
                live(store, &token(n), at(5)).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(stores[0].owned("ada", at(5)).await.unwrap().len(), 256);
    let (one, other) =
        tokio::join!(revoke(&stores[0], Revoke::All, MINUTE, at(6)), revoke(&stores[1], Revoke::All, MINUTE, at(7)),);
    assert_eq!(one + other, 256);
}
