//! A request's session, loaded or not, and its layer. These types share a file because they name each other.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use http::Extensions;
use http::header::{HeaderMap, HeaderValue};

use super::overflow::Overflows;
use super::port::{Answer, Boxed, Occasion, Opened};
use super::queues::Queues;
use super::settings::{CacheHeaders, Carrier, TokenHeader};
use super::state::{ResponseHead, SessionState, Stored};
use crate::clock::Clock;
use crate::cookie::{Candidates, SessionCookie, header_candidates};
use crate::error::{Error, StoreError};
use crate::event::{Events, Operation};
use crate::key::CookieKey;
use crate::lifetime::Lifetime;
use crate::random::Random;
use crate::store::{OwnedSession, Revocation};
use crate::token::TokenShape;

/// The session of a request. A handler reads and changes it, and the layer commits it when the handler has answered.
///
/// Clones are cheap and stand for the same session. Reading and changing are synchronous, since the data is already
/// loaded. Nothing reaches the store before the end of the request or [`commit`](Self::commit), which sends all changes
/// as one write. If two requests change one session at the same time, both changes land: the later request replays its
/// changes on the record that the earlier one stored.
///
/// Every method that reveals or changes something is an *access*: it makes the response `Vary: Cookie` and restarts the
/// idle timeout. Extracting the `Session` does not count as access.
///
/// # Examples
///
/// ```
/// use tower_session_layer::{Error, Session};
///
/// fn visit(session: &Session) -> Result<u64, Error> {
///     session.update("visits", |visits: Option<u64>| Some(visits.unwrap_or(0) + 1))?;
///     Ok(session.get("visits")?.unwrap_or_default())
/// }
/// ```
///
#[doc = include_str!("examples.md")]
#[derive(Clone)]
pub struct Session(pub(super) Arc<SessionCell>);

/// The part of a request's session that all clones of the `Session` share.
pub(crate) struct SessionCell {
    pub(crate) shared: Arc<Shared>,
    /// The session of the layer around this one.
    pub(crate) outer: Option<Scope>,
    pub(crate) carrier: Carrier,
    pub(super) state: Mutex<SessionState>,
    /// Serialises the commits of this session: two at once would run an `update` twice.
    pub(crate) commit_lock: tokio::sync::Mutex<()>,
}

/// A session that is loaded when it is first asked for, as under a
/// [lazy](crate::SessionLayerBuilder::lazy) layer.
///
/// It takes the place of the [`Session`] in the request's extensions. Clones are cheap and stand for the same session.
/// A request that never asks for its session makes no store call and does not wait for the store, and its response has
/// no header of the session.
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
pub struct LazySession(pub(super) Arc<LazyCell>);

/// The part of a lazily loaded session that all clones share.
pub(super) struct LazyCell {
    pub(super) shared: Arc<Shared>,
    pub(super) outer: Option<Scope>,
    pub(super) carrier: Carrier,
    pub(super) state: Mutex<LazyState>,
    /// Held while the session is loaded, so that one request never loads two sessions.
    pub(super) loading: tokio::sync::Mutex<()>,
}

pub(super) struct LazyState {
    pub(super) candidates: Candidates,
    /// The session, and the time of its loading in microseconds.
    pub(super) session: Option<(Session, u64)>,
    /// The state of the response's head: a session that is loaded after it can send no token.
    pub(super) head: ResponseHead,
}

/// The settings of a built layer and its store, which all its services and sessions share.
pub(crate) struct Shared {
    pub(crate) store: Box<dyn StorePort>,
    pub(crate) shape: TokenShape,
    pub(crate) is_immediate: bool,
    pub(crate) cookie: SessionCookie,
    pub(crate) token_header: Option<TokenHeader>,
    /// The `Vary` values of a response that depends on the session.
    pub(crate) vary: Vec<HeaderValue>,
    pub(crate) is_lazy: bool,
    pub(crate) lifetime: Lifetime,
    pub(crate) browser_session: bool,
    pub(crate) store_timeout: Duration,
    pub(crate) goes_on_without_store: bool,
    pub(crate) save_on_server_error: bool,
    pub(crate) cache_headers: CacheHeaders,
    pub(crate) clear_site_data: bool,
    /// The smaller of the layer's and the store's bound, in bytes of an encoded record.
    pub(crate) max_record_len: usize,
    pub(crate) max_sessions_per_owner: Option<usize>,
    pub(crate) events: Events,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    /// The keys of `renew_after`: the first seals, all open.
    pub(crate) renewal_keys: Arc<[CookieKey]>,
    pub(crate) queues: Queues,
    pub(crate) overflows: Arc<Overflows>,
}

/// The store as a session sees it, without the store's type.
///
/// The type is erased around two operations, loading the first live candidate and committing a session, and not around
/// each store call. So a networked store costs two boxes a request, and an immediate one none.
pub(crate) trait StorePort: Debug + Send + Sync {
    /// Loads the first live candidate. `micros` is `now` in the unit of records. A store that waits takes the
    /// candidates out.
    fn load(
        &self,
        candidates: &mut Candidates,
        now: SystemTime,
        micros: u64,
    ) -> Answer<Result<Opened, StoreError>, Result<Stored, StoreError>>;
    /// Commits a session, or reloads it. `is_alone` says that no handler holds a clone of the session any more.
    fn commit(&self, session: &Session, occasion: Occasion, is_alone: bool) -> Answer<Result<(), Error>>;
    fn count(&self, owner: Option<String>, now: SystemTime) -> Boxed<Result<usize, StoreError>>;
    fn owned(&self, owner: String, now: SystemTime) -> Boxed<Result<Vec<OwnedSession>, StoreError>>;
    fn revoke(&self, owner: String, revocation: Revocation, now: SystemTime) -> Boxed<Result<usize, StoreError>>;
}

