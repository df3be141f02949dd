//! Two server-side stores, while sessions move from one to the other.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::forward::{forward, server_side};
use super::{Change, Created, Deadline, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::cookie::SessionCookie;
use crate::error::{ConfigError, StoreError};
use crate::random::Random;
use crate::record::{Began, Beginning, Moving, Record, TOMBSTONE, Tombstone, TombstoneKind, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// How often a load looks for a session that other processes move at the same time.
const LOOKS: usize = 8;
const JUST_MOVED: &str = "the session has just moved away and cannot come back for a minute";

/// A store that moves sessions from an old store to a new one as they are used, so that nobody is logged out.
///
/// Loading a session that only the old store has creates it in the new store, with the same values and deadlines and under
/// the same token, and removes it from the old one; from then on only the new store is asked for it. The cookie does not
/// change. The [guide](crate::guide#from-one-store-to-another) has the procedure. Either store may be
/// [`Sealed`](crate::Sealed).
///
/// In the order of an owner's sign-ins, which a list and a limit go by, all sessions of the new store come after those that
/// have not moved. A session that moves counts as if it had signed in then.
///
/// **No other process may use the old store alone meanwhile**: it would not find the sessions that have moved.
///
/// # Cost
///
/// | operation | calls |
/// |---|---|
/// | loading a session that has moved, writing to it, touching it | one, as without this store |
/// | loading a session that has not moved | six, once |
/// | loading a token that is unknown, or was ended before it moved | three |
/// | ending a session by its handle or for its owner | as without this store, at each of the two |
/// | listing, counting and sweeping | one at each store; revoking, at most two at each |
///
/// # When a move is broken off
///
/// A session is never in two places. The old store has it until one step there gives it up; the copy in the new store is
/// no session before that step, and the copy is the session from then on. A process that crashes in between, or a request
/// that is given up, ends no session: the next load goes on where the move stopped.
///
/// An end during a move holds, wherever it comes and however the move goes on. The clocks of the hosts play no part in
/// this.
///
/// If the old store fails or is full at that step, it gives the session up by a tombstone of a minute. A move that is broken
/// off just then, and not gone on with within the minute, ends the session. If the stores are exchanged within that minute,
/// a request with the session is a 503 until the minute is over.
///
/// A session that has not moved cannot be loaded while the old store is read-only, since that store must give it up: the
/// request is a 503, and the next one after the old store takes writes again moves the session.
///
/// A session that the new store forgets by itself, as memory that is full does, is gone. A session larger than the new
/// store's [`max_record_len`](SessionStore::max_record_len) cannot be loaded until the limit is raised. During a move a
/// record takes 18 bytes more. A session whose move has begun may [count](SessionStore::count) twice.
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

    /// Moves the session for which the new store has nothing, or `standing`, a part that a move has left. Returns `None` if
    /// another process was faster: then the new store has to be asked again.
    async fn bring(
        &self,
        token: &SessionToken,
        standing: Option<Arc<Record>>,
        now: SystemTime,
    ) -> Result<Option<Loaded>, StoreError> {
        if let Some(copy) = &standing
            && let Some(session) = self.settle(token, copy, now).await?
        {
            return Ok(Some(Loaded::Live(session)));
        }
        let left = self.old.load(token, now).await?;
        let session = match &left {
            Loaded::Live(record) | Loaded::Outdated(record) => match (record.moving(), &standing) {
                (None, _) => record,
                // The stores were exchanged, and a move the other way had stopped after its second step.
                (Some(Moving::Copy { version, .. }), Some(rest)) if rest.is_rest_for(record) => {
                    let settled = Change::Replace(record.settled(version).into(), Deadline::Keep);
                    self.old.update(token, record.version, &settled, now).await?;
                    return Ok(None);
                }
                (Some(_), _) => return self.clear(token, standing, Loaded::Absent, now).await,
            },
            _ => return self.clear(token, standing, left, now).await,
        };
        let version = Random::default().version(Some(session.version)).map_err(StoreError::new)?;
        let mut copy = session.copy_at(version);
        let is_placed = if let Some(part) = standing {
            copy.sign_in = part.sign_in;
            let copy = Change::Replace(copy.clone().into(), Deadline::Set);
            self.new.update(token, part.version, &copy, now).await? == Updated::Done
        } else {
            // The new store has an order of its own. Its mark says nothing of a session that the old store has.
            copy = Record { began: Began::at(Beginning::elsewhere()), ..copy.with_sign_in(0) };
            let created = self.new.create(token, &Arc::new(copy.clone()), now).await?;
            if let Created::SignedIn(moment) = created {
                copy = copy.with_sign_in(moment);
            }
            match created {
                Created::Stored | Created::SignedIn(_) => true,
                // The owner's sessions were revoked meanwhile, and in the old store first.
                Created::Revoked => return Ok(Some(Loaded::Absent)),
                _ => false,
            }
        };
        let settled = if is_placed { self.settle(token, &copy, now).await? } else { None };
        Ok(settled.map(Loaded::Live))
    }

    /// Makes a copy the session, if the old store gives up the session that was copied, or has done so already.
    async fn settle(
        &self,
        token: &SessionToken,
        copy: &Record,
        now: SystemTime,
    ) -> Result<Option<Arc<Record>>, StoreError> {
        let Some(Moving::Copy { version, sign_in }) = copy.moving() else { return Ok(None) };
        // The rest has the version of this copy, so the old store knows the step again and takes it for no other copy.
        let rest = Change::Replace(copy.rest(sign_in).into(), Deadline::Keep);
        let has_given_up = match self.old.update(token, version, &rest, now).await {
            Ok(updated) => updated == Updated::Done || self.was_given_up(token, copy, now).await?,
            Err(error) => {
                // A store that is full ends a session all the same.
                let stone = Change::Retire(Tombstone::given_up_for(copy.version, now));
                match self.old.update(token, version, &stone, now).await {
                    Ok(Updated::Done) => true,
                    Ok(_) if self.was_given_up(token, copy, now).await? => true,
                    _ => return Err(error),
                }
            }
        };
        let settled = Arc::new(copy.settled(version));
        let change = Change::Replace(settled.clone(), Deadline::Keep);
        if !has_given_up || self.new.update(token, copy.version, &change, now).await? != Updated::Done {
            return Ok(None);
        }
        self.old.delete(&token.key(), Duration::ZERO, now).await?;
        Ok(Some(settled))
    }

    /// Returns whether the old store has a tombstone in place of the rest for this copy.
    async fn was_given_up(&self, token: &SessionToken, copy: &Record, now: SystemTime) -> Result<bool, StoreError> {
        let left = self.old.load(token, now).await?;
        Ok(matches!(left, Loaded::Tombstone(stone) if stone.names(copy.version)))
    }

    /// Ends the part that a move has left of a session which the old store does not have, and returns what is `left` there.
    async fn clear(
        &self,
        token: &SessionToken,
        standing: Option<Arc<Record>>,
        left: Loaded,
        now: SystemTime,
    ) -> Result<Option<Loaded>, StoreError> {
        let is_last = if let Some(part) = standing {
            let stone = match &left {
                Loaded::Tombstone(stone) if !stone.is_given_up() => stone.clone(),
                _ => Tombstone::new(TombstoneKind::Destroyed, TOMBSTONE, now),
            };
            self.new.update(token, part.version, &Change::Retire(stone), now).await? == Updated::Done
        } else {
            // It may have moved between the two loads.
            self.new.load(token, now).await? == Loaded::Absent
        };
        Ok(is_last.then_some(left))
    }

    /// Moves the session for a call that found nothing, and returns whether the call may find it now.
    async fn has_come(&self, token: &SessionToken, now: SystemTime) -> Result<bool, StoreError> {
        self.load(token, now).await.map(|found| matches!(found, Loaded::Live(_) | Loaded::Outdated(_)))
    }

    /// Returns how many of the sessions to revoke would count twice: in the old store there is the rest of a session, or
    /// one whose move has begun.
    async fn doubled(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let old = self.old.owned(owner, now).await?;
        let new = if old.is_empty() { Vec::new() } else { self.new.owned(owner, now).await? };
        let is_doubled = |one: &&OwnedSession| is_rest(one) || new.iter().any(|other| other.handle == one.handle);
        Ok(old.iter().filter(|one| revocation.includes(one.handle)).filter(is_doubled).count())
    }
}

/// Returns whether a list names the rest of a session that has moved. A broken-off move may leave it there.
fn is_rest(one: &OwnedSession) -> bool {
    one.last_seen == SystemTime::UNIX_EPOCH
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
        for _ in 0..LOOKS {
            let standing = match self.new.load(token, now).await? {
                Loaded::Absent => None,
                Loaded::Live(part) | Loaded::Outdated(part) if part.moving().is_some() => Some(part),
                // The stores were exchanged a moment after a move that left a tombstone in place of the rest.
                Loaded::Tombstone(stone) if stone.is_given_up() => {
                    return match self.old.load(token, now).await? {
                        Loaded::Live(_) | Loaded::Outdated(_) => Err(StoreError::new(JUST_MOVED)),
                        _ => Ok(Loaded::Tombstone(stone)),
                    };
                }
                found => return Ok(found),
            };
            if let Some(found) = self.bring(token, standing, now).await? {
                return Ok(found);
            }
        }
        Err(StoreError::new("the session changes as fast as it is moved"))
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        match self.new.update(token, from, change, now).await? {
            Updated::Gone if self.has_come(token, now).await? => self.new.update(token, from, change, now).await,
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
            Updated::Gone if self.has_come(token, now).await? => self.new.touch(token, version, deadline, now).await,
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
        let only_old = |one: &OwnedSession| !is_rest(one) && all.iter().all(|other| other.handle != one.handle);
        let mut only_old: Vec<_> = old.into_iter().filter(only_old).collect();
        // People sign in to the new store alone, so the sessions that have not moved come before all of those there.
        let mut next = all.iter().map(|one| one.sign_in).min().unwrap_or(u64::MAX);
        only_old.sort_unstable_by_key(|one| Reverse(one.sign_in));
        for one in &mut only_old {
            next = next.saturating_sub(1).min(one.sign_in);
            one.sign_in = next;
        }
        all.extend(only_old);
        Ok(all)
    }

    async fn count(&self, owner: Option<&str>, now: SystemTime) -> Result<usize, StoreError> {
        Ok(self.old.count(owner, now).await? + self.new.count(owner, now).await?)
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
