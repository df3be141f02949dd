//! Sessions in this process's memory.

// Eviction, which keeps the store within its bounds.
mod evict;
// The steps that the store is made of: the map and the index by owner together.
mod table;
// The index by owner, and the marks of revocations.
mod owners;
// The map.
mod shards;
// The value under a key: a session or a tombstone.
mod slot;
// The part of a token by which the maps find its session.
mod key;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::evict::Evictor;
use self::key::TokenKey;
use self::slot::longest_record;
use self::table::Table;
use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::clock::micros;
use crate::error::{ConfigError, StoreError};
use crate::record::{Record, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// Keeps sessions in this process.
///
/// This is the fastest store. Its sessions end with the process and are not shared with another one. Loading a session
/// copies shared pointers, never its values. A clone gives access to the same sessions.
///
/// # Bounds
///
/// The store never holds more than [`max_sessions`](MemoryStoreBuilder::max_sessions) and
/// [`max_bytes`](MemoryStoreBuilder::max_bytes) for longer than the write takes that exceeds them. To make room it
/// removes expired sessions first and long-idle ones next: those without an owner, then tombstones, then those with an
/// owner, one by one and only once nothing expired is left anywhere. So a flood of anonymous sessions logs nobody out:
/// they take each other's place. A person who signs in again and again gives up sessions of their own before anybody
/// else loses one. Long-idle sessions are found by sampling, and so are expired ones while there are sessions without an
/// owner. A warning reports evictions, at most every ten seconds.
///
/// The store remembers the latest revocation of each owner for a day ([`Owners`](crate::Owners)), in 256 bytes and the
/// owner's name, and so refuses sign-ins that were under way. To make room it gives up sessions, but no revocation.
/// Revocations take half of `max_bytes` at most: with the default, those of two million owners. Once that half is full,
/// the revocation of another owner ends the sessions, cannot refuse the sign-ins under way, and returns an error that
/// says so. Raise `max_bytes` for a program that revokes the sessions of more owners in a day.
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
    table: Arc<Table>,
    evictor: Arc<Evictor>,
}

/// The bounds of a [`MemoryStore`].
#[derive(Debug, Clone)]
pub struct MemoryStoreBuilder {
    max_sessions: usize,
    max_bytes: usize,
}

/// The slots of a full shard, on average. A request waits at most for the sweep of one shard.
const SLOTS_PER_SHARD: usize = 256;

impl MemoryStore {
    /// Creates an empty store with the default bounds.
    pub fn new() -> Self {
        MemoryStoreBuilder::default().finish()
    }

    /// Starts a store with other bounds.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::default()
    }

    /// Returns the number of sessions, including expired ones that nothing has removed yet. Tombstones do not count.
    pub fn len(&self) -> usize {
        self.table.shards.sessions()
    }

    /// Returns whether no session is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of bytes that count against [`max_bytes`](MemoryStoreBuilder::max_bytes).
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
        self.table.bytes()
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
    /// Sets how many sessions the store may hold, including tombstones. The default is 1,000,000.
    #[must_use]
    pub fn max_sessions(mut self, max_sessions: usize) -> Self {
        self.max_sessions = max_sessions;
        self
    }

    /// Sets how many bytes the sessions and revocations may take. The default is 1 GiB.
    ///
    /// Keys, values and owners' names count, and an estimate of the memory around them: about 250 bytes a session, 430 if
    /// somebody is signed in, and 60 a value. The default leaves each of a million sessions 1 KiB, several times the common size. So only unusually
    /// large sessions meet this bound, and they meet it before a common server runs out of memory.
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
        // 4,096 by default. A sweep locks one at a time, and an eviction finds its candidates in a few of them.
        let count = self.max_sessions.div_ceil(SLOTS_PER_SHARD).clamp(16, 65_536).next_power_of_two();
        let evictor = Evictor::new(self.max_sessions, self.max_bytes);
        MemoryStore { table: Arc::new(Table::new(count)), evictor: Arc::new(evictor) }
    }
}

impl Default for MemoryStoreBuilder {
    fn default() -> Self {
        Self { max_sessions: 1_000_000, max_bytes: 1 << 30 }
    }
}

/// No method waits, and each is one step under the lock of a shard.
impl SessionStore for MemoryStore {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    fn is_immediate(&self) -> bool {
        true
    }

    /// Returns the bytes that the whole store may hold without revocations.
    fn max_record_len(&self) -> Option<usize> {
        Some(longest_record(self.evictor.max_bytes()))
    }

    /// Returns ten seconds: a sweep takes one bounded slice, and skips shards without expired sessions without a lock.
    fn sweep_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(10))
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        Ok(TokenKey::of(token).map_or(Loaded::Absent, |(key, token)| self.table.load(key, token, micros(now))))
    }

    /// # Errors
    ///
    /// [`StoreError::too_large`] for a record that takes more bytes than revocations leave in the whole store.
    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        let (key, token) = TokenKey::of(fresh).ok_or_else(|| StoreError::new("expected a random token"))?;
        self.evictor.admit(record, &self.table)?;
        let created = self.table.create(key, token, record, now);
        self.evictor.make_room(&self.table, Some(key), record.owner(), micros(now));
        Ok(created)
    }

    /// # Errors
    ///
    /// [`StoreError::too_large`] for a record that takes more bytes than revocations leave in the whole store.
    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        if let Change::Replace(record, _) = change {
            self.evictor.admit(record, &self.table)?;
        }
        let Some((key, token)) = TokenKey::of(token) else { return Ok(Updated::Gone) };
        let now = micros(now);
        let updated = self.table.update(key, token, from, change, now);
        let owner = if let Change::Replace(record, _) = change { record.owner() } else { None };
        self.evictor.make_room(&self.table, Some(key), owner, now);
        Ok(updated)
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let step = |(key, token)| self.table.touch(key, token, version, deadline, now);
        Ok(TokenKey::of(token).map_or(Updated::Gone, step))
    }

    /// Takes one step for the key of a token. A key whose bytes came from elsewhere takes a look at every session.
    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        Ok(self.table.delete(key, tombstone, now))
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        Ok(self.table.owners.sessions(owner, now, &self.table.shards))
    }

    async fn count(&self, owner: Option<&str>, _: SystemTime) -> Result<usize, StoreError> {
        Ok(owner.map_or_else(|| self.len(), |owner| self.table.owners.count(owner)))
    }

    /// # Errors
    ///
    /// Revocations take half of the bytes already. The sessions have ended, but sign-ins under way are not refused.
    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let (most, shards) = (self.evictor.max_mark_bytes(), &self.table.shards);
        let ended = self.table.owners.revoke(owner, revocation, most, now, shards);
        self.evictor.make_room(&self.table, None, None, micros(now));
        ended
    }

    /// Looks at a few thousand sessions at most, and the next call goes on from there. So a full round may take several
    /// calls. Call it again at once while it returns `limit`. Otherwise it has gone round or done its slice, and the next
    /// interval is early enough.
    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        Ok(self.table.sweep(limit, now))
    }
}
