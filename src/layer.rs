//! The layer, and what all its services and sessions share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use tower_layer::Layer;

use crate::builder::{CacheHeaders, SessionLayerBuilder};
use crate::clock::{Clock, micros, time};
use crate::commit::Limit;
use crate::cookie::{Candidates, SessionCookie, header_candidates};
use crate::error::{Error, StoreError};
use crate::event::{Events, Operation};
use crate::lifetime::Lifetime;
use crate::random::Random;
use crate::record::{SessionHandle, TOMBSTONE};
use crate::service::SessionService;
use crate::session::{Carrier, Session};
use crate::store::{ErasedStore, OwnedSession, Revocation, Revoke, SessionStore};
use crate::token::{SessionToken, TokenShape};

/// Gives every request of a service its [`Session`].
///
/// The session is loaded before the inner service runs, stands in the request's extensions, and is committed when the
/// inner service has answered. A clone shares store and settings. There is no type parameter, so a program can choose
/// its store at run time and still name the type.
///
/// Stores that wait, as the file store does, need a tokio runtime with timers.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "memory")]
/// # fn main() -> Result<(), tower_session_layer::ConfigError> {
/// use std::time::Duration;
/// use tower_session_layer::{MemoryStore, SessionLayer};
///
/// let sessions = SessionLayer::builder(MemoryStore::new())
///     .cookie_name("__Host-shop")
///     .idle_timeout(Duration::from_secs(30 * 60))
///     .build()?;
/// assert!(format!("{sessions:?}").contains("__Host-shop"));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct SessionLayer {
    pub(crate) shared: Arc<Shared>,
}

impl SessionLayer {
    /// Keeps sessions in a store, with every option at its default.
    ///
    /// # Panics
    ///
    /// Never: the defaults are valid, as a test shows.
    pub fn new(store: impl SessionStore) -> Self {
        Self::builder(store).build().expect("the defaults are a valid configuration")
    }

    /// Starts with the defaults and lets them be changed.
    pub fn builder<S: SessionStore>(store: S) -> SessionLayerBuilder<S> {
        SessionLayerBuilder::new(store)
    }

    /// Returns what lists and revokes an owner's sessions, outside any request.
    pub fn owners(&self) -> Owners {
        Owners::new(Arc::clone(&self.shared))
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService::new(inner, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("cookie", &self.shared.cookie)
            .field("store", &self.shared.store)
            .finish_non_exhaustive()
    }
}

/// What a built layer consists of.
pub(crate) struct Shared {
    pub(crate) store: Box<dyn ErasedStore>,
    pub(crate) shape: TokenShape,
    pub(crate) is_immediate: bool,
    pub(crate) cookie: SessionCookie,
    pub(crate) token_header: Option<TokenHeader>,
    /// What responses vary by that show something of the session.
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
    /// Where commits of one record wait for each other after a conflict.
    pub(crate) queues: Box<[tokio::sync::Mutex<()>]>,
    pub(crate) stamps: Stamps,
}

/// The header that carries tokens for clients without cookies.
pub(crate) struct TokenHeader {
    pub(crate) name: HeaderName,
    /// Whether there is no cookie at all.
    pub(crate) is_alone: bool,
}

/// The latest time given to a sign-in or a revocation: one for all layers that go by the system's clock, since two of
/// them may share a store.
pub(crate) enum Stamps {
    OfTheSystem,
    Own(AtomicU64),
}

static LAST_STAMP: AtomicU64 = AtomicU64::new(0);

impl Stamps {
    fn last(&self) -> &AtomicU64 {
        match self {
            Self::OfTheSystem => &LAST_STAMP,
            Self::Own(last) => last,
        }
    }
}

impl Shared {
    /// Whether the token is the session itself.
    pub(crate) fn is_sealed(&self) -> bool {
        self.shape.is_sealed()
    }

    /// What carries the tokens of a request and its response: what comes in the header goes out in the header, so that no
    /// script can have the cookie's token sent to it that way.
    #[inline]
    pub(crate) fn carrier(&self, request: &HeaderMap) -> Carrier {
        match &self.token_header {
            Some(header) if header.is_alone || request.contains_key(&header.name) => Carrier::Header,
            _ => Carrier::Cookie,
        }
    }

    /// The tokens of a request.
    #[inline]
    pub(crate) fn candidates(&self, request: &HeaderMap, carrier: Carrier) -> Candidates {
        match &self.token_header {
            Some(header) if carrier == Carrier::Header => header_candidates(&header.name, request, self.shape),
            _ => self.cookie.candidates(request, self.shape),
        }
    }

    /// A time for a sign-in or a revocation that no other of this process has, in microseconds: which of two came
    /// first is always clear.
    pub(crate) fn stamp(&self) -> u64 {
        let now = micros(self.clock.now());
        let later = |last: u64| now.max(last.saturating_add(1));
        let last = self.stamps.last().fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(later(last)));
        later(last.unwrap_or_else(|last| last))
    }

    /// Makes every later stamp follow this one, which another process gave out, or this one before it was restarted.
    pub(crate) fn learn(&self, stamp: u64) {
        self.stamps.last().fetch_max(stamp, Ordering::AcqRel);
    }

