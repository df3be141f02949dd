//! Two stores on the server, while sessions move from one to the other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Change, Created, Deadline, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::cookie::SessionCookie;
use crate::error::{ConfigError, StoreError};
use crate::record::{Record, Version};
use crate::token::{SessionToken, TokenShape};

/// Brings sessions from an old store over to a new one as they are used, so that nobody is logged out.
///
/// A session that only the old store has is created in the new one under the same token when it is loaded, as it is, and
/// removed from the old one; from then on the new store alone is asked for it. The cookie does not change. The
/// [guide](crate::guide#from-one-store-to-another) has the procedure. Either store may be [`Sealed`](crate::Sealed).
///
/// **No other process may use the old store alone meanwhile**: it would not find what has moved.
///
/// # Cost
///
/// | | calls |
/// |---|---|
/// | loading what has moved, writing to it, touching it | one, as without this |
/// | loading what has not moved | five, once |
/// | loading a token that is unknown, or was ended before it moved | three |
/// | ending a session, or setting its deadline | one more load, at the old store |
/// | listing and sweeping | one at each store; revoking, at most two at each |
///
/// # When a move is broken off
///
/// A crash may leave a session in both stores. It is answered for by the new one, and whatever ends it there or
/// brings its deadline forward removes the old copy first. A destroy that comes while another process moves the
/// session wins as long as tombstones stand for longer than a load takes. A revocation of all or of the others wins
/// by its mark. That of a single handle is noticed by the load that is moving the session: it is lost if that
/// process dies, or the request is given up, at just that moment.
///
/// `RedisStore` and [`KeyValueStore`](crate::KeyValueStore) write a session first and its owner's list after it. Where the
/// process dies, or the client goes away, between the two, the session is in the new store and in no list: it lives on, and
/// no revocation finds it. The other stores of this crate leave none behind like that.
///
/// What the new store forgets by itself, as memory that is full does, may be brought over again if its old copy is
/// still there. A session larger than the new store's
/// [`max_record_len`](SessionStore::max_record_len) cannot be loaded until the limit is raised.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "memory")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_session_layer::{MemoryStore, MovingStore, Sealed, SessionLayer};
///
/// # let old = MemoryStore::new();
/// let new = Sealed::new(MemoryStore::new())?;
/// let sessions = SessionLayer::new(MovingStore::new(new, old)?);
/// assert!(format!("{sessions:?}").contains("MovingStore"));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
#[derive(Debug, Clone)]
pub struct MovingStore<New, Old> {
    new: New,
    old: Old,
}

impl<New: SessionStore, Old: SessionStore> MovingStore<New, Old> {
    /// Moves to the new store what the old one has.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClientSideStore`] where either is a store like `CookieStore`, whose sessions are with the clients.
    pub fn new(new: New, old: Old) -> Result<Self, ConfigError> {
        if new.token_shape().is_sealed() || old.token_shape().is_sealed() {
            return Err(ConfigError::ClientSideStore("MovingStore"));
        }
        Ok(Self { new, old })
    }

    /// Sees to it that the old store has nothing live under this token, and returns what it has instead.
    async fn bring(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        let record = match self.old.load(token, now).await? {
            Loaded::Live(record) | Loaded::Outdated(record) => record,
            rest => return Ok(rest),
        };
        // Whatever the new store has already, or refuses, is newer than this.
        self.new.create(token, &record, now).await?;
        let Deleted::Retired(stone) = self.old.delete(token, Duration::ZERO, now).await? else {
            return Ok(Loaded::Absent);
        };
        // A move leaves no tombstone, so the session was ended since it was read here.
        let lasting = stone.until().duration_since(now).unwrap_or_default();
        self.new.delete(token, lasting, now).await?;
        Ok(Loaded::Tombstone(stone))
    }

    /// Does the same for a call that found nothing, and returns whether it may find something now.
    async fn may_have_come(&self, token: &SessionToken, now: SystemTime) -> Result<bool, StoreError> {
        self.bring(token, now).await.map(|rest| rest == Loaded::Absent)
    }

    /// How many of an owner's sessions that are meant are in both stores.
    async fn doubled(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let old = self.old.owned(owner, now).await?;
        let new = if old.is_empty() { Vec::new() } else { self.new.owned(owner, now).await? };
        let is_doubled = |one: &&OwnedSession| new.iter().any(|other| other.handle == one.handle);
        Ok(old.iter().filter(|one| revocation.includes(one.handle)).filter(is_doubled).count())
    }
}

impl<New: SessionStore, Old: SessionStore> SessionStore for MovingStore<New, Old> {
    fn token_shape(&self) -> TokenShape {
        self.new.token_shape()
    }

    fn is_immediate(&self) -> bool {
        self.new.is_immediate() && self.old.is_immediate()
    }

    fn max_record_len(&self) -> Option<usize> {
        self.new.max_record_len()
    }

    fn sweep_interval(&self) -> Option<Duration> {
        [self.new.sweep_interval(), self.old.sweep_interval()].into_iter().flatten().min()
    }

    fn bind(&mut self, cookie: &SessionCookie) {
        self.new.bind(cookie);
        self.old.bind(cookie);
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        let found = self.new.load(token, now).await?;
        if found != Loaded::Absent {
            return Ok(found);
        }
        let rest = self.bring(token, now).await?;
        // It was brought over just now, here or by another process between the two looks.
        match self.new.load(token, now).await? {
            Loaded::Absent => Ok(rest),
            found => Ok(found),
        }
    }

    /// Asks the new store alone: no token is minted twice.
    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        self.new.create(fresh, record, now).await
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        // A copy that a crash left would come back once the new store has forgotten the session.
        if matches!(change, Change::Retire(_) | Change::Replace(_, Deadline::Set)) {
            self.bring(token, now).await?;
        }
        match self.new.update(token, from, change, now).await? {
            Updated::Gone if self.may_have_come(token, now).await? => self.new.update(token, from, change, now).await,
            updated => Ok(updated),
        }
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        match self.new.touch(token, version, deadline, now).await? {
            Updated::Gone if self.may_have_come(token, now).await? => {
                self.new.touch(token, version, deadline, now).await
            }
            updated => Ok(updated),
        }
    }

    async fn delete(&self, token: &SessionToken, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        // Brought over first, so that the tombstone stands where another process that moves it would create it.
        let rest = self.bring(token, now).await?;
        match (self.new.delete(token, tombstone, now).await?, rest) {
            (Deleted::Absent, Loaded::Tombstone(stone)) => Ok(Deleted::Retired(stone)),
            (deleted, _) => Ok(deleted),
        }
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        // In this order none is missed that moves meanwhile.
        let old = self.old.owned(owner, now).await?;
        let mut all = self.new.owned(owner, now).await?;
        let only_old = |one: &OwnedSession| all.iter().all(|other| other.handle != one.handle);
        let only_old: Vec<_> = old.into_iter().filter(only_old).collect();
        all.extend(only_old);
        Ok(all)
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let doubled = self.doubled(owner, revocation, now).await?;
        // The old store first: broken off in between, nothing that has ended in the new one is left here.
        let old = self.old.revoke(owner, revocation, now).await?;
        let new = self.new.revoke(owner, revocation, now).await?;
        Ok((old + new).saturating_sub(doubled))
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        let new = self.new.sweep(limit, now).await?;
        if new >= limit {
            return Ok(new);
        }
        Ok(new + self.old.sweep(limit - new, now).await?)
    }
}
