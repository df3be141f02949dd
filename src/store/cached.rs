//! A local cache in front of a store that is far away.

// The cache.
mod front;
// The clock by which cached sessions age.
mod monotonic;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::front::{Front, Lookup};
use super::forward::{forward, server_side};
use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::clock::{micros, span};
use crate::cookie::SessionCookie;
use crate::error::{ConfigError, StoreError};
use crate::record::{Record, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// A store that answers repeated loads from this process's memory for a short time.
///
/// Only live sessions are kept, in a [moka](https://docs.rs/moka) cache; an absent or ended session is loaded each time.
/// Every call but a load goes to the store behind, and with it every decision: versions are compared there, so no update
/// is lost and nothing that ended comes back, however old the state is that a request has read. A clone shares the
/// cache. Around a [`Sealed`](crate::Sealed) store the cache spares opening as well, and holds the opened sessions.
///
/// # Staleness
///
/// A load is answered from the cache for [`max_staleness`](CachedStoreBuilder::max_staleness), 3 seconds by default,
/// from the beginning of the load that filled it. For that long a request in this process may read the state before a
/// change that *another* process has made. That includes the end of a session: **a session that was destroyed, renewed
/// or revoked through another process is let in here for that long**, though it can store nothing any more.
/// [`reload`](crate::Session::reload) may read from the cache too. Where that is too much, as for payment or
/// administration, use the store behind without a cache.
///
/// A change through this process is seen at once: each write (applied, refused or unanswered) and each revocation removes
/// the sessions concerned from the cache before it returns, and the result of a load that began before it is not kept.
/// Only a call that was given up and is applied later may be missed for as long as the change of another process.
///
/// The cache serves no session after its deadline, nor one that a call found expired. Time is that of the calls' `now`,
/// and a clock that steps back makes nothing younger.
///
/// # Examples
///
/// ```
/// # #[cfg(all(feature = "file", unix))]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_session_layer::{CachedStore, FileStore, SessionLayer};
///
/// # let temporary = tempfile::tempdir()?;
/// # let directory = temporary.path().join("sessions");
/// let store = FileStore::new(directory)?;
/// let store = CachedStore::builder(store).max_staleness(Duration::from_secs(1)).max_bytes(16 << 20).build()?;
/// let sessions = SessionLayer::new(store);
/// assert!(format!("{sessions:?}").contains("CachedStore"));
/// # Ok(())
/// # }
/// # #[cfg(not(all(feature = "file", unix)))]
/// # fn main() {}
/// ```
#[derive(Debug, Clone)]
pub struct CachedStore<S> {
    back: S,
    front: Arc<Front>,
}

impl<S: SessionStore> CachedStore<S> {
    /// Puts a cache with the default settings in front of a store.
    ///
    /// # Errors
    ///
    /// The errors of [`CachedStoreBuilder::build`].
    pub fn new(back: S) -> Result<Self, ConfigError> {
        Self::builder(back).build()
    }

    /// Starts with the default settings.
    pub fn builder(back: S) -> CachedStoreBuilder<S> {
        CachedStoreBuilder { back, max_staleness: Duration::from_secs(3), max_bytes: 64 << 20 }
    }
}

/// Settings of a [`CachedStore`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_session_layer::{CachedStore, ConfigError, MemoryStore};
///
/// assert!(CachedStore::new(MemoryStore::new()).is_ok());
/// let never = CachedStore::builder(MemoryStore::new()).max_staleness(Duration::ZERO).max_bytes(1 << 20).build();
/// assert!(matches!(never, Err(ConfigError::ZeroBound(_))));
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct CachedStoreBuilder<S> {
    back: S,
    max_staleness: Duration,
    max_bytes: u64,
}

impl<S: SessionStore> CachedStoreBuilder<S> {
    /// Sets for how long a session is served without asking the store behind, 3 seconds by default. In that time a page and
    /// its resources are served, and nobody gets far with a session that was ended elsewhere.
    pub fn max_staleness(mut self, max_staleness: Duration) -> Self {
        self.max_staleness = max_staleness;
        self
    }

    /// Sets how many bytes the cached sessions may take, 64 MiB by default. The least used sessions are removed first.
    ///
    /// The count includes keys, values and owners' names, and an estimate of the structures that hold them: about 300
    /// bytes a session and 60 a value.
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Creates the store.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroBound`] for a staleness or a size of zero, [`ConfigError::ClientSideStore`] for a client-side
    /// store, which has nothing to wait for.
    pub fn build(self) -> Result<CachedStore<S>, ConfigError> {
        let Self { back, max_staleness, max_bytes } = self;
        let back = server_side(back, "CachedStore")?;
        // A staleness below a microsecond is zero, too.
        for (option, bound) in [("max_staleness", span(max_staleness)), ("max_bytes", max_bytes)] {
            if bound == 0 {
                return Err(ConfigError::ZeroBound(option));
            }
        }
        Ok(CachedStore { back, front: Arc::new(Front::new(span(max_staleness), max_bytes)) })
    }
}

/// Every call is one call of the store behind, and as atomic, durable and safe to drop. A guard removes the sessions that
/// the call concerns from the cache, however it ends.
impl<S: SessionStore> SessionStore for CachedStore<S> {
    forward!(back: token_shape is_immediate max_record_len sweep_interval bind);

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        let load = match self.front.find(token.key(), micros(now)) {
            Lookup::Hit(record) => return Ok(Loaded::Live(record)),
            Lookup::Miss(load) => load,
        };
        let loaded = self.back.load(token, now).await?;
        self.front.keep(&load, &loaded);
        Ok(loaded)
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        let _forget = self.front.writing(fresh.key());
        self.back.create(fresh, record, now).await
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let _forget = self.front.writing(token.key());
        self.back.update(token, from, change, now).await
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let _forget = self.front.writing(token.key());
        self.back.touch(token, version, deadline, now).await
    }

    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        let _forget = self.front.writing(*key);
        self.back.delete(key, tombstone, now).await
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        self.front.see(micros(now));
        self.back.owned(owner, now).await
    }

    async fn count(&self, owner: Option<&str>, now: SystemTime) -> Result<usize, StoreError> {
        self.front.see(micros(now));
        self.back.count(owner, now).await
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        self.front.see(micros(now));
        let _forget = self.front.revoking(owner);
        self.back.revoke(owner, revocation, now).await
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        self.front.see(micros(now));
        self.back.sweep(limit, now).await
    }
}