    pub(crate) fn queue(&self, token: &SessionToken) -> &tokio::sync::Mutex<()> {
        let first = token.secret().first().copied().unwrap_or_default();
        &self.queues[usize::from(first) % self.queues.len()]
    }
}

/// Lists and revokes the sessions of an owner, the one given to [`Session::sign_in`].
///
/// Stores whose sessions the client holds cannot do this: then every method is an error that
/// [`Error::is_unsupported`].
///
/// # Examples
///
/// ```
/// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
/// # use hidden::*;
/// # example(|session| async move {
/// use tower_session_layer::{MemoryStore, Owners, SessionLayer};
///
/// session.sign_in("ada")?;
/// session.commit().await?;
/// let owners: Owners = session.owners(); // outside any request: `SessionLayer::owners`
/// let devices = owners.list("ada").await?;
/// assert_eq!((devices.len(), Some(devices[0].handle)), (1, session.handle()));
///
/// assert_eq!(owners.revoke_others(&session).await?, 0, "there are none");
/// assert!(!owners.revoke("grace", devices[0].handle).await?, "it is not hers");
/// assert!(owners.revoke("ada", devices[0].handle).await?);
/// assert_eq!(owners.revoke_all("ada").await?, 0, "it has ended already");
/// assert!(session.reload().await.unwrap_err().is_gone());
///
/// assert!(SessionLayer::new(MemoryStore::new()).owners().list("ada").await?.is_empty());
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
pub struct Owners(Arc<Shared>);

impl Owners {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Lists an owner's live sessions, the latest sign-in first.
    ///
    /// # Errors
    ///
    /// The store cannot do this, failed, or took too long.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn list(&self, owner: &str) -> Result<Vec<OwnedSession>, Error> {
        let mut sessions = self.wait(Operation::List, self.0.store.owned(owner.to_owned(), self.0.clock.now())).await?;
        sessions.sort_by_key(|session| (std::cmp::Reverse(session.signed_in), session.handle));
        // While a session is being renewed it is there twice.
        sessions.dedup_by_key(|session| session.handle);
        Ok(sessions)
    }

    /// Ends one session and tells whether it was the owner's and live: a handle of somebody else's is "not found".
    ///
    /// # Errors
    ///
    /// The store cannot do this, failed, or took too long: the session may live on.
    ///
    /// # Cancel safety
    ///
    /// The session is there as before, or ended.
    pub async fn revoke(&self, owner: &str, handle: SessionHandle) -> Result<bool, Error> {
        self.end(owner, Revoke::One(handle)).await.map(|ended| ended > 0)
    }

    /// Ends all sessions of an owner, as after a change of password, and returns how many there were.
    ///
    /// Once this has returned, no session remains whose sign-in began before, not even one that was being committed. The
    /// session of the request that asks is one of them, if it is the owner's: what is changed in it from then on is dropped,
    /// and its cookie stays with the client, worth nothing. To sign out here too, and remove the cookie, end the others and
    /// then this one:
    ///
    /// ```
    /// # use tower_session_layer::{Error, Session};
    /// async fn sign_out_everywhere(session: Session) -> Result<(), Error> {
    ///     session.owners().revoke_others(&session).await?;
    ///     session.destroy()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The store cannot do this, failed, or took too long: some sessions may live on. Do it again.
    ///
    /// # Cancel safety
    ///
    /// As with errors.
    pub async fn revoke_all(&self, owner: &str) -> Result<usize, Error> {
        self.end(owner, Revoke::All).await
    }

    /// Ends all other sessions of a session's owner ("log out everywhere else"), and returns how many there were: none
    /// if nobody is signed in.
    ///
    /// Where this request has signed the same owner in again, that is committed first.
    ///
    /// # Errors
    ///
    /// As for [`revoke_all`](Self::revoke_all).
    ///
    /// # Cancel safety
    ///
    /// As with errors.
    pub async fn revoke_others(&self, session: &Session) -> Result<usize, Error> {
        match (session.owner(), session.handle()) {
            (Some(owner), Some(handle)) => {
                if session.signs_in_again() {
                    session.commit().await?;
                }
                self.end(&owner, Revoke::Others(handle)).await
            }
            _ => Ok(0),
        }
    }

    async fn end(&self, owner: &str, which: Revoke) -> Result<usize, Error> {
        let revocation = Revocation::new(which, time(self.0.stamp()), TOMBSTONE);
        let revoking = self.0.store.revoke(owner.to_owned(), revocation, self.0.clock.now());
        let ended = self.wait(Operation::Revoke, revoking).await?;
        self.0.events.revoked(ended);
        Ok(ended)
    }

    async fn wait<T>(
        &self,
        operation: Operation,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Error> {
        let answer = Limit::new(&self.0).wait(asked).await;
        if let Err(error) = answer.as_ref()
            && !error.is_unsupported()
        {
            self.0.events.failed(operation, error);
        }
        answer
    }
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owners").field(&self.0.store).finish()
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use super::*;

    #[test]
    fn layers_on_the_systems_clock_share_their_stamps() {
        let layers = [(); 2].map(|()| SessionLayer::new(crate::MemoryStore::new()));
        let stamps: Vec<_> = (0..10_000).map(|at| layers[at % 2].shared.stamp()).collect();
        assert!(stamps.is_sorted_by(|one, next| one < next));
    }
}
