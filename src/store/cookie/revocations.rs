//! The list of revocations: the sessions that have ended although their cookies would still open.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::clock::micros;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::store::object::DynStore;
use crate::store::{Created, Loaded, SessionStore};
use crate::token::SessionToken;

/// A server-side store that holds an empty record for each session that has ended.
///
/// The record lasts until no copy of the session's cookie can be good.
#[derive(Clone)]
pub(super) struct Revocations(Arc<dyn DynStore>);

impl Revocations {
    pub(super) fn new(store: impl SessionStore) -> Self {
        Self(Arc::new(store))
    }

    pub(super) fn is_server_side(&self) -> bool {
        !self.0.token_shape().is_sealed()
    }

    pub(super) fn is_immediate(&self) -> bool {
        self.0.is_immediate()
    }

    pub(super) fn sweep_interval(&self) -> Option<Duration> {
        self.0.sweep_interval()
    }

    /// Returns whether the session has ended.
    pub(super) async fn include(&self, session: &Record, now: SystemTime) -> Result<bool, StoreError> {
        Ok(self.0.load(&id(session), now).await? != Loaded::Absent)
    }

    /// Ends the session. Returns `false` if it had ended already: exactly one of several concurrent calls gets `true`.
    pub(super) async fn add(&self, session: &Record, now: SystemTime) -> Result<bool, StoreError> {
        let mut number = [0; 8];
        crate::random::fill(&mut number)?;
        // Another copy may have a later deadline than this one, but none outlives the absolute deadline.
        let until = session.absolute.max(session.deadline);
        let now_micros = micros(now);
        let note = Record {
            created: now_micros,
            seen: now_micros,
            deadline: until,
            absolute: until,
            version: Version::new(u64::from_be_bytes(number)).unwrap_or(Record::blank().version),
            ..Record::blank()
        };
        match self.0.create(&id(session), &note.into(), now).await? {
            Created::Stored => Ok(true),
            Created::Taken => Ok(false),
            _ => Err(StoreError::new("the list of revocations did not answer as a store on the server")),
        }
    }

    pub(super) async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        self.0.sweep(limit, now).await
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns the token under which the list holds a session, derived from the session's CSRF secret.
///
/// Every copy of a session's cookie holds the same CSRF secret, however often the session was written. A renewal
/// replaces the secret and keeps the handle, so the handle would end the renewed session too.
fn id(session: &Record) -> SessionToken {
    let bytes = SessionToken::from_random(session.csrf).derive(b"tower-session-layer revocation v1");
    SessionToken::from_random(bytes)
}
