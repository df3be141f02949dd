//! The options of a layer, each with its default and the reason for it.

mod build;
mod timeouts;
mod token;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::clock::Clock;
use crate::cookie::{SessionCookie, SessionCookieBuilder};
use crate::event::{Events, SessionEvent};
use crate::key::CookieKey;
use crate::layer::SessionLayer;
use crate::lifetime::ABSOLUTE;
use crate::random::Random;
use crate::session::CacheHeaders;
use crate::store::SessionStore;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The treatment of a request whose session the store cannot load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// Answers 503 (gRPC: `UNAVAILABLE`) without calling the inner service, so that "not loaded" never looks like "not
    /// signed in".
    #[default]
    Refuse,
    /// Calls the inner service with an empty session that refuses every change, and whose
    /// [`is_unavailable`](crate::Session::is_unavailable) returns `true`.
    Continue,
}

/// A builder of a [`SessionLayer`](crate::SessionLayer).
///
#[doc = include_str!("builder/examples.md")]
#[must_use = "a builder does nothing until `build` is called"]
pub struct SessionLayerBuilder<S> {
    store: S,
    cookie: SessionCookieBuilder,
    /// 7 days by default, or the absolute timeout if that is shorter.
    idle: Option<Duration>,
    absolute: Duration,
    not_before: SystemTime,
    renewal: Option<Duration>,
    renewal_keys: Arc<[CookieKey]>,
    browser_session: bool,
    store_timeout: Duration,
    on_store_failure: OnStoreFailure,
    save_on_server_error: bool,
    cache_headers: CacheHeaders,
    clear_site_data: bool,
    token_header: Option<(String, bool)>,
    lazy: bool,
    max_record_bytes: usize,
    max_sessions_per_owner: Option<usize>,
    events: Events,
    /// The system's clock unless the program sets another one.
    clock: Option<Arc<dyn Clock>>,
    random: Random,
}

impl SessionLayer {
    /// Makes a layer that keeps sessions in this store, with every option at its default.
    ///
    /// # Panics
    ///
    /// Never: a test shows that the defaults are valid.
    pub fn new(store: impl SessionStore) -> Self {
        Self::builder(store).build().expect("the defaults are a valid configuration")
    }

    /// Starts a builder with every option at its default.
    pub fn builder<S: SessionStore>(store: S) -> SessionLayerBuilder<S> {
        SessionLayerBuilder::new(store)
    }
}

impl<S: SessionStore> SessionLayerBuilder<S> {
    fn new(store: S) -> Self {
        Self {
            store,
            cookie: SessionCookie::builder(),
            idle: None,
            absolute: ABSOLUTE,
            not_before: SystemTime::UNIX_EPOCH,
            renewal: None,
            renewal_keys: Arc::default(),
            browser_session: false,
            store_timeout: Duration::from_secs(5),
            on_store_failure: OnStoreFailure::default(),
            save_on_server_error: false,
            cache_headers: CacheHeaders::default(),
            clear_site_data: false,
            token_header: None,
            lazy: false,
            max_record_bytes: 1024 * 1024,
            max_sessions_per_owner: None,
            events: Events::default(),
            clock: None,
            random: Random::default(),
        }
    }

