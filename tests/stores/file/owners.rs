//! The lists and marks of owners.

use std::fs;
use std::time::Duration;

use tower_session_layer::store::{Change, Created, Loaded, RevocationMark, Revoke, Tombstone, TombstoneKind, Updated};
use tower_session_layer::{FileStore, SessionHandle, SessionStore};

use super::support::*;

async fn handles(store: &FileStore, owner: &str, now: u64) -> Vec<SessionHandle> {
    let mut handles: Vec<_> = store.owned(owner, at(now)).await.unwrap().iter().map(|one| one.handle).collect();
    handles.sort();
    handles
}

fn index(dir: &tempfile::TempDir) -> Vec<String> {
    tree(dir.path()).into_iter().filter(|name| name.starts_with("owners/") && name.len() > "owners/ab/".len()).collect()
}

#[tokio::test]
async fn an_owner_has_what_lives_and_nothing_else() {
    let (dir, store) = store();
    assert_eq!(handles(&store, "ada", 0).await, []);
    assert_eq!(index(&dir), Vec::<String>::new());
    for n in 1..=4 {
        put(&store, &token(n), &owned(n.into(), "ada", n.into())).await;
    }
    put(&store, &token(5), &owned(5, "grace", 5)).await;
    assert_eq!(handles(&store, "ada", 0).await, [1, 2, 3, 4].map(handle));
    let all = store.owned("ada", at(0)).await.unwrap();
    let first = all.iter().find(|one| one.handle == handle(1)).unwrap();
    assert_eq!((first.created, first.signed_in, first.last_seen), (at(0), Some(at(1)), at(0)));

    store.delete(&token(1).key(), MINUTE, at(0)).await.unwrap();
    let renewed = Change::Retire(Tombstone::new(TombstoneKind::Renewed, MINUTE, at(0)));
    assert_eq!(store.update(&token(2), version(2), &renewed, at(0)).await.unwrap(), Updated::Done);
    store.touch(&token(3), version(3), at(9000), at(9)).await.unwrap();
    assert_eq!(index(&dir).len(), 5, "two directories and an entry for each that lives: {:?}", index(&dir));
    assert_eq!(handles(&store, "ada", 3599).await, [3, 4].map(handle));
    assert_eq!(handles(&store, "ada", 3600).await, [3].map(handle));
    assert_eq!(handles(&store, "grace", 3600).await, []);
    assert_eq!(index(&dir).len(), 2, "{:?}", index(&dir));
}

#[tokio::test]
async fn an_entry_without_a_record_is_ignored_and_removed() {
    let (dir, store) = store();
    put(&store, &token(1), &owned(1, "ada", 0)).await;
    let file = fs::read(path_of(&dir, &token(1))).unwrap();
    fs::remove_file(path_of(&dir, &token(1))).unwrap();
    assert_eq!(handles(&store, "ada", 0).await, []);
    assert_eq!(index(&dir), Vec::<String>::new());
    // Simulates a create that was killed after it had written the entry, and is sent again.
    put(&store, &token(1), &owned(1, "ada", 0)).await;
    assert_eq!(fs::read(path_of(&dir, &token(1))).unwrap(), file);
    assert_eq!(handles(&store, "ada", 0).await, [handle(1)]);
}

#[tokio::test]
async fn an_entry_for_somebody_elses_session_gives_no_power_over_it() {
    let (dir, store) = store();
    put(&store, &token(1), &owned(1, "ada", 0)).await;
    put(&store, &token(2), &owned(2, "grace", 0)).await;
    let of_ada = files(dir.path()).into_iter().find(|name| name.ends_with(&token(1).key().hex())).unwrap();
    let planted = dir.path().join(of_ada).with_file_name(token(2).key().hex());
    fs::write(&planted, "").unwrap();
    assert_eq!(handles(&store, "ada", 0).await, [handle(1)]);
    assert!(!planted.exists());
    fs::write(&planted, "").unwrap();
    assert_eq!(revoke(&store, Revoke::All, MINUTE, at(1)).await, 1);
    live(&store, &token(2), at(1)).await;
}

