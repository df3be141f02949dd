//! The effect of each method on one store.

use std::time::Duration;

use tower_session_layer::store::{Change, Created, Deadline, Deleted, Loaded, Tombstone, TombstoneKind, Updated};
use tower_session_layer::{SessionStore, TokenShape};

use super::support::*;

fn stone(kind: TombstoneKind, seconds: u64) -> Tombstone {
    Tombstone::new(kind, MINUTE, at(seconds))
}

#[tokio::test]
async fn what_was_created_is_loaded() {
    let (_dir, store) = store();
    assert_eq!(store.token_shape(), TokenShape::Random);
    assert!(!store.is_immediate());
    assert_eq!(store.load(&token(1), at(0)).await.unwrap(), Loaded::Absent);
    for (n, value) in [(1, "1".to_owned()), (2, "\"é\"".to_owned()), (3, format!("\"{}\"", "x".repeat(300_000)))] {
        let record = record(u64::from(n), &value);
        put(&store, &token(n), &record).await;
        assert_eq!(store.load(&token(n), at(0)).await.unwrap(), Loaded::Live(record));
    }
    let ada = put(&store, &token(4), &owned(4, "ada", 0)).await;
    assert_eq!(live(&store, &token(4), at(0)).await, ada);
}

#[tokio::test]
async fn create_never_overwrites() {
    let (_dir, store) = store();
    put(&store, &token(1), &record(1, "1")).await;
    assert_eq!(store.create(&token(1), &record(1, "1"), at(0)).await.unwrap(), Created::Stored, "sent again");
    assert_eq!(store.create(&token(1), &record(2, "2"), at(0)).await.unwrap(), Created::Taken);
    assert_eq!(live(&store, &token(1), at(0)).await, record(1, "1"));
    store.delete(&token(1).key(), MINUTE, at(0)).await.unwrap();
    assert_eq!(store.create(&token(1), &record(2, "2"), at(0)).await.unwrap(), Created::Taken, "a tombstone");
    assert_eq!(store.create(&token(1), &record(2, "2"), at(60)).await.unwrap(), Created::Stored, "after it");
}

#[tokio::test]
async fn update_compares_and_swaps() {
    let (_dir, store) = store();
    assert_eq!(replace(&store, &token(1), 1, 2, "2").await, Updated::Gone);
    assert_eq!(store.load(&token(1), at(0)).await.unwrap(), Loaded::Absent, "nothing was created");
    put(&store, &token(1), &record(1, "1")).await;
    assert_eq!(replace(&store, &token(1), 1, 2, "2").await, Updated::Done);
    assert_eq!(replace(&store, &token(1), 1, 2, "2").await, Updated::Done, "sent again");
    assert_eq!(replace(&store, &token(1), 1, 3, "3").await, Updated::Conflict);
    assert_eq!(value(&live(&store, &token(1), at(0)).await), "2");
    let retire = Change::Retire(stone(TombstoneKind::Renewed, 0));
    assert_eq!(store.update(&token(1), version(1), &retire, at(0)).await.unwrap(), Updated::Conflict);
    assert_eq!(store.update(&token(1), version(2), &retire, at(0)).await.unwrap(), Updated::Done);
    let standing = Loaded::Tombstone(stone(TombstoneKind::Renewed, 0));
    assert_eq!(store.load(&token(1), at(59)).await.unwrap(), standing);
    assert_eq!(replace(&store, &token(1), 2, 3, "3").await, Updated::Gone);
    assert_eq!(store.load(&token(1), at(59)).await.unwrap(), standing, "a tombstone stands");
    assert_eq!(store.load(&token(1), at(60)).await.unwrap(), Loaded::Absent);
}

#[tokio::test]
async fn the_deadline_moves_as_the_change_says() {
    let (_dir, store) = store();
    let cases = [
        (Deadline::Keep, 9000, 3600),
        (Deadline::Extend, 9000, 9000),
        (Deadline::Extend, 100, 9000),
        (Deadline::Set, 100, 100),
    ];
    put(&store, &token(1), &record(1, "1")).await;
    for (n, (deadline, asked, becomes)) in (1..).zip(cases) {
        let change = Change::Replace(until(&record(n + 1, "1"), asked), deadline);
        assert_eq!(store.update(&token(1), version(n), &change, at(0)).await.unwrap(), Updated::Done);
        assert_eq!(live(&store, &token(1), at(0)).await.deadline(), at(becomes), "{deadline:?} {asked}");
    }
}

