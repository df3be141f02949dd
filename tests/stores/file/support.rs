//! Records and tokens, and lists of the files.

use crate::support::scope;
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use crate::support::record::record_of;
use tempfile::TempDir;
use tower_session_layer::store::{Created, Loaded, Record, RecordHead, Revocation, Revoke, Updated, Version};
use tower_session_layer::{Durability, FileStore, SessionHandle, SessionStore, SessionToken};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// The file by which the store knows its directory.
pub(crate) const MARKER: &str = ".tower-session-layer";

/// The time that is so many seconds after the start of the tests.
pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + seconds)
}

pub(crate) fn store() -> (TempDir, FileStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (dir, store)
}

/// Opens a store with locks and queues of its own, as another process does.
pub(crate) fn open(dir: &Path) -> FileStore {
    FileStore::builder(dir).durability(Durability::Process).build().unwrap()
}

pub(crate) fn token(n: u8) -> SessionToken {
    SessionToken::from_random([n; 24], scope())
}

pub(crate) fn version(n: u64) -> Version {
    Version::new(n).unwrap()
}

/// A record of this version that ends in an hour and holds `{"n": value}`.
pub(crate) fn record(n: u64, value: &str) -> Arc<Record> {
    build(n, None, 0, value)
}

/// A record of an owner who signed in so many seconds after the start. Its handle is made of its version.
pub(crate) fn owned(n: u64, owner: &str, signed_in: u64) -> Arc<Record> {
    build(n, Some(owner), signed_in, "1")
}

fn build(n: u64, owner: Option<&str>, signed_in: u64, value: &str) -> Arc<Record> {
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let signed_in = owner.map_or(0, |_| seconds(at(signed_in)));
    let head = RecordHead::new(Some(version(n)), at(3600), at(0), owner.map(Into::into)).with_sign_in(handle(n), 0);
    record_of(head, [seconds(at(0)), seconds(at(1 << 20)), signed_in], "n", value).into()
}

pub(crate) fn handle(n: u64) -> SessionHandle {
    SessionHandle::from_bytes(u128::from(n).to_be_bytes())
}

/// The value that a record holds.
pub(crate) fn value(record: &Arc<Record>) -> String {
    let body = record.encode();
    let start = body.iter().rposition(|&byte| byte == b'n').unwrap();
    String::from_utf8(body[start + 1..].to_vec()).unwrap()
}

/// The record with this deadline, in seconds after the start.
pub(crate) fn until(record: &Record, deadline: u64) -> Arc<Record> {
    let mut head = record.head();
    head.deadline = at(deadline);
    Record::decode(head, &record.encode()).unwrap().into()
}

/// Stores a record, and returns it as it is stored.
pub(crate) async fn put(store: &FileStore, token: &SessionToken, record: &Arc<Record>) -> Arc<Record> {
    match store.create(token, record, at(0)).await.unwrap() {
        Created::Stored if record.owner().is_none() => Arc::clone(record),
        Created::SignedIn(moment) if record.owner().is_some() => record.with_sign_in(moment).into(),
        other => panic!("{other:?}"),
    }
}

/// A record of an owner who signs in after all revocations until now. Its handle is made of its version.
pub(crate) fn signed_in_now(n: u64, owner: &str) -> Arc<Record> {
    owned(n, owner, 0).with_sign_in(micros(SystemTime::now())).into()
}

pub(crate) fn micros(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros().try_into().unwrap()
}

/// The live record, which must be there.
pub(crate) async fn live(store: &FileStore, token: &SessionToken, now: SystemTime) -> Arc<Record> {
    match store.load(token, now).await.unwrap() {
        Loaded::Live(record) => record,
        other => panic!("expected a live record, got {other:?}"),
    }
}

/// Replaces the record at version `from` by one at version `to` that holds `value`.
pub(crate) async fn replace(store: &FileStore, token: &SessionToken, from: u64, to: u64, value: &str) -> Updated {
    let change =
        tower_session_layer::store::Change::Replace(record(to, value), tower_session_layer::store::Deadline::Keep);
    store.update(token, version(from), &change, at(1)).await.unwrap()
}

/// Revokes sessions of `ada`, by a clock that has never stepped back.
pub(crate) async fn revoke(store: &FileStore, which: Revoke, lasting: Duration, now: SystemTime) -> usize {
    store.revoke("ada", &Revocation::new(which, lasting), now).await.unwrap()
}

pub(crate) fn path_of(dir: &TempDir, token: &SessionToken) -> PathBuf {
    path_of_below(dir.path(), token)
}

pub(crate) fn path_of_below(base: &Path, token: &SessionToken) -> PathBuf {
    let hex = token.key().hex();
    base.join(&hex[..2]).join(&hex[2..])
}

/// All paths below a directory, relative to it, directories with a slash at their end.
pub(crate) fn tree(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, base: &Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(base).unwrap().display().to_string();
            if path.symlink_metadata().unwrap().is_dir() {
                out.push(name + "/");
                walk(&path, base, out);
            } else {
                out.push(name);
            }
        }
    }
    let mut out = Vec::new();
    walk(dir, dir, &mut out);
    out.sort();
    out
}

/// All files of sessions, lists and marks.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    let is_one = |name: &String| !name.ends_with('/') && !name.ends_with("/last") && !name.ends_with(MARKER);
    tree(dir).into_iter().filter(is_one).collect()
}

/// Polls a future up to so many times, then drops it.
pub(crate) async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| match left.checked_sub(1) {
        None => Poll::Ready(None),
        Some(less) => {
            left = less;
            match future.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        }
    })
    .await
}

/// A store and the time that a call brings.
pub(crate) type Asked = (FileStore, SystemTime);
