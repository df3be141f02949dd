//! The lists and marks of owners.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tower_session_layer::store::{
    Change, Created, Deadline, Deleted, Loaded, Revocation, RevocationMark, Revoke, Tombstone, TombstoneKind, Updated,
};
use tower_session_layer::{FileStore, SessionHandle, SessionStore, SessionToken};

use super::support::*;

async fn handles(store: &FileStore, owner: &str, now: u64) -> Vec<SessionHandle> {
    let mut handles: Vec<_> = store.owned(owner, at(now)).await.unwrap().iter().map(|one| one.handle).collect();
    handles.sort();
    handles
}

/// The directories of owners, and the files in them.
fn index(dir: &TempDir) -> Vec<String> {
    tree(dir.path())
        .into_iter()
        .filter(|name| name.starts_with("owners/") && name.len() > "owners/ab/last".len())
        .collect()
}

/// The entry of a session in its owner's list.
fn entry_of(dir: &TempDir, token: &SessionToken) -> PathBuf {
    let name = files(dir.path()).into_iter().find(|name| name.ends_with(&token.key().hex())).unwrap();
    dir.path().join(name)
}

fn moment_of(created: Created) -> u64 {
    match created {
        Created::SignedIn(moment) => moment,
        other => panic!("{other:?}"),
    }
}

async fn sign_in(store: &FileStore, n: u8) -> u64 {
    moment_of(store.create(&token(n), &owned(n.into(), "ada", 0), at(0)).await.unwrap())
}

/// Puts a mark of Ada that was left at this moment and time, by the machine's clock, in the place of the one that is there.
/// Its tombstones last for a minute.
fn backdate(dir: &TempDir, moment: u64, time: SystemTime) {
    let mut mark = RevocationMark::default();
    mark.add(&Revocation::new(Revoke::All, MINUTE), moment, time);
    let until = micros(at(0) + MINUTE).to_be_bytes();
    fs::write(mark_of(dir), [&mark.encode()[..], &until].concat()).unwrap();
}

/// The mark of the only owner.
fn mark_of(dir: &TempDir) -> PathBuf {
    let owner = index(dir).into_iter().find(|name| name.ends_with('/')).unwrap();
    dir.path().join(owner).join("mark")
}

