//! The sessions that have ended although their cookies would still open.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::clock::micros;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::store::{Created, Loaded, SessionStore};
use crate::token::SessionToken;

/// A store on the server with an empty record for each session that has ended, until no copy of its cookie can be good.
#[derive(Clone)]
pub(super) struct Revocations(Arc<dyn List>);

impl Revocations {
    pub(super) fn new(store: impl SessionStore) -> Self {
        Self(Arc::new(store))
    }

    pub(super) fn is_server_side(&self) -> bool {
        self.0.is_server_side()
    }

    pub(super) fn is_immediate(&self) -> bool {
        self.0.is_immediate()
    }

    pub(super) fn sweep_interval(&self) -> Option<Duration> {
        self.0.sweep_interval()
    }

    /// Whether the session has ended.
    pub(super) async fn include(&self, session: &Record, now: SystemTime) -> Result<bool, StoreError> {
        Ok(self.0.load(&id(session), now).await? != Loaded::Absent)
    }

    /// Ends the session; `false` if it had ended already. Of several requests that do, exactly one is the first.
    pub(super) async fn add(&self, session: &Record, now: SystemTime) -> Result<bool, StoreError> {
        let mut number = [0; 8];
        crate::random::fill(&mut number)?;
        // A copy may have been refreshed further than this one; beyond the absolute deadline none was.
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

/// What the list knows a session by.
///
/// The CSRF secret is in every copy of a session's cookie, whatever was written since, and a renewal replaces it: the
/// renewed session lives on under the same public handle.
fn id(session: &Record) -> SessionToken {
    let bytes = SessionToken::from_random(session.csrf).derive(b"tower-session-layer revocation v1");
    SessionToken::from_random(bytes)
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What is needed of the store, with its type erased.
trait List: fmt::Debug + Send + Sync {
    fn is_server_side(&self) -> bool;
    fn is_immediate(&self) -> bool;
    fn sweep_interval(&self) -> Option<Duration>;
    fn load<'a>(&'a self, id: &'a SessionToken, now: SystemTime) -> Answer<'a, Loaded>;
    fn create<'a>(&'a self, id: &'a SessionToken, note: &'a Arc<Record>, now: SystemTime) -> Answer<'a, Created>;
    fn sweep(&self, limit: usize, now: SystemTime) -> Answer<'_, usize>;
}

impl<S: SessionStore> List for S {
    fn is_server_side(&self) -> bool {
        !self.token_shape().is_sealed()
    }

    fn is_immediate(&self) -> bool {
        SessionStore::is_immediate(self)
    }

    fn sweep_interval(&self) -> Option<Duration> {
        SessionStore::sweep_interval(self)
    }

    fn load<'a>(&'a self, id: &'a SessionToken, now: SystemTime) -> Answer<'a, Loaded> {
        Box::pin(SessionStore::load(self, id, now))
    }

    fn create<'a>(&'a self, id: &'a SessionToken, note: &'a Arc<Record>, now: SystemTime) -> Answer<'a, Created> {
        Box::pin(SessionStore::create(self, id, note, now))
    }

    fn sweep(&self, limit: usize, now: SystemTime) -> Answer<'_, usize> {
        Box::pin(SessionStore::sweep(self, limit, now))
    }
}
