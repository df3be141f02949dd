//! Two server-side stores, while sessions move from one to the other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::forward::{forward, server_side};
use super::{Change, Created, Deadline, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::cookie::SessionCookie;
use crate::error::{ConfigError, StoreError};
use crate::record::{Began, Beginning, Record, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// A store that moves sessions from an old store to a new one as they are used, so that nobody is logged out.
///
/// Loading a session that only the old store has creates it in the new store, unchanged and under the same token, and
/// removes it from the old one; from then on only the new store is asked for it. The cookie does not change. The
/// [guide](crate::guide#from-one-store-to-another) has the procedure. Either store may be [`Sealed`](crate::Sealed).
///
/// **No other process may use the old store alone meanwhile**: it would not find the sessions that have moved.
///
/// # Cost
///
/// | operation | calls |
/// |---|---|
/// | loading a session that has moved, writing to it, touching it | one, as without this store |
/// | loading a session that has not moved | five, once |
/// | loading a token that is unknown, or was ended before it moved | three |
/// | ending a session, or setting its deadline | one more load, at the old store |
/// | listing and sweeping | one at each store; revoking, at most two at each |
///
/// # When a move is broken off
///
/// A crash may leave a session in both stores. The new store then answers for it, and every call that ends the session
/// there or brings its deadline forward removes the old copy first. A revocation of all sessions or of the others wins
/// by its mark.
///
/// A destroy, or a revocation of a single handle, may come while another process moves the session. The move notices
/// it, as long as tombstones stand for longer than a load takes. **If a crash or a request that is given up cuts the
/// move off at just that moment, the end may not hold**: the session then lives on in the new store.
///
/// A session that the new store forgets by itself, as memory that is full does, may be moved again if its old copy still
/// exists. A session larger than the new store's [`max_record_len`](SessionStore::max_record_len) cannot be loaded until
/// the limit is raised.
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
    /// Moves the sessions of the old store to the new one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClientSideStore`] if either is a client-side store, whose sessions are with the clients.
    pub fn new(new: New, old: Old) -> Result<Self, ConfigError> {
        Ok(Self { new: server_side(new, "MovingStore")?, old: server_side(old, "MovingStore")? })
    }

    /// Moves the session of this token if the old store has it, and returns what the old store has instead.
    async fn bring(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        let record = match self.old.load(token, now).await? {
            Loaded::Live(record) | Loaded::Outdated(record) => record,
            rest => return Ok(rest),
        };
        // A record that the new store has already, and the mark for which it refuses this one, are newer.
        // The new store gives it a moment of its own order, and tells by its age which revocations came later.
        let age = record.signed_in().and_then(|signed_in| now.duration_since(signed_in).ok()).unwrap_or_default();
        let record = Record { began: Began::at(Beginning::ago(age)), ..record.with_sign_in(0) };
        self.new.create(token, &record.into(), now).await?;
        let Deleted::Retired(tombstone) = self.old.delete(&token.key(), Duration::ZERO, now).await? else {
            return Ok(Loaded::Absent);
        };
        // A move leaves no tombstone, so somebody has ended the session since this call read it.
        let lasting = tombstone.until().duration_since(now).unwrap_or_default();
        self.new.delete(&token.key(), lasting, now).await?;
        Ok(Loaded::Tombstone(tombstone))
    }

    /// Moves the session for a call that found nothing, and returns whether the call may find it now.
    async fn may_have_come(&self, token: &SessionToken, now: SystemTime) -> Result<bool, StoreError> {
        self.bring(token, now).await.map(|rest| rest == Loaded::Absent)
    }

    /// Returns how many of the sessions to revoke are in both stores.
    async fn doubled(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let old = self.old.owned(owner, now).await?;
        let new = if old.is_empty() { Vec::new() } else { self.new.owned(owner, now).await? };
        let is_doubled = |one: &&OwnedSession| new.iter().any(|other| other.handle == one.handle);
        Ok(old.iter().filter(|one| revocation.includes(one.handle)).filter(is_doubled).count())
    }
}

impl<New: SessionStore, Old: SessionStore> SessionStore for MovingStore<New, Old> {
    // Only the new store is asked to create a session, since no token is minted twice.
    forward!(new: token_shape max_record_len create);

    fn is_immediate(&self) -> bool {
        self.new.is_immediate() && self.old.is_immediate()
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
        // This call has moved the session just now, or another process has, between the two loads.
        match self.new.load(token, now).await? {
            Loaded::Absent => Ok(rest),
            found => Ok(found),
        }
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        // A copy that a crash left in the old store would come back once the new store has forgotten the session.
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

    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        // The old store first: a session that another process moves meanwhile is then in the new one.
        let old = self.old.delete(key, tombstone, now).await?;
        match (self.new.delete(key, tombstone, now).await?, old) {
            (Deleted::Absent, old) => Ok(old),
            (new, _) => Ok(new),
        }
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        // In this order no session is missed that moves meanwhile.
        let old = self.old.owned(owner, now).await?;
        let mut all = self.new.owned(owner, now).await?;
        let only_old = |one: &OwnedSession| all.iter().all(|other| other.handle != one.handle);
        let only_old: Vec<_> = old.into_iter().filter(only_old).collect();
        all.extend(only_old);
        Ok(all)
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let doubled = self.doubled(owner, revocation, now).await?;
        // The old store first: if the call is broken off in between, no session that ended in the new store lives on in it.
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
