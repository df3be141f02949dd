//! The removal of what has expired.

use std::fs;

use tower_session_layer::SessionStore;
use tower_session_layer::store::{Loaded, Revocation, RevocationMark, Revoke, Updated};

use super::support::*;

#[tokio::test]
async fn only_the_expired_goes() {
    let (dir, store) = store();
    for n in 0..10 {
        put(&store, &token(n), &until(&owned(1, "ada", 0), 100 + u64::from(n) * 100)).await;
    }
    store.delete(&token(9).key(), MINUTE, at(0)).await.unwrap();
    store.touch(&token(0), version(1), at(5000), at(0)).await.unwrap();
    assert_eq!(store.sweep(100, at(59)).await.unwrap(), 0);
    assert_eq!(store.sweep(100, at(400)).await.unwrap(), 4, "a tombstone and three records");
    for n in [0, 4, 5, 6, 7, 8] {
        live(&store, &token(n), at(400)).await;
    }
    assert_eq!(files(dir.path()).len(), 12, "each with its entry: {:?}", files(dir.path()));
    assert_eq!(store.sweep(100, at(5000)).await.unwrap(), 6);
    assert_eq!(files(dir.path()), Vec::<String>::new());
    let is_kept = |name: &String| name.len() <= "owners/ab/last".len() || name == MARKER;
    assert!(tree(dir.path()).iter().all(is_kept), "{:?}", tree(dir.path()));
    assert_eq!(store.sweep(100, at(5000)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_step_is_bounded_and_the_next_goes_on() {
    let (dir, store) = store();
    for n in 0..50 {
        put(&store, &token(n), &record(1, "1")).await;
    }
    let mut steps = Vec::new();
    while steps.last() != Some(&0) {
        steps.push(store.sweep(20, at(3600)).await.unwrap());
    }
    assert_eq!(steps, [20, 20, 10, 0]);
    assert_eq!(files(dir.path()), Vec::<String>::new());
    assert_eq!(store.sweep(0, at(3600)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_stray_file_goes_and_one_being_written_stays() {
    let (dir, store) = store();
    put(&store, &token(1), &record(1, "1")).await;
    let stray = path_of(&dir, &token(1)).with_file_name("new");
    fs::write(&stray, "half a rec").unwrap();
    let shard = fs::File::open(stray.parent().unwrap()).unwrap();
    shard.try_lock().unwrap();
    let mut sweep = Box::pin(store.sweep(100, at(0)));
    for polls in [1, 5, 50] {
        assert!(dropped_after(polls, sweep.as_mut()).await.is_none());
        assert!(stray.exists(), "its writer has the lock");
    }
    shard.unlock().unwrap();
    assert_eq!(sweep.await.unwrap(), 0);
    assert!(!stray.exists());
    fs::write(&stray, "half a rec").unwrap();
    replace(&store, &token(1), 1, 2, "2").await;
    assert!(!stray.exists(), "the next writer takes its place");
    assert_eq!(value(&live(&store, &token(1), at(0)).await), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_touched_meanwhile_stays() {
    let (dir, first) = store();
    let second = open(dir.path());
    for n in 0..60 {
        let token = token(n);
        put(&first, &token, &until(&record(1, "1"), 10)).await;
        let touched = first.touch(&token, version(1), at(100), at(9));
        let (touched, swept) = tokio::join!(touched, second.sweep(10, at(10)));
        let found = first.load(&token, at(10)).await.unwrap();
        match (touched.unwrap(), swept.unwrap()) {
            (Updated::Done, 0) => assert!(matches!(found, Loaded::Live(_))),
            (Updated::Gone, 1) => assert_eq!(found, Loaded::Absent),
            other => panic!("{other:?}"),
        }
        first.delete(&token.key(), std::time::Duration::ZERO, at(10)).await.unwrap();
    }
}

#[tokio::test]
async fn one_shard_that_cannot_be_read_does_not_keep_the_sweep_from_the_others() {
    let (dir, store) = store();
    for n in 0..20 {
        put(&store, &token(n), &record(1, "1")).await;
    }
    let bad = dir.path().join("00");
    assert!(!bad.exists());
    fs::write(&bad, "").unwrap();
    assert!(store.sweep(100, at(3600)).await.is_err());
    assert!(store.sweep(100, at(3600)).await.is_err(), "again, after all others");
    assert_eq!(files(dir.path()), ["00"]);
}

#[tokio::test]
async fn a_full_step_comes_back_to_its_shard() {
    let (dir, store) = store();
    let shard = |n: u8| token(n).key().as_bytes()[0];
    let pairs = || (0..=255).flat_map(|a| (0..a).map(move |b| (a, b)));
    let (one, other) = pairs().find(|&(a, b)| shard(a) == shard(b) && shard(a) < 200).unwrap();
    let later = (0..=255).find(|&n| shard(n) > shard(one)).unwrap();
    for n in [one, other, later] {
        put(&store, &token(n), &record(1, "1")).await;
    }
    for left in [2, 1, 0] {
        assert_eq!(store.sweep(1, at(3600)).await.unwrap(), 1);
        assert_eq!(files(dir.path()).len(), left);
        assert_eq!(path_of(&dir, &token(later)).exists(), left > 0, "the later shard is last");
    }
}

#[tokio::test]
async fn a_sweep_looks_again_under_the_lock() {
    let (dir, store) = store();
    let path = path_of(&dir, &token(1));
    put(&store, &token(1), &until(&record(1, "1"), 9000)).await;
    let touched = fs::read(&path).unwrap();
    store.delete(&token(1).key(), std::time::Duration::ZERO, at(0)).await.unwrap();
    put(&store, &token(1), &record(1, "1")).await;
    let lock = fs::File::open(path.parent().unwrap()).unwrap();
    lock.try_lock().unwrap();
    let mut sweep = Box::pin(store.sweep(100, at(3600)));
    // The sweep visits shards in order, and waits at this one until its lock is free.
    assert!(dropped_after(2000, sweep.as_mut()).await.is_none());
    fs::write(&path, touched).unwrap();
    lock.unlock().unwrap();
    assert_eq!(sweep.await.unwrap(), 0);
    assert_eq!(live(&store, &token(1), at(3600)).await.deadline(), at(9000));
}

#[tokio::test]
async fn a_mark_that_is_renewed_meanwhile_stays() {
    let (dir, store) = store();
    revoke(&store, Revoke::All, MINUTE, at(0)).await;
    let mark = dir.path().join(&files(dir.path())[0]);
    let renewed = fs::read(&mark).unwrap();
    let mut old = RevocationMark::default();
    let day_ago = std::time::SystemTime::now() - RevocationMark::LIFETIME - MINUTE;
    old.add(&Revocation::new(Revoke::All, MINUTE), 1, day_ago);
    fs::write(&mark, [&old.encode()[..], &[0; 8]].concat()).unwrap();
    let lock = fs::File::open(mark.ancestors().nth(2).unwrap()).unwrap();
    lock.try_lock().unwrap();
    let mut sweep = Box::pin(store.sweep(100, at(0)));
    assert!(dropped_after(2000, sweep.as_mut()).await.is_none());
    fs::write(&mark, &renewed).unwrap();
    lock.unlock().unwrap();
    assert_eq!(sweep.await.unwrap(), 0);
    assert_eq!(fs::read(&mark).unwrap(), renewed);
}