    /// Sets the time that loading may take, and the time that committing may take; 5 seconds each by default. A request
    /// that exceeds either is answered 503.
    ///
    /// The time includes the waiting for other loads and commits of the same session. If a `destroy` fails because
    /// other commits of its request have used up the time, it is tried again in the background.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.store_timeout = timeout;
        self
    }

    /// Sets the treatment of a request whose session the store cannot load; [`OnStoreFailure::Refuse`] by default.
    pub fn on_store_failure(mut self, what: OnStoreFailure) -> Self {
        self.on_store_failure = what;
        self
    }

    /// Commits the changes of a handler even if it answers 5xx; off by default, since a failed handler may have made
    /// only a part of its changes. A `destroy` and a `renew` take effect in either case.
    pub fn save_on_server_error(mut self) -> Self {
        self.save_on_server_error = true;
        self
    }

    /// Sets whether the layer sets `Vary` and `Cache-Control`; [`CacheHeaders::Automatic`] by default.
    pub fn cache_headers(mut self, what: CacheHeaders) -> Self {
        self.cache_headers = what;
        self
    }

    /// Sends `Clear-Site-Data: "cache", "cookies", "storage"` when a session is destroyed, so that a sign-out leaves
    /// nothing in the browser (ASVS 14.3.1); off by default, since it deletes everything that the browser keeps for
    /// this site.
    pub fn clear_site_data(mut self) -> Self {
        self.clear_site_data = true;
        self
    }

    /// Loads the session only when an extractor or [`LazySession::load`](crate::LazySession::load) first asks for it;
    /// off by default.
    ///
    /// This helps if the store is far away and many routes under the layer need no session. Those routes do not wait
    /// for the store, and they work even when it fails. The request's extensions hold a
    /// [`LazySession`](crate::LazySession) in place of the [`Session`](crate::Session).
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Sets the largest size of a session, in bytes of its encoded record; 1 MiB by default.
    ///
    /// A method whose change would exceed this size returns an error. Nothing is ever cut off.
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Sets the number of sessions that an owner may have; unlimited by default.
    ///
    /// If an owner has more sessions after a [sign-in](crate::Session::sign_in), the commit of the sign-in ends the
    /// surplus, as a revocation would. Of the sessions that signed in earlier, it ends those that were used longest
    /// ago.
    ///
    /// Sign-ins count in the order of the store. If more than `most` run at once, the last `most` in this order stay.
    /// If `most` others come after a sign-in before its surplus is ended, the sign-in is refused:
    /// [`commit`](crate::Session::commit) returns an error that [`is_gone`](crate::Error::is_gone), and at the end of
    /// the request the response is 503.
    ///
    /// Each sign-in waits for a run, within the store timeout: one call of [`owned`](SessionStore::owned), and one of
    /// [`revoke`](SessionStore::revoke) if there is a surplus. Sign-ins of one owner that wait in one process share the
    /// next run. If the store fails in these calls, or cannot list owners, the sign-in stays valid and a warning is
    /// logged. The owner's next sign-in then ends the surplus. [`build`](Self::build) refuses a client-side store.
    pub fn max_sessions_per_owner(mut self, most: usize) -> Self {
        self.max_sessions_per_owner = Some(most);
        self
    }

    /// Sets the event hook, a closure that is called for each [`SessionEvent`], for metrics and alarms; none by
    /// default.
    ///
    /// The hook runs during requests, outside any lock, so it must be quick: count, or send into a channel that never
    /// waits. A panic of the hook is caught, as long as panics unwind, and the first one is logged. It does not affect
    /// the request. A second call of `on_event` replaces the hook.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "memory")]
    /// # fn main() -> Result<(), tower_session_layer::ConfigError> {
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use tower_session_layer::{MemoryStore, SessionEvent, SessionLayer};
    ///
    /// static REFUSED: AtomicU64 = AtomicU64::new(0);
    ///
    /// let sessions = SessionLayer::builder(MemoryStore::new())
    ///     .on_event(|event| match event {
    ///         SessionEvent::Refused { .. } => drop(REFUSED.fetch_add(1, Ordering::Relaxed)),
    ///         SessionEvent::Failed { operation, error, .. } => eprintln!("{operation:?}: {error}"),
    ///         _ => {}
    ///     })
    ///     .build()?;
    /// assert!(format!("{sessions:?}").contains("MemoryStore"));
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "memory"))]
    /// # fn main() {}
    /// ```
    pub fn on_event(mut self, hook: impl Fn(&SessionEvent<'_>) + Send + Sync + 'static) -> Self {
        self.events = Events::new(hook);
        self
    }

    /// Sets the clock of the layer; the operating system's by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets the source of the random bytes in tokens and secrets, for tests and hardware sources; by default
    /// `ChaCha20` under a key that each draw takes from the operating system.
    ///
    /// Anybody who can guess these bytes can take over every session. An error of the source is answered 503 and never
    /// leads to a weak token.
    pub fn insecure_random_source(
        mut self,
        source: impl Fn(&mut [u8]) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.random = Random::new(source);
        self
    }
}

impl<S: fmt::Debug> fmt::Debug for SessionLayerBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayerBuilder")
            .field("store", &self.store)
            .field("cookie", &self.cookie)
            .finish_non_exhaustive()
    }
}
