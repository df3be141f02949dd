//! Sessions in any map that can compare and swap: the short way to a store of one's own.
//!
//! ```text
//! session.<the StoreKey in base64url>                   a record or a tombstone
//! owner.<the SHA-256 of the owner's name in base64url>  the owner's revocation mark and list of sessions
//! ```
//!
//! Each change reads an entry and swaps it, and starts again if another change was faster. Deadlines stand inside the
//! values and decide whether a session lives; the expiry that the map is told is for cleaning up.
//!
//! # Owners
//!
//! A sign-in enters the owner's list, in one swap that gives it its moment, unless the mark that stands there refuses it.
//! Then it writes its record, and reads the mark once more: if the owner's sessions were revoked meanwhile, it removes its
//! record again. A revocation swaps in its mark, then ends the sessions that the list had at that moment. Of two swaps of
//! one entry the second sees the result of the first, so no session escapes. A sign-in that is cut off leaves an entry
//! without a record, which stays for an hour.
//!
//! The list holds each session until its deadline and at least a day longer. Where a deadline moves, the list is updated
//! first. A session that ends leaves the list in a swap of its own. If that swap is lost, the entry is removed when the
//! list is next read or, later, written. No entry is removed before its session was looked at, since a session that has
//! ended by one clock may live by another.

mod list;
mod map;
mod owners;
mod sessions;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::list::{ListedSession, OwnerList};
pub use self::map::{Entry, KeyValue};
use super::format::{FRAME_LEN, bounded};
use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::error::StoreError;
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// Sessions in a [`KeyValue`], with every promise of this crate's own server-side stores.
///
/// # Cost
///
/// | operation | calls of the map |
/// |---|---|
/// | loading | 1 |
/// | a new session | 1 |
/// | a write, a touch, an end | 2 |
/// | signing in | 3 more, for the owner's list, and up to 10 where sessions of the owner ended a day ago or earlier |
/// | moving the deadline of a session that has an owner, ending it, writing to it after the clock stepped back | 2 more |
/// | listing | 1, and 1 for each of the owner's sessions |
/// | revoking | 5, and 2 for each session that ends |
///
/// Each time another process was faster costs two more. An owner's list takes 64 bytes a session: where entries are
/// narrow, [`max_sessions_per_owner`](crate::SessionLayerBuilder::max_sessions_per_owner) keeps it short.
///
/// # Errors
///
/// The errors are those of the map. A damaged list of an owner is an error for signing in as that owner, for listing and
/// revoking, and for moving the deadline of a session of that owner, as a write does when a refresh is due: nobody can
/// tell which revocation a sign-in would escape.
///
/// Over a map that can be read and not be written, live sessions are read, each change is an error, and an expired session
/// is absent as ever. Each load of an expired session then logs the warning `session.expired.kept`.
///
/// [`KeyValue`] has an example.
#[derive(Debug, Clone)]
pub struct KeyValueStore<M>(M);

impl<M: KeyValue> KeyValueStore<M> {
    /// Keeps sessions in this map.
    pub fn new(map: M) -> Self {
        Self(map)
    }
}

impl<M: KeyValue> SessionStore for KeyValueStore<M> {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    fn max_record_len(&self) -> Option<usize> {
        self.0.max_entry_len().map(|len| len.saturating_sub(FRAME_LEN))
    }

