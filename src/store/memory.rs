//! Sessions in this process's memory.

// The steps that the store is made of.
mod inner;
// The map.
mod shards;
// What stands in it.
mod slot;
// The index by owner, and the marks of revocations.
mod owners;
// What keeps it within its bounds.
mod evict;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::evict::Evictor;
use self::inner::Inner;
use self::shards::Key;
use self::slot::{Slot, State, longest_record};
use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::clock::micros;
use crate::error::{ConfigError, StoreError};
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::token::{SessionToken, TokenShape};

/// Keeps sessions in this process: the fastest store, gone with the process and not shared with another.
///
/// Loading a session copies shared pointers, never its values. A clone is another handle on the same sessions.
///
/// # Bounds
///
/// The store never holds more than [`max_sessions`](MemoryStoreBuilder::max_sessions) and
/// [`max_bytes`](MemoryStoreBuilder::max_bytes) for longer than the write that exceeds them takes. To make room it
/// removes what has expired, then what has been idle for long: first sessions without an owner, then tombstones, and sessions
/// with an owner last, one by one and only once nothing expired is left anywhere. A flood of anonymous sessions so logs
/// nobody out: they take each other's place. The long-idle are found by sampling, and while there are sessions without an
/// owner, so is what has expired. Evictions are reported by a warning, at most one every ten seconds.
///
/// # Examples
///
/// ```
/// use tower_session_layer::MemoryStore;
///
/// let store = MemoryStore::builder().max_sessions(50_000).max_bytes(64 << 20).build()?;
/// assert!(store.is_empty());
/// # Ok::<_, tower_session_layer::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

/// The bounds of a [`MemoryStore`].
#[derive(Debug, Clone)]
pub struct MemoryStoreBuilder {
    max_sessions: usize,
    max_bytes: usize,
}

/// How many entries a full shard has on average: as many as may be swept in one go while a request waits.
const ENTRIES_PER_SHARD: usize = 256;

impl MemoryStore {
    /// Creates an empty store with the default bounds.
    pub fn new() -> Self {
        MemoryStoreBuilder::default().finish()
    }

    /// Starts a store with bounds of its own.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::default()
    }

    /// Returns how many sessions are held, expired ones that nothing has removed yet among them. Tombstones are none.
    pub fn len(&self) -> usize {
        self.inner.shards.sessions()
    }

    /// Returns whether no session is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes are counted against [`max_bytes`](MemoryStoreBuilder::max_bytes).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
    /// # use hidden::*;
    /// # let (store, _) = stored(|session| async move { session.insert("country", "US") });
    /// assert_eq!((store.len(), store.is_empty()), (1, false));
    /// assert!(store.bytes() > 0);
    ///
    /// let empty = tower_session_layer::MemoryStore::new();
    /// assert_eq!((empty.len(), empty.bytes()), (0, 0));
    /// ```
    pub fn bytes(&self) -> usize {
        self.inner.shards.bytes()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("sessions", &self.len()).field("bytes", &self.bytes()).finish()
    }
}

impl MemoryStoreBuilder {
    /// Sets how many sessions may be held, tombstones among them. The default is 1,000,000.
    #[must_use]
    pub fn max_sessions(mut self, max_sessions: usize) -> Self {
        self.max_sessions = max_sessions;
        self
    }

    /// Sets how many bytes the sessions may take. The default is 1 GiB.
    ///
    /// Counted are keys, values and owners' names, and an estimate of what holds them: about 250 bytes a session and 60
    /// a value. The default leaves a million sessions 1 KiB each, several times what a session commonly
    /// takes, so that this bound is met only where sessions are unusually large, and yet before a common server
    /// runs out of memory.
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Creates the store.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroBound`] for a bound of zero.
    pub fn build(self) -> Result<MemoryStore, ConfigError> {
        for (option, bound) in [("max_sessions", self.max_sessions), ("max_bytes", self.max_bytes)] {
            if bound == 0 {
                return Err(ConfigError::ZeroBound(option));
            }
        }
        Ok(self.finish())
    }

    fn finish(self) -> MemoryStore {
        // 4,096 by default. A sweep holds one at a time, and an eviction finds its candidates in few of them.
        let count = self.max_sessions.div_ceil(ENTRIES_PER_SHARD).clamp(16, 65_536).next_power_of_two();
        MemoryStore { inner: Arc::new(Inner::new(count, Evictor::new(self.max_sessions, self.max_bytes))) }
    }
}

impl Default for MemoryStoreBuilder {
    fn default() -> Self {
        Self { max_sessions: 1_000_000, max_bytes: 1 << 30 }
    }
}

/// Nothing here waits, and every method is one step under its shard's lock.
impl SessionStore for MemoryStore {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    fn is_immediate(&self) -> bool {
        true
    }

    /// Returns what the whole store may hold.
    fn max_record_len(&self) -> Option<usize> {
        Some(longest_record(self.inner.evictor.max_bytes()))
    }

    /// Returns ten seconds: a sweep takes one bounded slice, and skips what cannot have expired without a lock.
    fn sweep_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(10))
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        Ok(Key::of(token).map_or(Loaded::Absent, |(key, secret)| self.inner.load(key, secret, micros(now))))
    }

    /// # Errors
    ///
    /// [`StoreError::too_large`] for a record that takes more than the whole store may hold.
    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        let (key, secret) = Key::of(fresh).ok_or_else(|| StoreError::new("expected a random token"))?;
        self.inner.admit(record)?;
        Ok(self.inner.create(key, secret, record, now))
    }

    /// # Errors
    ///
    /// [`StoreError::too_large`] for a record that takes more than the whole store may hold.
    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        if let Change::Replace(record, _) = change {
            self.inner.admit(record)?;
        }
        let step = |(key, secret)| self.inner.update(key, secret, from, change, micros(now));
        Ok(Key::of(token).map_or(Updated::Gone, step))
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let Some((key, secret)) = Key::of(token) else { return Ok(Updated::Gone) };
        Ok(self.inner.step(key, micros(now), |shard| match shard.get_mut(key) {
            Some(Slot { state: State::Live(record), token }) if token.is(secret) => {
                if record.version == version {
                    Arc::make_mut(record).touch(deadline, now);
                    Updated::Done
                } else {
                    Updated::Conflict
                }
            }
            _ => Updated::Gone,
        }))
    }

    async fn delete(&self, token: &SessionToken, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        let Some((key, secret)) = Key::of(token) else { return Ok(Deleted::Absent) };
        let since = micros(now);
        Ok(self.inner.step(key, since, |shard| match shard.get(key).filter(|slot| slot.is_of(secret)) {
            None => Deleted::Absent,
            Some(Slot { state: State::Retired(rest), .. }) => Deleted::Retired(rest.stone.clone()),
            Some(_) => {
                let stone = Tombstone::new(TombstoneKind::Destroyed, tombstone, now);
                shard.replace(key, State::retired(stone, since), since);
                Deleted::Done
            }
        }))
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        Ok(self.inner.owners.sessions(owner, now, &self.inner.shards))
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        Ok(self.inner.owners.revoke(owner, revocation, now, &self.inner.shards))
    }

    /// Looks at no more than a few thousand entries and goes on there the next time, so a full round may take several
    /// calls. Call it again at once while it returns `limit`; otherwise it has gone round or done its slice, and the
    /// next interval is early enough.
    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        Ok(self.inner.sweep(limit, now))
    }
}
