//! Loads a session when it is first asked for.

use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::SystemTime;

use http::Extensions;

use super::deadline::StoreDeadline;
use super::port::Answer;
use super::request::{LazySession, LazyState, Scope, Session, Shared};
use super::state::{ResponseHead, Stored};
use crate::clock::micros;
use crate::cookie::Candidates;
use crate::error::Error;

impl LazySession {
    /// Returns the session of a request. Under a layer that is not lazy, it is loaded already.
    ///
    /// # Errors
    ///
    /// The request did not come through a [`SessionLayer`](crate::SessionLayer) ([`Error::is_no_layer`]).
    pub fn from_extensions(extensions: &Extensions) -> Result<Self, Error> {
        match extensions.get::<Self>() {
            Some(lazy) => Ok(lazy.clone()),
            None => Session::from_extensions(extensions).map(Self::from),
        }
    }

    /// Returns the session; the first call loads it.
    ///
    /// # Errors
    ///
    /// The store could not be read or took too long ([`Error::is_unavailable`]), and the layer was not told to
    /// [go on](crate::OnStoreFailure::Continue). The next call tries again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect; the next call loads.
    pub async fn load(&self) -> Result<Session, Error> {
        if let Some(session) = self.loaded() {
            return Ok(session);
        }
        let shared = &self.0.shared;
        let deadline = StoreDeadline::new(shared);
        let turn = deadline.wait(async { Ok(self.0.loading.lock().await) }).await;
        if let Some(session) = self.loaded() {
            return Ok(session);
        }
        let now = shared.clock.now();
        let candidates = self.lock().candidates.clone();
        let (_held, loaded) = match turn {
            Ok(held) if candidates.is_empty() => (Some(held), Ok(Stored::New)),
            Ok(held) => (Some(held), load(shared, candidates, &deadline, now).await),
            Err(error) => (None, Err(error)),
        };
        let stored = shared.go_on_with(loaded)?;
        let session = Session::new(Arc::clone(shared), stored, self.0.outer.clone(), self.0.carrier);
        let mut state = self.lock();
        if let Some((session, _)) = &state.session {
            // The time of two calls was up at once, and the layer goes on without the store.
            return Ok(session.clone());
        }
        session.cell().lock().head = state.head;
        state.session = Some((session.clone(), micros(now)));
        Ok(session)
    }

    /// Returns the session if it is loaded.
    pub fn loaded(&self) -> Option<Session> {
        self.lock().session.as_ref().map(|(session, _)| session.clone())
    }

    /// Returns the session whose cookie has this name: this session, or that of an outer layer.
    pub fn named(&self, cookie: &str) -> Option<Self> {
        Scope::Lazy(self.clone()).find(cookie).map(Self::from)
    }

    /// Ends the request, and returns the session with the time of its loading, if it was loaded.
    ///
    /// A session that is loaded from now on can send no token.
    pub(crate) fn end(&self) -> Option<(Session, u64)> {
        let mut state = self.lock();
        if state.session.is_none() {
            state.head = ResponseHead::Sent;
        }
        state.session.clone()
    }

    /// Ends a request whose response will never be sent. Returns the session if it is to be destroyed.
    pub(crate) fn abandon(&self) -> Option<Session> {
        let mut state = self.lock();
        let Some((session, _)) = &state.session else {
            state.head = ResponseHead::Lost(0);
            return None;
        };
        session.cell().abandon().then(|| session.clone())
    }

    fn lock(&self) -> MutexGuard<'_, LazyState> {
        // No user code runs under the lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn load(
    shared: &Shared,
    mut candidates: Candidates,
    deadline: &StoreDeadline,
    now: SystemTime,
) -> Result<Stored, Error> {
    match shared.store.load(&mut candidates, now, micros(now)) {
        Answer::Ready(opened) => Ok(opened?.with(&mut candidates)),
        Answer::Later(loading) => deadline.wait(loading).await,
    }
}

/// A session that is loaded already.
impl From<Session> for LazySession {
    fn from(session: Session) -> Self {
        let cell = session.cell();
        let lazy = Self::new(Arc::clone(&cell.shared), Candidates::default(), cell.outer.clone(), cell.carrier);
        lazy.lock().session = Some((session, 0));
        lazy
    }
}

impl From<Scope> for LazySession {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Loaded(session) => session.into(),
            Scope::Lazy(lazy) => lazy,
        }
    }
}

impl fmt::Debug for LazySession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazySession").field("cookie", &self.0.shared.cookie.name()).finish_non_exhaustive()
    }
}