    fn sweep_interval(&self) -> Option<Duration> {
        self.0.sweep_interval()
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        Ok(self.find(&token.key(), now).await?.0)
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        bounded(record, self.max_record_len())?;
        let key = fresh.key();
        let Some(owner) = record.owner() else {
            let is_stored = self.insert(&key, record, now).await?.is_some();
            return Ok(if is_stored { Created::Stored } else { Created::Taken });
        };
        let mut record = Arc::clone(record);
        let mut is_taken = false;
        if let Some(moment) = self.enlist(owner, &key, &record, now).await? {
            record = record.with_sign_in(moment).into();
            match self.insert(&key, &record, now).await? {
                // The moment that an earlier sending of this call stored.
                Some(standing) => record = standing,
                None => is_taken = true,
            }
            if let Some(list) = self.admit(owner, &key, &record, now).await? {
                if is_taken {
                    // Unless the session that stands there has this handle, as when `Sealed` sends it again.
                    self.prune(owner, vec![ListedSession::new(&key, &record)], now).await?;
                    return Ok(Created::Taken);
                }
                self.prune_long_ended(owner, &list, now).await;
                return Ok(Created::SignedIn(record.sign_in()));
            }
        }
        let nothing = Tombstone::new(TombstoneKind::Revoked, Duration::ZERO, now);
        // By handle, since a request that has the token already may have written meanwhile.
        let _ = self.retire(&key, |standing| standing.handle() == record.handle(), &nothing, now).await?;
        Ok(Created::Revoked)
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let key = token.key();
        let (next, deadline) = match change {
            Change::Replace(next, deadline) => (next, deadline),
            Change::Retire(tombstone) => {
                return Ok(match self.retire(&key, |standing| standing.version() == from, tombstone, now).await? {
                    Ok(_) => Updated::Done,
                    Err(Loaded::Live(_)) => Updated::Conflict,
                    Err(_) => Updated::Gone,
                });
            }
        };
        bounded(next, self.max_record_len())?;
        let make = |standing: &Record| match standing.version() {
            version if version == next.version() => Err(Updated::Done),
            version if version != from => Err(Updated::Conflict),
            _ => Ok(deadline.apply(standing.deadline(), next.clone())),
        };
        self.replace(&key, make, now).await
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let make = |standing: &Record| {
            if standing.version() != version {
                return Err(Updated::Conflict);
            }
            let mut next = standing.clone();
            next.touch(deadline, now);
            Ok(Arc::new(next))
        };
        self.replace(&token.key(), make, now).await
    }

    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        let tombstone = Tombstone::new(TombstoneKind::Destroyed, tombstone, now);
        Ok(match self.retire(key, |_| true, &tombstone, now).await? {
            Ok(_) => Deleted::Done,
            Err(Loaded::Tombstone(standing)) => Deleted::Retired(standing),
            Err(_) => Deleted::Absent,
        })
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        let listed = self.listed(owner, now).await?;
        Ok(self.prune(owner, listed, now).await?.iter().map(|record| (&**record).into()).collect())
    }

    /// Counts an owner's sessions in the list. All sessions of the map cannot be counted.
    async fn count(&self, owner: Option<&str>, now: SystemTime) -> Result<usize, StoreError> {
        match owner {
            Some(owner) => Ok(self.listed(owner, now).await?.len()),
            None => Err(StoreError::unsupported()),
        }
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let times = self.times(now).await?;
        let add_mark = |list: &mut OwnerList| {
            list.mark.add(revocation, list.next_moment(times), times.age);
            revocation.leaves_mark()
        };
        let list = self.change_list(owner, now, add_mark).await?;
        // A session that signs in while the call goes on stays.
        let latest = if revocation.leaves_mark() { list.mark.moment() } else { u64::MAX };
        let mut listed = list.sessions;
        let (mut ended, mut visited) = (Vec::new(), HashSet::new());
        let tombstone = revocation.tombstone(now);
        loop {
            listed.retain(|session| {
                let is_meant = revocation.includes(session.handle) && session.sign_in <= latest;
                is_meant && visited.insert((session.key, session.handle))
            });
            if listed.is_empty() {
                break;
            }
            for session in listed {
                let is_meant = |record: &Record| record.handle() == session.handle;
                match self.end(&session.key, is_meant, &tombstone, now).await? {
                    Ok(_) => ended.push(session),
                    // The record may be on its way. It must not appear after this call.
                    Err(Loaded::Absent) if session.may_arrive(times) => {
                        self.block(&session.key, &tombstone, now).await?;
                    }
                    Err(_) => {}
                }
            }
            // A renewal lists its new record before the old one ends, so a record that ended first is in the next list.
            listed = self.listed(owner, now).await?;
        }
        self.strike(owner, &ended, now).await?;
        Ok(ended.len())
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        self.0.sweep(limit, now).await
    }
}