/// A layer's entry in the extensions of a request.
#[derive(Clone)]
pub(crate) enum Scope {
    Loaded(Session),
    Lazy(LazySession),
}

impl Session {
    // Every request makes one, and the cell is too large to be moved for nothing.
    #[expect(clippy::inline_always, reason = "otherwise a request without a cookie costs 1.7 % more instructions")]
    #[inline(always)]
    pub(crate) fn new(shared: Arc<Shared>, stored: Stored, outer: Option<Scope>, carrier: Carrier) -> Self {
        Self(Arc::new(SessionCell {
            shared,
            outer,
            carrier,
            state: Mutex::new(SessionState::new(stored)),
            commit_lock: tokio::sync::Mutex::const_new(()),
        }))
    }

    #[inline]
    pub(crate) fn cell(&self) -> &SessionCell {
        &self.0
    }

    /// Commits at the end of the request.
    pub(crate) fn commit_last(&mut self, occasion: Occasion) -> Answer<Result<(), Error>> {
        let is_alone = Arc::get_mut(&mut self.0).is_some();
        self.0.shared.store.commit(self, occasion, is_alone)
    }

    /// Works on the state, without a lock if this is the only clone.
    #[inline]
    pub(crate) fn with_state<R>(&mut self, work: impl FnOnce(&Shared, &mut SessionState) -> R) -> R {
        match Arc::get_mut(&mut self.0) {
            Some(cell) => {
                let state = cell.state.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
                work(&cell.shared, state)
            }
            None => work(&self.0.shared, &mut self.0.lock()),
        }
    }
}

impl LazySession {
    pub(crate) fn new(shared: Arc<Shared>, candidates: Candidates, outer: Option<Scope>, carrier: Carrier) -> Self {
        let state = Mutex::new(LazyState { candidates, session: None, head: ResponseHead::Open });
        Self(Arc::new(LazyCell { shared, outer, carrier, state, loading: tokio::sync::Mutex::default() }))
    }
}

impl Shared {
    /// Returns whether the token is the session itself.
    pub(crate) fn is_sealed(&self) -> bool {
        self.shape.is_sealed()
    }

    /// Returns the carrier of the tokens of a request and its response.
    ///
    /// A token that comes in the header goes out in the header, so that no script can have the cookie's token sent to
    /// it.
    #[inline]
    pub(crate) fn carrier(&self, request: &HeaderMap) -> Carrier {
        match &self.token_header {
            Some(header) if header.is_used_by(request) => Carrier::Header,
            _ => Carrier::Cookie,
        }
    }

    /// Returns the tokens of a request.
    #[inline]
    pub(crate) fn candidates(&self, request: &HeaderMap, carrier: Carrier) -> Candidates {
        match &self.token_header {
            Some(header) if carrier == Carrier::Header => {
                header_candidates(&header.name, self.cookie.scope(), request, self.shape)
            }
            _ => self.cookie.candidates(request, self.shape),
        }
    }

    /// Returns the stored session that a request goes on with, or an error if the request must not go on.
    #[inline]
    pub(crate) fn go_on_with(&self, loaded: Result<Stored, Error>) -> Result<Stored, Error> {
        loaded.or_else(|error| {
            self.events.failed(Operation::Load, &error);
            if self.goes_on_without_store { Ok(Stored::Unavailable) } else { Err(error) }
        })
    }
}

impl Scope {
    /// Takes the entry of the layer around this one, of which there is one at most.
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

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        match self {
            Self::Loaded(session) => &session.0.shared,
            Self::Lazy(lazy) => &lazy.0.shared,
        }
    }

    fn outer(&self) -> Option<&Self> {
        match self {
            Self::Loaded(session) => session.0.outer.as_ref(),
            Self::Lazy(lazy) => lazy.0.outer.as_ref(),
        }
    }

    /// Finds the session whose cookie has this name, from this layer outwards.
    pub(crate) fn find(&self, cookie: &str) -> Option<Self> {
        std::iter::successors(Some(self), |scope| scope.outer())
            .find(|scope| scope.shared().cookie.name() == cookie)
            .cloned()
    }

    /// Returns the session itself, if it is loaded.
    pub(crate) fn loaded(self) -> Option<Session> {
        match self {
            Self::Loaded(session) => Some(session),
            Self::Lazy(lazy) => lazy.loaded(),
        }
    }
}

/// Access for an import to the session that it goes into.
#[cfg(feature = "import")]
impl Scope {
    /// Returns the entry of the innermost layer.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        let loaded = extensions.get::<Session>().cloned().map(Self::Loaded);
        loaded.or_else(|| extensions.get::<LazySession>().cloned().map(Self::Lazy))
    }

    pub(crate) fn carrier(&self) -> Carrier {
        match self {
            Self::Loaded(session) => session.0.carrier,
            Self::Lazy(lazy) => lazy.0.carrier,
        }
    }
}
