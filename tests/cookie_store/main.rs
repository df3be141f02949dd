//! The session in the client's cookie: what its seal keeps out, how its keys rotate, how its deadlines hold.

mod contract;
mod limits;
mod revocations;
mod sealing;
mod size;
#[path = "../support/mod.rs"]
mod support;

use crate::support::scope;
use std::collections::HashSet;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use tower_session_layer::store::{
    Change, Created, Deadline, Loaded, Record, RecordHead, Revocation, Revoke, Tombstone, TombstoneKind, Updated,
    Version,
};
use tower_session_layer::{
    ConfigError, CookieKey, CookieStore, SessionCookie, SessionStore, SessionToken, StoreError, TokenShape,
};

const MINUTE: Duration = Duration::from_secs(60);
const OLD: u8 = 1;
const NEW: u8 = 2;

/// Polls once: the store says that it never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("an immediate store waited"),
    }
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn key(secret: u8) -> CookieKey {
    CookieKey::new(&[secret; 32]).unwrap()
}

fn bound(mut store: CookieStore, cookie: &str) -> CookieStore {
    store.bind(&SessionCookie::builder().name(cookie).build().unwrap());
    store
}

fn store(secrets: &[u8]) -> CookieStore {
    bound(CookieStore::builder(secrets.iter().copied().map(key)).build().unwrap(), "__Host-sid")
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// A record whose one value is this JSON, live for an hour.
fn record_of(number: u64, json: &str) -> Record {
    let head = RecordHead::new(Some(version(number)), start() + 60 * MINUTE, start(), Some("ada".into()));
    let head = head.with_sign_in(tower_session_layer::SessionHandle::from_bytes([8; 16]), 0);
    support::record::record_of(head, [0; 3], "user", json)
}

fn record(number: u64) -> Record {
    record_of(number, "\"marker\"")
}

/// A record of exactly so many bytes.
fn record_of_len(len: usize) -> Record {
    let text = "x".repeat(len - record_of(1, "\"\"").encoded_len());
    record_of(1, &format!("\"{text}\""))
}

fn create(store: &CookieStore, record: &Record) -> Result<SessionToken, StoreError> {
    let fresh = SessionToken::from_random([5; 24], scope());
    now(store.create(&fresh, &record.clone().into(), start())).map(|created| match created {
        Created::Instead(token) => token,
        other => panic!("{other:?}"),
    })
}

fn sealed(store: &CookieStore) -> String {
    text(&create(store, &record(1)).unwrap())
}

fn text(token: &SessionToken) -> String {
    str::from_utf8(token.secret()).unwrap().to_owned()
}

fn load_at(store: &CookieStore, token: &SessionToken, at: SystemTime) -> Loaded {
    now(store.load(token, at)).unwrap()
}

fn load(store: &CookieStore, text: &str) -> Loaded {
    SessionToken::from_sealed(text.to_owned()).map_or(Loaded::Absent, |token| load_at(store, &token, start()))
}

fn instead(updated: Result<Updated, StoreError>) -> SessionToken {
    match updated.unwrap() {
        Updated::Instead(token) => token,
        other => panic!("{other:?}"),
    }
}
