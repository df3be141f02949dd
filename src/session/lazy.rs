//! A session that is loaded when it is first asked for.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Extensions;

use super::{Carrier, Head, Session};
use crate::clock::micros;
use crate::cookie::Candidates;
use crate::error::{Error, Kind};
use crate::layer::Shared;
use crate::session::Base;
use crate::store::Answer;

/// A session that is loaded when it is first asked for, as under a layer that is
/// [`lazy`](crate::SessionLayerBuilder::lazy).
///
/// It stands in the request's extensions in place of the [`Session`]. Clones are cheap and mean the same session.
/// A request that never asks makes no store call, waits for no store, and its response shows nothing of the session.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_session_layer::{Error, LazySession};
///
/// async fn handle<B>(request: &Request<B>) -> Result<Option<String>, Error> {
///     let session = LazySession::from_extensions(request.extensions())?.load().await?;
///     session.get("user")
/// }
/// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
/// # use hidden::*;
/// # example(|session| async move {
/// assert!(handle(&Request::new(())).await.unwrap_err().is_no_layer());
///
/// let lazy = LazySession::from(session); // one that is loaded already
/// assert!(lazy.loaded().is_some() && lazy.load().await?.is_new());
/// assert!(lazy.named("__Host-sid").is_some() && lazy.named("admin").is_none());
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
pub struct LazySession(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    outer: Option<Scope>,
    carrier: Carrier,
    state: Mutex<State>,
    /// Whoever loads; others wait, lest one request become two sessions.
    loading: tokio::sync::Mutex<()>,
}

struct State {
    candidates: Candidates,
    /// With the time of its loading, in microseconds.
    session: Option<(Session, u64)>,
    /// Whether a session that is loaded from now on can send a token.
    head: Head,
}

impl LazySession {
    pub(crate) fn new(shared: Arc<Shared>, candidates: Candidates, outer: Option<Scope>, carrier: Carrier) -> Self {
        let state = State { candidates, session: None, head: Head::Open };
        Self(Arc::new(Inner {
            shared,
            outer,
            carrier,
            state: Mutex::new(state),
            loading: tokio::sync::Mutex::default(),
        }))
    }

    /// Returns the session of a request, loaded or not; under a layer that is not lazy it is.
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

    /// Returns the session, which the first call loads.
    ///
    /// # Errors
    ///
    /// The store could not be read or took too long ([`Error::is_unavailable`]), unless the layer was told to
    /// [go on](crate::OnStoreFailure::Continue). The next call tries again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect; the next call loads.
    pub async fn load(&self) -> Result<Session, Error> {
        if let Some(session) = self.loaded() {
            return Ok(session);
        }
        let _turn = self.0.loading.lock().await;
        if let Some(session) = self.loaded() {
            return Ok(session);
        }
        let shared = &self.0.shared;
        let now = shared.clock.now();
        let candidates = self.lock().candidates.clone();
        let base = if candidates.is_empty() { Base::New } else { load(shared, candidates, now).await? };
        let session = Session::new(Arc::clone(shared), base, self.0.outer.clone(), self.0.carrier);
        let mut state = self.lock();
        session.inner().lock().head = state.head;
        state.session = Some((session.clone(), micros(now)));
        Ok(session)
    }

    /// Returns the session if it is loaded.
    pub fn loaded(&self) -> Option<Session> {
        self.lock().session.as_ref().map(|(session, _)| session.clone())
    }

    /// Returns the session of an outer layer with this cookie name, or this one if it is its own.
    pub fn named(&self, cookie: &str) -> Option<Self> {
        find(&Scope::Lazy(self.clone()), cookie).map(Self::from)
    }

    /// Ends the request, and returns the session with the time of its loading if anybody asked for it. Whoever asks from now
    /// on can send no token.
    pub(crate) fn end(&self) -> Option<(Session, u64)> {
        let mut state = self.lock();
        if state.session.is_none() {
            state.head = Head::Sent;
        }
        state.session.clone()
    }

    /// Ends a request whose response will never be sent.
    pub(crate) fn lose(&self) {
        let mut state = self.lock();
        match &state.session {
            Some((session, _)) => session.inner().lose(),
            None => state.head = Head::Lost(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No user code runs under the lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn load(shared: &Shared, mut candidates: Candidates, now: std::time::SystemTime) -> Result<Base, Error> {
    let loaded = match shared.store.open(&mut candidates, now, micros(now)) {
        Answer::Ready(opened) => opened.map(|opened| opened.with(&mut candidates)).map_err(Error::from),
        Answer::Later(opening) => match tokio::time::timeout(shared.store_timeout, opening).await {
            Ok(opened) => opened.map_err(Error::from),
            Err(_) => Err(Kind::TimedOut(shared.store_timeout).into()),
        },
    };
    crate::service::base(shared, loaded)
}

/// A session that is loaded already.
impl From<Session> for LazySession {
    fn from(session: Session) -> Self {
        let inner = session.inner();
        let lazy = Self::new(Arc::clone(&inner.shared), Candidates::default(), inner.outer.clone(), inner.carrier);
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

/// What a layer has put into the extensions.
#[derive(Clone)]
pub(crate) enum Scope {
    Loaded(Session),
    Lazy(LazySession),
}

impl Scope {
    /// Takes the session of the layer around this one, of which there is one at most.
    #[inline]
    pub(crate) fn take(extensions: &mut Extensions) -> Option<Self> {
        if extensions.is_empty() {
            return None;
        }
        match extensions.remove::<Session>() {
            Some(session) => Some(Self::Loaded(session)),
            None => extensions.remove::<LazySession>().map(Self::Lazy),
        }
    }

    /// The session of the innermost layer.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        let loaded = extensions.get::<Session>().cloned().map(Self::Loaded);
        loaded.or_else(|| extensions.get::<LazySession>().cloned().map(Self::Lazy))
    }

    /// The layer, and what brought its tokens.
    pub(crate) fn origin(&self) -> (&Shared, Carrier) {
        match self {
            Self::Loaded(session) => (&session.inner().shared, session.inner().carrier),
            Self::Lazy(lazy) => (&lazy.0.shared, lazy.0.carrier),
        }
    }

    pub(crate) fn cookie(&self) -> &str {
        match self {
            Self::Loaded(session) => session.inner().shared.cookie.name(),
            Self::Lazy(lazy) => lazy.0.shared.cookie.name(),
        }
    }

    fn outer(&self) -> Option<&Self> {
        match self {
            Self::Loaded(session) => session.inner().outer.as_ref(),
            Self::Lazy(lazy) => lazy.0.outer.as_ref(),
        }
    }

    /// The session itself, where it is loaded.
    pub(crate) fn loaded(self) -> Option<Session> {
        match self {
            Self::Loaded(session) => Some(session),
            Self::Lazy(lazy) => lazy.loaded(),
        }
    }
}

/// The session of this cookie name, from the innermost layer outwards.
pub(crate) fn find(innermost: &Scope, cookie: &str) -> Option<Scope> {
    std::iter::successors(Some(innermost), |scope| scope.outer()).find(|scope| scope.cookie() == cookie).cloned()
}