#[tokio::test]
async fn revoking_ends_what_is_meant() {
    let (dir, store) = store();
    for n in 1..=4 {
        put(&store, &token(n), &owned(n.into(), "ada", 0)).await;
    }
    put(&store, &token(5), &owned(5, "grace", 0)).await;
    assert_eq!(revoke(&store, Revoke::One(handle(5)), MINUTE, at(1)).await, 0, "somebody else's");
    live(&store, &token(5), at(1)).await;
    assert_eq!(revoke(&store, Revoke::One(handle(1)), MINUTE, at(1)).await, 1);
    let standing = Tombstone::new(TombstoneKind::Revoked, MINUTE, at(1));
    assert_eq!(store.load(&token(1), at(1)).await.unwrap(), Loaded::Tombstone(standing));
    put(&store, &token(6), &owned(6, "ada", 0)).await;
    assert_eq!(revoke(&store, Revoke::Others(handle(2)), Duration::ZERO, at(2)).await, 3);
    assert!(!path_of(&dir, &token(3)).exists());
    assert_eq!(handles(&store, "ada", 2).await, [handle(2)]);
    assert_eq!(revoke(&store, Revoke::All, MINUTE, at(3)).await, 1);
    assert_eq!(revoke(&store, Revoke::All, MINUTE, at(3)).await, 0);
    assert_eq!(handles(&store, "ada", 3).await, []);
    assert_eq!(handles(&store, "grace", 3).await, [handle(5)]);
}

#[tokio::test]
async fn a_sign_in_from_before_a_revocation_is_refused_for_a_day() {
    let (dir, store) = store();
    revoke(&store, Revoke::All, MINUTE, at(10)).await;
    assert!(matches!(store.create(&token(1), &owned(1, "ada", 10), at(11)).await.unwrap(), Created::Revoked(_)));
    assert_eq!(files(dir.path()).len(), 1, "only the mark: {:?}", files(dir.path()));
    assert_eq!(store.create(&token(2), &owned(2, "ada", 11), at(11)).await.unwrap(), Created::Stored);
    assert_eq!(store.create(&token(3), &owned(3, "grace", 5), at(11)).await.unwrap(), Created::Stored);
    revoke(&store, Revoke::Others(handle(2)), MINUTE, at(20)).await;
    assert!(matches!(store.create(&token(4), &owned(4, "ada", 15), at(21)).await.unwrap(), Created::Revoked(_)));
    let day = 20 + RevocationMark::LIFETIME.as_secs();
    store.sweep(100, at(day - 1)).await.unwrap();
    assert_eq!(files(dir.path()).len(), 1, "the mark stands: {:?}", files(dir.path()));
    assert_eq!(store.sweep(100, at(day)).await.unwrap(), 1);
    assert_eq!(index(&dir), Vec::<String>::new());
}

#[tokio::test]
async fn a_create_sent_again_after_a_revocation_stores_nothing() {
    let (dir, store) = store();
    let record = owned(1, "ada", 5);
    put(&store, &token(1), &record).await;
    let bytes = fs::read(path_of(&dir, &token(1))).unwrap();
    revoke(&store, Revoke::All, Duration::ZERO, at(10)).await;
    assert!(matches!(store.create(&token(1), &record, at(10)).await.unwrap(), Created::Revoked(_)));
    assert_eq!(store.load(&token(1), at(10)).await.unwrap(), Loaded::Absent);
    // Simulates a revocation that was killed after it had written its mark.
    fs::write(path_of(&dir, &token(1)), bytes).unwrap();
    assert!(matches!(store.create(&token(1), &record, at(10)).await.unwrap(), Created::Revoked(_)));
    assert_eq!(store.load(&token(1), at(10)).await.unwrap(), Loaded::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sign_in_slips_past_a_revocation_in_another_process() {
    let (dir, first) = store();
    let second = open(dir.path());
    for round in 0..40 {
        let now = 10 * round;
        let signing_in: Vec<_> = (0..4_u8)
            .map(|n| {
                let (store, token) = (first.clone(), token(n + 4 * u8::try_from(round).unwrap()));
                let record = owned(u64::from(n) + 1, "ada", now);
                tokio::spawn(async move { (store.create(&token, &record, at(now)).await.unwrap(), token) })
            })
            .collect();
        revoke(&second, Revoke::All, MINUTE, at(now + 1)).await;
        for one in signing_in {
            let (created, token) = one.await.unwrap();
            let found = second.load(&token, at(now + 1)).await.unwrap();
            let expected = match created {
                Created::Revoked(_) => matches!(found, Loaded::Absent),
                _ => matches!(found, Loaded::Tombstone(_)),
            };
            assert!(expected, "{created:?} {found:?}");
        }
        assert_eq!(handles(&second, "ada", now + 1).await, []);
    }
}
