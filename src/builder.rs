//! The options of a layer, each with its default and reason.

mod build;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cookie::SameSite;

use crate::clock::Clock;
use crate::cookie::{SessionCookie, SessionCookieBuilder};
use crate::event::{Events, SessionEvent};
use crate::layer::SessionLayer;
use crate::random::Random;
use crate::session::CacheHeaders;
use crate::store::SessionStore;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The absolute timeout unless another is set.
pub(crate) const ABSOLUTE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What to do when the store cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnStoreFailure {
    /// Answers 503 (gRPC: `UNAVAILABLE`) without calling the inner service: "not loaded" must never look like "not
    /// signed in".
    #[default]
    Refuse,
    /// Calls the inner service with a session that is empty, says [`is_unavailable`](crate::Session::is_unavailable)
    /// and refuses every change.
    Continue,
}

/// Collects the options of a [`SessionLayer`](crate::SessionLayer).
///
#[doc = include_str!("builder/examples.md")]
#[must_use = "a builder does nothing until `build` is called"]
pub struct SessionLayerBuilder<S> {
    store: S,
    cookie: SessionCookieBuilder,
    /// The default is what the absolute timeout leaves of 7 days.
    idle: Option<Duration>,
    absolute: Duration,
    not_before: SystemTime,
    renewal: Option<Duration>,
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
    /// The system's, unless another is set.
    clock: Option<Arc<dyn Clock>>,
    random: Random,
}

impl SessionLayer {
    /// Keeps sessions in a store, with every option at its default.
    ///
    /// # Panics
    ///
    /// Never: a test shows that the defaults are valid.
    pub fn new(store: impl SessionStore) -> Self {
        Self::builder(store).build().expect("the defaults are a valid configuration")
    }

    /// Starts with every option at its default.
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

    /// Sets the cookie's name; `__Host-sid` by default. See [`SessionCookieBuilder::name`].
    pub fn cookie_name(mut self, name: impl Into<String>) -> Self {
        self.cookie = self.cookie.name(name);
        self
    }