#[tokio::test]
async fn touch_moves_the_times_forward_and_nothing_else() {
    let (dir, store) = store();
    assert_eq!(store.touch(&token(1), version(1), at(9), at(1)).await.unwrap(), Updated::Gone);
    assert_eq!(store.load(&token(1), at(1)).await.unwrap(), Loaded::Absent, "nothing was created");
    let before = record(1, "1");
    put(&store, &token(1), &before).await;
    let bytes = std::fs::read(path_of(&dir, &token(1))).unwrap();
    assert_eq!(store.touch(&token(1), version(2), at(9000), at(1)).await.unwrap(), Updated::Conflict);
    assert_eq!(std::fs::read(path_of(&dir, &token(1))).unwrap(), bytes);
    assert_eq!(store.touch(&token(1), version(1), at(9000), at(7)).await.unwrap(), Updated::Done);
    assert_eq!(store.touch(&token(1), version(1), at(5), at(3)).await.unwrap(), Updated::Done, "not backward");
    let after = live(&store, &token(1), at(8999)).await;
    assert_eq!((after.deadline(), after.seen(), after.version()), (at(9000), at(7), before.version()));
    assert_eq!(after.encode(), before.encode());
    let touched = std::fs::read(path_of(&dir, &token(1))).unwrap();
    assert_eq!((&touched[..10], &touched[34..]), (&bytes[..10], &bytes[34..]));
    store.delete(&token(1).key(), MINUTE, at(8)).await.unwrap();
    assert_eq!(store.touch(&token(1), version(1), at(9999), at(8)).await.unwrap(), Updated::Gone, "a tombstone");
}

#[tokio::test]
async fn delete_leaves_a_tombstone_once() {
    let (dir, store) = store();
    assert_eq!(store.delete(&token(1).key(), MINUTE, at(0)).await.unwrap(), Deleted::Absent);
    put(&store, &token(1), &record(1, "1")).await;
    assert_eq!(store.delete(&token(1).key(), MINUTE, at(0)).await.unwrap(), Deleted::Done);
    let standing = stone(TombstoneKind::Destroyed, 0);
    assert_eq!(store.delete(&token(1).key(), MINUTE, at(30)).await.unwrap(), Deleted::Retired(standing.clone()));
    assert_eq!(store.load(&token(1), at(30)).await.unwrap(), Loaded::Tombstone(standing));
    assert_eq!(store.delete(&token(1).key(), MINUTE, at(60)).await.unwrap(), Deleted::Absent);
    put(&store, &token(2), &record(1, "1")).await;
    assert_eq!(store.delete(&token(2).key(), Duration::ZERO, at(0)).await.unwrap(), Deleted::Done);
    assert_eq!(store.load(&token(2), at(0)).await.unwrap(), Loaded::Absent);
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

/// Asks a store by each method about a session that ended at 3600. No method may find it.
#[tokio::test]
async fn the_expired_is_absent_for_every_method_and_a_clock_that_steps_back_revives_nothing() {
    type Ask = fn(Asked) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;
    let asks: [(&str, Ask); 5] = [
        ("load", |(store, at)| {
            Box::pin(async move {
                assert_eq!(store.load(&token(1), at).await.unwrap(), Loaded::Absent);
            })
        }),
        ("update", |(store, at)| {
            Box::pin(async move {
                let change = Change::Replace(record(2, "2"), Deadline::Keep);
                assert_eq!(store.update(&token(1), version(1), &change, at).await.unwrap(), Updated::Gone);
            })
        }),
        ("touch", |(store, at)| {
            Box::pin(async move {
                assert_eq!(store.touch(&token(1), version(1), at + MINUTE, at).await.unwrap(), Updated::Gone);
            })
        }),
        ("delete", |(store, at)| {
            Box::pin(async move {
                assert_eq!(store.delete(&token(1).key(), MINUTE, at).await.unwrap(), Deleted::Absent);
            })
        }),
        ("owned", |(store, at)| {
            Box::pin(async move {
                assert_eq!(store.owned("ada", at).await.unwrap(), []);
            })
        }),
    ];
    for (name, ask) in asks {
        let (dir, store) = store();
        put(&store, &token(1), &owned(1, "ada", 0)).await;
        live(&store, &token(1), at(3599)).await;
        ask((store.clone(), at(3600))).await;
        assert_eq!(store.load(&token(1), at(0)).await.unwrap(), Loaded::Absent, "{name}, then the clock stepped back");
        assert!(!path_of(&dir, &token(1)).exists(), "{name}");
    }
}

#[tokio::test]
async fn the_edges_of_time_survive() {
    let (_dir, store) = store();
    let far = 253_402_300_799 - 1_767_225_600;
    put(&store, &token(1), &until(&record(1, "1"), far)).await;
    assert_eq!(live(&store, &token(1), at(far - 1)).await.deadline(), at(far));
    assert_eq!(live(&store, &token(1), std::time::SystemTime::UNIX_EPOCH).await.deadline(), at(far));
}