fn revoked(after: u64) -> Loaded {
    Loaded::Tombstone(Tombstone::new(TombstoneKind::Revoked, MINUTE, at(after)))
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
async fn an_entry_for_somebody_elses_session_gives_no_power_over_it() {
    let (dir, store) = store();
    put(&store, &token(1), &owned(1, "ada", 0)).await;
    put(&store, &token(2), &owned(2, "grace", 0)).await;
    let entry = entry_of(&dir, &token(1));
    let name = entry.file_name().unwrap().to_str().unwrap().replace(&token(1).key().hex(), &token(2).key().hex());
    let planted = entry.with_file_name(name);
    fs::write(&planted, "").unwrap();
    assert_eq!(handles(&store, "ada", 0).await, [handle(1)]);
    assert!(!planted.exists());
    fs::write(&planted, "").unwrap();
    assert_eq!(revoke(&store, Revoke::All, MINUTE, at(1)).await, 1);
    live(&store, &token(2), at(1)).await;
}

#[tokio::test]
async fn an_entry_without_a_record_is_ignored_and_removed() {
    let (dir, store) = store();
    put(&store, &token(1), &owned(1, "ada", 0)).await;
    fs::remove_file(path_of(&dir, &token(1))).unwrap();
    assert_eq!(handles(&store, "ada", 0).await, []);
    assert_eq!(index(&dir), Vec::<String>::new());
    // Simulates a create that was killed after it had written the entry, and is sent again.
    put(&store, &token(1), &owned(1, "ada", 0)).await;
    fs::remove_file(path_of(&dir, &token(1))).unwrap();
    let record = put(&store, &token(1), &owned(1, "ada", 0)).await;
    assert_eq!(live(&store, &token(1), at(0)).await, record);
    assert_eq!(handles(&store, "ada", 0).await, [handle(1)], "listed once, whatever entries there are");
    assert_eq!(store.count(Some("ada"), at(0)).await.unwrap(), 1);
}

#[tokio::test]
async fn revoking_ends_what_is_meant() {
    let (dir, store) = store();
    for n in 1..=4 {
        put(&store, &token(n), &owned(n.into(), "ada", 0)).await;
    }
    put(&store, &token(5), &owned(5, "grace", 0)).await;
    let these = |handles: &[u64]| Revoke::These(handles.iter().copied().map(handle).collect());
    assert_eq!(revoke(&store, these(&[5]), MINUTE, at(1)).await, 0, "somebody else's");
    live(&store, &token(5), at(1)).await;
    assert_eq!(revoke(&store, these(&[1, 5]), MINUTE, at(1)).await, 1);
    assert_eq!(store.load(&token(1), at(1)).await.unwrap(), revoked(1));
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
async fn sessions_of_an_owner_are_counted_and_all_are_not() {
    let (_dir, store) = store();
    assert_eq!(store.count(Some("ada"), at(0)).await.unwrap(), 0);
    for n in 1..=3 {
        put(&store, &token(n), &owned(n.into(), "ada", 0)).await;
    }
    put(&store, &token(4), &owned(4, "grace", 0)).await;
    assert_eq!(store.count(Some("ada"), at(0)).await.unwrap(), 3);
    revoke(&store, Revoke::Others(handle(2)), MINUTE, at(0)).await;
    assert_eq!(store.count(Some("ada"), at(0)).await.unwrap(), 1);
    assert!(store.count(None, at(0)).await.unwrap_err().is_unsupported());
}

#[tokio::test]
async fn create_sent_again_is_the_same_sign_in_only_if_it_is_the_same_record() {
    let (_dir, store) = store();
    let moment = sign_in(&store, 1).await;
    assert_eq!(sign_in(&store, 1).await, moment);
    assert_eq!(handles(&store, "ada", 0).await.len(), 1);
    for other in [owned(1, "grace", 0), owned(1, "ada", 1), record(1, "1")] {
        assert_eq!(store.create(&token(1), &other, at(0)).await.unwrap(), Created::Taken, "{other:?}");
    }
    put(&store, &token(2), &record(1, "1")).await;
    assert_eq!(store.create(&token(2), &record(1, "2"), at(0)).await.unwrap(), Created::Taken, "of the same version");
    assert_eq!(value(&live(&store, &token(2), at(0)).await), "1");
}

#[tokio::test]
async fn sign_ins_are_ordered_by_the_machine_and_not_by_the_layer() {
    let (_dir, store) = store();
    let before = micros(SystemTime::now());
    let mut last = 0;
    for (n, day) in [(1, 9_999), (2, 0), (3, 5)] {
        let now = at(day * 86_400);
        let moment =
            moment_of(store.create(&token(n), &until(&owned(n.into(), "ada", day), 1 << 40), now).await.unwrap());
        assert!(moment > last && (before..=micros(SystemTime::now())).contains(&moment), "{moment}");
        last = moment;
    }
    let found = store.owned("ada", at(0)).await.unwrap();
    assert_eq!(found.iter().map(|one| one.sign_in).max(), Some(last));
    assert_eq!(live(&store, &token(3), at(0)).await.sign_in(), last);
}

#[tokio::test]
async fn after_a_step_back_of_the_clock_the_order_goes_on() {
    let (dir, store) = store();
    let ahead = micros(SystemTime::now()) + 3_600_000_000;
    // A sign-in of an hour that is still to come, as after a step back.
    put(&store, &token(1), &Arc::new(owned(1, "ada", 0).with_sign_in(ahead))).await;
    assert_eq!(sign_in(&store, 2).await, ahead + 1);
    let last = entry_of(&dir, &token(1)).ancestors().nth(2).unwrap().join("last");
    assert_eq!(fs::read(&last).unwrap(), (ahead + 1).to_be_bytes());
    for lost in [None, Some(Vec::new()), Some(vec![0; 8]), Some((ahead - 10).to_be_bytes().to_vec())] {
        match &lost {
            None => fs::remove_file(&last).unwrap(),
            Some(bytes) => fs::write(&last, bytes).unwrap(),
        }
        let n = store.owned("ada", at(0)).await.unwrap().len();
        let moment = sign_in(&store, u8::try_from(n).unwrap() + 1).await;
        assert_eq!(moment, ahead + n as u64, "{lost:?}");
    }
    fs::write(&last, 1_u64.to_be_bytes()).unwrap();
    assert_eq!(revoke(&store, Revoke::All, MINUTE, at(0)).await, 6, "sessions from ahead too");
    assert_eq!(store.load(&token(1), at(0)).await.unwrap(), revoked(0));
    assert!(store.create(&token(9), &signed_in_now(9, "ada"), at(0)).await.unwrap() == Created::Revoked);
}

#[tokio::test]
async fn a_mark_from_ahead_of_the_clock_refuses_what_began_before_and_the_order_goes_on() {
    let (dir, store) = store();
    revoke(&store, Revoke::All, MINUTE, at(0)).await;
    backdate(&dir, 7, SystemTime::now() + 100 * MINUTE);
    let mark = fs::read(mark_of(&dir)).unwrap();
    assert_eq!(store.create(&token(1), &owned(1, "ada", 0), at(0)).await.unwrap(), Created::Revoked);
    let of = |moment: u64| Arc::new(owned(1, "ada", 0).with_sign_in(moment));
    assert_eq!(store.create(&token(1), &of(7), at(0)).await.unwrap(), Created::Revoked);
    assert_eq!(put(&store, &token(1), &of(8)).await.sign_in(), 8);
    live(&store, &token(1), at(0)).await;
    assert_eq!(fs::read(mark_of(&dir)).unwrap(), mark);
}

#[tokio::test]
async fn a_mark_ends_every_session_before_it_on_every_way_that_reads_one() {
    let (dir, store) = store();
    let ada = put(&store, &token(1), &owned(1, "ada", 0)).await;
    put(&store, &token(2), &owned(2, "grace", 0)).await;
    put(&store, &token(3), &record(3, "1")).await;
    let bytes = fs::read(path_of(&dir, &token(1))).unwrap();
    let entry = entry_of(&dir, &token(1));
    revoke(&store, Revoke::All, MINUTE, at(0)).await;
    // The revocation was cut off behind its mark, so that session and entry still stand.
    fs::write(path_of(&dir, &token(1)), &bytes).unwrap();
    fs::write(&entry, "").unwrap();
    let stone = Tombstone::new(TombstoneKind::Revoked, MINUTE, at(0));
    assert_eq!(store.load(&token(1), at(59)).await.unwrap(), revoked(0));
    let change = Change::Replace(until(&ada, 9_000), Deadline::Set);
    assert_eq!(store.update(&token(1), version(1), &change, at(1)).await.unwrap(), Updated::Gone);
    assert_eq!(
        store.update(&token(1), version(1), &Change::Retire(stone.clone()), at(1)).await.unwrap(),
        Updated::Gone
    );
    assert_eq!(store.touch(&token(1), version(1), at(9_000), at(1)).await.unwrap(), Updated::Gone);
    assert_eq!(store.delete(&token(1).key(), MINUTE, at(1)).await.unwrap(), Deleted::Retired(stone));
    assert_eq!(handles(&store, "ada", 1).await, []);
    assert_eq!(store.count(Some("ada"), at(1)).await.unwrap(), 0);
    assert_eq!(store.create(&token(1), &owned(1, "ada", 0), at(1)).await.unwrap(), Created::Revoked, "sent again");
    assert_eq!(revoke(&store, Revoke::These(vec![handle(1)]), MINUTE, at(1)).await, 0);
    assert_eq!(fs::read(path_of(&dir, &token(1))).unwrap(), bytes, "nothing was written");
    assert_eq!(store.sweep(100, at(59)).await.unwrap(), 0, "its tombstone stands");
    assert_eq!(store.load(&token(1), at(60)).await.unwrap(), Loaded::Absent);
    assert!(!path_of(&dir, &token(1)).exists());
    live(&store, &token(2), at(60)).await;
    live(&store, &token(3), at(60)).await;
    assert_eq!(revoke(&store, Revoke::All, MINUTE, at(1)).await, 0, "ended by the first");
}

#[tokio::test]
async fn the_spared_session_stays_spared_until_it_is_revoked_itself() {
    let (dir, store) = store();
    for n in 1..=3 {
        put(&store, &token(n), &owned(n.into(), "ada", 0)).await;
    }
    let bytes = [1, 2, 3].map(|n| fs::read(path_of(&dir, &token(n))).unwrap());
    let put_back = |n: u8| fs::write(path_of(&dir, &token(n)), &bytes[usize::from(n) - 1]).unwrap();
    assert_eq!(revoke(&store, Revoke::Others(handle(2)), MINUTE, at(0)).await, 2);
    put_back(1);
    live(&store, &token(2), at(1)).await;
    assert_eq!(revoke(&store, Revoke::Others(handle(1)), MINUTE, at(1)).await, 1);
    for n in [1, 2, 3] {
        put_back(n);
        assert_eq!(store.load(&token(n), at(1)).await.unwrap(), revoked(1), "{n}");
    }
}

#[tokio::test]
async fn a_sign_in_from_before_a_revocation_is_refused() {
    let (dir, store) = store();
    let before = signed_in_now(1, "ada");
    revoke(&store, Revoke::All, MINUTE, at(10)).await;
    assert_eq!(store.create(&token(1), &before, at(11)).await.unwrap(), Created::Revoked);
    assert_eq!(store.create(&token(1), &owned(1, "ada", 999), at(11)).await.unwrap(), Created::Revoked, "of any age");
    assert_eq!(files(dir.path()).len(), 1, "only the mark: {:?}", files(dir.path()));
    put(&store, &token(2), &signed_in_now(2, "ada")).await;
    put(&store, &token(3), &owned(3, "grace", 5)).await;
    let before = signed_in_now(4, "ada");
    revoke(&store, Revoke::Others(handle(2)), MINUTE, at(20)).await;
    assert_eq!(store.create(&token(4), &before, at(21)).await.unwrap(), Created::Revoked);
    live(&store, &token(2), at(21)).await;
}

#[tokio::test]
async fn a_mark_stays_for_a_day_and_until_nobody_is_left_whom_it_ends() {
    let (dir, store) = store();
    let ada = put(&store, &token(1), &owned(1, "ada", 0)).await;
    let bytes = fs::read(path_of(&dir, &token(1))).unwrap();
    let entry = entry_of(&dir, &token(1));
    revoke(&store, Revoke::All, MINUTE, at(0)).await;
    fs::write(path_of(&dir, &token(1)), &bytes).unwrap();
    fs::write(&entry, "").unwrap();
    let (now, life) = (SystemTime::now(), RevocationMark::LIFETIME);
    backdate(&dir, ada.sign_in(), now - life - MINUTE);
    assert_eq!(store.sweep(100, at(30)).await.unwrap(), 0, "the tombstone stands, and nothing else shows it");
    assert_eq!(store.load(&token(1), at(30)).await.unwrap(), revoked(0));
    assert_eq!(store.sweep(100, at(60)).await.unwrap(), 1, "the session");
    assert_eq!(files(dir.path()).len(), 1, "the mark outlasts it: {:?}", files(dir.path()));
    backdate(&dir, ada.sign_in(), now - life + MINUTE);
    assert_eq!(store.sweep(100, at(60)).await.unwrap(), 0, "not a day old");
    backdate(&dir, ada.sign_in(), now - life - MINUTE);
    assert_eq!(store.sweep(100, at(60)).await.unwrap(), 1);
    assert_eq!(index(&dir), Vec::<String>::new());
}

#[tokio::test]
async fn a_create_sent_again_after_a_revocation_stores_nothing() {
    let (dir, store) = store();
    let record = owned(1, "ada", 5);
    put(&store, &token(1), &record).await;
    let bytes = fs::read(path_of(&dir, &token(1))).unwrap();
    revoke(&store, Revoke::All, Duration::ZERO, at(10)).await;
    assert_eq!(store.create(&token(1), &record, at(10)).await.unwrap(), Created::Revoked);
    assert_eq!(store.load(&token(1), at(10)).await.unwrap(), Loaded::Absent);
    // Simulates a revocation that was killed after it had written its mark.
    fs::write(path_of(&dir, &token(1)), bytes).unwrap();
    assert_eq!(store.create(&token(1), &record, at(10)).await.unwrap(), Created::Revoked);
    assert_eq!(store.load(&token(1), at(10)).await.unwrap(), Loaded::Absent);
}

/// More than a revocation replaces by tombstones.
const MANY: u64 = 600;

fn of_many(n: u64) -> SessionToken {
    let mut bytes = [7; 24];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    SessionToken::from_random(bytes, crate::support::scope())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_of_many_ends_all_of_them_at_once_and_the_sweep_removes_them() {
    let (dir, store) = store();
    for n in 1..=MANY {
        put(&store, &of_many(n), &until(&owned(n, "ada", 0), if n == 1 { 1 } else { 3600 })).await;
    }
    store.delete(&of_many(2).key(), MINUTE, at(0)).await.unwrap();
    fs::remove_file(path_of(&dir, &of_many(3))).unwrap();
    let second = open(dir.path());
    let (one, other) =
        tokio::join!(revoke(&store, Revoke::All, MINUTE, at(1)), revoke(&second, Revoke::All, MINUTE, at(1)));
    assert_eq!(one + other, 597, "neither the expired nor the two that had ended, and each once");
    assert_eq!(handles(&store, "ada", 1).await, []);
    for n in 4..=MANY {
        assert_eq!(store.load(&of_many(n), at(2)).await.unwrap(), revoked(1), "{n}");
    }
    let mut swept = vec![1];
    while swept.last() != Some(&0) {
        swept.push(store.sweep(50, at(61)).await.unwrap());
    }
    assert!(swept.iter().all(|&step| step <= 50) && swept.iter().sum::<usize>() >= 597, "{swept:?}");
    assert_eq!(files(dir.path()).len(), 1, "the mark: {:?}", files(dir.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_named_sessions_end_in_one_call() {
    let (dir, store) = store();
    for n in 1..=MANY {
        put(&store, &of_many(n), &owned(n, "ada", 0)).await;
    }
    // A session that is being renewed has two records.
    let renewed = Arc::new(owned(9, "ada", 0).with_sign_in(live(&store, &of_many(9), at(0)).await.sign_in()));
    put(&store, &of_many(MANY + 1), &renewed).await;
    let these = Revoke::These((6..=MANY).map(handle).collect());
    assert_eq!(revoke(&store, these.clone(), MINUTE, at(1)).await, 595);
    assert_eq!(handles(&store, "ada", 1).await, [1, 2, 3, 4, 5].map(handle));
    assert_eq!(store.load(&of_many(MANY + 1), at(1)).await.unwrap(), revoked(1));
    assert_eq!(index(&dir).len(), 6, "no mark, no entry of those that have ended");
    assert_eq!(revoke(&store, these, MINUTE, at(1)).await, 0);
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
                let record = signed_in_now(u64::from(n) + 1, "ada");
                tokio::spawn(async move { (store.create(&token, &record, at(now)).await.unwrap(), token) })
            })
            .collect();
        revoke(&second, Revoke::All, MINUTE, at(now + 1)).await;
        for one in signing_in {
            let (created, token) = one.await.unwrap();
            let found = second.load(&token, at(now + 1)).await.unwrap();
            let expected = match created {
                Created::Revoked => found == Loaded::Absent,
                _ => matches!(found, Loaded::Tombstone(_)),
            };
            assert!(expected, "{created:?} {found:?}");
        }
        assert_eq!(handles(&second, "ada", now + 1).await, []);
    }
}