    /// Sets the cookie's path; `/` by default. See [`SessionCookieBuilder::path`].
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.cookie = self.cookie.path(path);
        self
    }

    /// Sets the cookie's domain; this host only by default. See [`SessionCookieBuilder::domain`].
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie = self.cookie.domain(domain);
        self
    }

    /// Sets `SameSite`; `Lax` by default. See [`SessionCookieBuilder::same_site`].
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.cookie = self.cookie.same_site(same_site);
        self
    }

    /// Keeps the cookie apart per top-level site; off by default. See [`SessionCookieBuilder::partitioned`].
    pub fn partitioned(mut self) -> Self {
        self.cookie = self.cookie.partitioned();
        self
    }

    /// Leaves out `Secure` and the prefix of the default name. See [`SessionCookieBuilder::insecure_http`].
    pub fn insecure_http(mut self) -> Self {
        self.cookie = self.cookie.insecure_http();
        self
    }

    /// Leaves out `HttpOnly`. See [`SessionCookieBuilder::insecure_script_access`].
    pub fn insecure_script_access(mut self) -> Self {
        self.cookie = self.cookie.insecure_script_access();
        self
    }

    /// Leaves out `Max-Age`, so that the cookie ends with the browser; off by default.
    ///
    /// The server enforces both timeouts all the same. A session with an idle timeout of its own, "remember me", gets
    /// its `Max-Age` ([`Session::set_idle_timeout`](crate::Session::set_idle_timeout)).
    pub fn browser_session(mut self) -> Self {
        self.browser_session = true;
        self
    }

    /// Sets after how long without use a session ends; 7 days by default, or the absolute timeout if that is shorter.
    ///
    /// Use moves the deadline once there is a tenth of this to gain, so that most requests write nothing.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    /// Sets after how long a session ends however much it is used; 30 days by default. Nothing extends it, renewal
    /// included.
    pub fn absolute_timeout(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// Ends all sessions that began before this time, everybody's, as after a breach; none by default.
    ///
    /// They are absent as if they had expired; what a store on the server holds of them stays until then. To end those of
    /// one person, use [`Owners::revoke_all`](crate::Owners::revoke_all).
    pub fn not_before(mut self, time: SystemTime) -> Self {
        self.not_before = time;
        self
    }

    /// Replaces the token of a live session once it is so old, as the OWASP Session Management Cheat Sheet advises ("renewal
    /// timeout"), so that a copied token is of use for no longer; off by default.
    ///
    /// A request that accesses the session when that is due gets the new token with its response. For 60 seconds the old
    /// one leads on to the session, for requests that were sent at the same time and for responses that got lost, each of
    /// which is sent the new cookie; after that it is as dead as after [`Session::renew`](crate::Session::renew). Renewing
    /// or signing in again ends it at once.
    ///
    /// Values, owner, CSRF token and both timeouts stay. Where the store fails in it, nothing but a warning comes of it, and
    /// the next request tries again. It costs two writes at that age, and one read and one write for each request that comes
    /// with the old token. [`build`](Self::build) refuses an age of less than 60 seconds, one over the absolute timeout, and
    /// a store whose sessions the client holds.
    pub fn renew_after(mut self, age: Duration) -> Self {
        self.renewal = Some(age);
        self
    }

    /// Sets the timeouts of NIST SP 800-63B-4 for authenticator assurance level 1: 30 days, without an idle timeout of
    /// its own.
    pub fn nist_aal1(self) -> Self {
        self.idle_timeout(30 * DAY).absolute_timeout(30 * DAY)
    }

    /// Sets the timeouts of NIST SP 800-63B-4 for authenticator assurance level 2: 24 hours, idle 1 hour.
    pub fn nist_aal2(self) -> Self {
        self.idle_timeout(HOUR).absolute_timeout(DAY)
    }

    /// Sets the timeouts of NIST SP 800-63B-4 for authenticator assurance level 3: 12 hours, idle 15 minutes.
    pub fn nist_aal3(self) -> Self {
        self.idle_timeout(HOUR / 4).absolute_timeout(12 * HOUR)
    }

    /// Sets how long loading may take, and how long committing may; 5 seconds each by default. Then it is 503.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.store_timeout = timeout;
        self
    }

    /// Sets what happens when the store cannot be read; [`OnStoreFailure::Refuse`] by default.
    pub fn on_store_failure(mut self, what: OnStoreFailure) -> Self {
        self.on_store_failure = what;
        self
    }

    /// Commits changes even where the handler answers 5xx; off by default, since what a failed handler did to the session
    /// is half done more often than not. Its `destroy` and `renew` count either way.
    pub fn save_on_server_error(mut self) -> Self {
        self.save_on_server_error = true;
        self
    }

    /// Sets what happens to `Vary` and `Cache-Control`; [`CacheHeaders::Automatic`] by default.
    pub fn cache_headers(mut self, what: CacheHeaders) -> Self {
        self.cache_headers = what;
        self
    }

    /// Sends `Clear-Site-Data: "cache", "cookies", "storage"` when a session is destroyed, for a sign-out that leaves nothing
    /// in the browser (ASVS 14.3.1); off by default, since it empties the browser's whole store for this site.
    pub fn clear_site_data(mut self) -> Self {
        self.clear_site_data = true;
        self
    }

    /// Lets clients without cookies, native ones and gRPC, carry their token in this header; off by default.
    ///
    /// A request with the header, which may be empty, is such a client's: whatever its cookies say, the session is the one
    /// whose token the header holds, and where a cookie would be set the response brings the token in the header, or an empty
    /// value where the token is to be forgotten. All other requests go on by cookie. So no script can turn a cookie that it
    /// must not read into a header that it can.
    ///
    /// The client keeps the token as a secret, and over TLS only. Across origins a page sees the header only where
    /// `Access-Control-Expose-Headers` names it. Responses that depend on the session vary by the header as well.
    pub fn token_header(mut self, name: impl Into<String>) -> Self {
        self.token_header = Some((name.into(), false));
        self
    }

    /// The same for every client: cookies are neither read nor set.
    pub fn token_header_alone(mut self, name: impl Into<String>) -> Self {
        self.token_header = Some((name.into(), true));
        self
    }

    /// Loads the session only when an extractor or [`LazySession::load`](crate::LazySession::load) first asks for it; off by
    /// default.
    ///
    /// Worth it where many routes under the layer never ask and the store is far away: then they do not wait for it, and go
    /// on when it fails. In the extensions stands a [`LazySession`](crate::LazySession) in place of the
    /// [`Session`](crate::Session).
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Sets how large a session may become, in bytes of its encoded record; 1 MiB by default. More is an error where the
    /// value is set, never a truncation.
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// Sets how many sessions an owner may have; any number by default. After a [sign-in](crate::Session::sign_in) was
    /// committed, those beyond that are ended as by a revocation: of those that signed in before it, the ones used
    /// longest ago.
    ///
    /// Sign-ins count in the order in which they began, and of many at once no more remain than allowed: the last to
    /// begin does. One that as many began after before it was committed is one too many itself: its
    /// [`commit`](crate::Session::commit) is an error that [`is_gone`](crate::Error::is_gone), and at the end of the request
    /// the answer is 503. The same happens once where those bear the time of a clock that ran ahead of this one; signing
    /// in again then succeeds.
    ///
    /// It costs each sign-in one more call of the store, [`owned`](SessionStore::owned), and a
    /// [`revoke`](SessionStore::revoke) for each session that ends, all within the store's timeout. Where the store fails
    /// in these, or says that it cannot list owners, the sign-in stands with a warning, and the owner's next one makes
    /// it good. A store whose sessions the client holds is refused by [`build`](Self::build).
    pub fn max_sessions_per_owner(mut self, most: usize) -> Self {
        self.max_sessions_per_owner = Some(most);
        self
    }

    /// Sets what is told of everything that happens to sessions, for metrics and alarms; nothing by default.
    ///
    /// It is called at once, in the midst of requests and outside any lock, so it must not take long: count, or send
    /// into a channel that never waits. A panic in it is caught and logged the first time, and stops nothing, as long as
    /// panics unwind. Set again, this replaces what was set.
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
    pub fn on_event(mut self, told: impl Fn(&SessionEvent<'_>) + Send + Sync + 'static) -> Self {
        self.events = Events::told(told);
        self
    }

    /// Sets where all time comes from; the operating system's clock by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets where the bytes of tokens and secrets come from; by default a `ChaCha20` generator in each thread, seeded and
    /// reseeded by the operating system. For tests and hardware sources: whoever can guess these bytes has every session.
    ///
    /// An error of the source is a 503, never a weak token.
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
