//! Sessions in any map that can compare and swap: a store of one's own, the short way.
//!
//! ```text
//! session.<the StoreKey in hex>                   a record or a tombstone
//! owner.<the SHA-256 of the owner's name in hex>  the owner's revocation mark and list of sessions
//! ```
//!
//! Each change reads an entry and swaps it; where another was faster it looks again. Deadlines stand inside the values and
//! decide whether a session lives; the expiry that the map is told is for cleaning up.
//!
//! # Owners
//!
//! A sign-in writes its record, then in one swap enters the owner's list unless the mark that stands there refuses it, and
//! removes its record again if so. A revocation swaps in its mark, then ends the sessions that the list had at that moment. Of
//! two swaps of one entry the second sees what the first has left, so no session escapes.
//!
//! The list holds each session until its deadline and a day at least: where a deadline moves, the list is moved first. A
//! session that ends leaves it in a swap of its own. If that is lost, its entry goes when the list is next read or, later,
//! written. None goes unseen, since a session that has ended by one clock may live by another.

mod list;
mod map;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::task::yield_now;

use self::list::List;
pub use self::map::{Entry, KeyValue};
use super::format::{self, Found, HEADER_LEN};
use super::told::{entry_left, unreadable};
use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::error::StoreError;
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// Sessions in a [`KeyValue`], with every promise of the stores that come with this crate.
///
/// # Cost
///
/// | | calls of the map |
/// |---|---|
/// | loading | 1 |
/// | a new session | 1 |
/// | a write, a touch, an end | 2 |
/// | signing in | 2 more, for the owner's list, and up to 10 where sessions of the owner ended a day ago or earlier |
/// | moving the deadline of a session that has an owner, ending it, writing to it after the clock stepped back | 2 more |
/// | listing | 1, and 1 for each of the owner's sessions |
/// | revoking | 5, and 2 for each session that ends |
///
/// Each time another process was faster it is two more. An owner's list takes 56 bytes a session: where entries are narrow,
/// [`max_sessions_per_owner`](crate::SessionLayerBuilder::max_sessions_per_owner) keeps it short.
///
/// # Errors
///
/// Those of the map. An owner's list that is damaged is an error for whoever signs in as that owner, lists, revokes, or
/// moves the deadline of a session of that owner, as a write does when a refresh is due: nobody can tell what a sign-in would
/// escape.
///
/// [`KeyValue`] has an example.
#[derive(Debug, Clone)]
pub struct KeyValueStore<M>(M);

impl<M> KeyValueStore<M> {
    /// Keeps sessions in this map.
    pub fn new(map: M) -> Self
    where
        M: KeyValue,
    {
        Self(map)
    }
}

impl<M: KeyValue> KeyValueStore<M> {
    /// Swaps an entry; `false` where another was faster, after giving way to others.
    async fn swap(
        &self,
        name: &str,
        from: Option<&M::Revision>,
        to: Option<(Vec<u8>, SystemTime)>,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        const CENTURY: Duration = Duration::from_secs(100 * 31_557_600);
        let to = to.and_then(|(bytes, expires)| {
            // What has ended already is not written: many maps take no time left for no limit.
            let ttl = expires.duration_since(now).ok().filter(|ttl| !ttl.is_zero())?;
            Some(Entry { bytes, expires, ttl: ttl.min(CENTURY) })
        });
        let is_swapped = match (from, &to) {
            (None, None) => self.0.get(name).await?.is_none(),
            _ => self.0.compare_and_swap(name, from, to).await?,
        };
        if !is_swapped {
            yield_now().await;
        }
        Ok(is_swapped)
    }

    /// Returns what stands under a session's key. What has expired goes.
    async fn find(&self, key: &StoreKey, now: SystemTime) -> Result<(Loaded, Option<M::Revision>), StoreError> {
        let name = session(key);
        loop {
            let Some((bytes, revision)) = self.0.get(&name).await? else { return Ok((Loaded::Absent, None)) };
            match format::decode(key, &bytes, now) {
                Found::Ours(Loaded::Absent) => {
                    if self.swap(&name, Some(&revision), None, now).await? {
                        return Ok((Loaded::Absent, None));
                    }
                }
                Found::Ours(loaded) => return Ok((loaded, Some(revision))),
                Found::Unreadable(why) => return Ok((unreadable(key, &*why), Some(revision))),
            }
        }
    }

    /// Ends a live session that is meant, without its owner's list.
    async fn end(
        &self,
        key: &StoreKey,
        is_meant: impl Fn(&Record) -> bool,
        stone: &Tombstone,
        now: SystemTime,
    ) -> Result<End, StoreError> {
        loop {
            let (record, revision) = match self.find(key, now).await? {
                (Loaded::Live(record), revision) if is_meant(&record) => (record, revision),
                (Loaded::Live(_), _) => return Ok(End::Spared),
                (Loaded::Tombstone(stone), _) => return Ok(End::Retired(stone)),
                _ => return Ok(End::Absent),
            };
            let value = (format::tombstone(key, stone, now), stone.until());
            if self.swap(&session(key), revision.as_ref(), Some(value), now).await? {
                return Ok(End::Done(record));
            }
        }
    }

    /// The same, and takes it out of its owner's list.
    async fn retire(
        &self,
        key: &StoreKey,
        is_meant: impl Fn(&Record) -> bool,
        stone: &Tombstone,
        now: SystemTime,
    ) -> Result<End, StoreError> {
        let end = self.end(key, is_meant, stone, now).await?;
        if let End::Done(record) = &end
            && let Some(owner) = record.owner()
            && let Err(error) = self.strike(owner, &[list::Entry::of(key, record)], now).await
        {
            entry_left(key, error);
        }
        Ok(end)
    }

    /// Puts another record in place of the live one, made of it; or answers at once.
    async fn replace(
        &self,
        key: &StoreKey,
        make: impl Fn(&Record) -> Result<Arc<Record>, Updated>,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        loop {
            let (Loaded::Live(standing), revision) = self.find(key, now).await? else { return Ok(Updated::Gone) };
            let next = match make(&standing) {
                Ok(next) => next,
                Err(updated) => return Ok(updated),
            };
            // Then a map that counts time itself keeps what is written now for longer than it was told with the list.
            // Below an hour, which is within the list's slack, two hosts may just differ.
            let back = standing.seen().duration_since(now).unwrap_or_default();
            let has_stepped_back = back > Duration::from_secs(60 * 60);
            if let Some(owner) = next.owner().filter(|_| has_stepped_back || next.deadline() > standing.deadline()) {
                let entry = list::Entry::of(key, &next);
                self.change(owner, now, |list| list.enter(entry) || has_stepped_back).await?;
            }
            let value = (format::record(key, &next), next.deadline());
            if self.swap(&session(key), revision.as_ref(), Some(value), now).await? {
                return Ok(Updated::Done);
            }
        }
    }

    /// Changes an owner's list; the closure says whether there is anything to write. Returns the list as it then is.
    async fn change(
        &self,
        owner: &str,
        now: SystemTime,
        mut change: impl FnMut(&mut List) -> bool,
    ) -> Result<List, StoreError> {
        let digest = StoreKey::from_bytes(Sha256::digest(owner).into());
        let name = format!("owner.{digest}");
        loop {
            let (mut list, revision) = match self.0.get(&name).await? {
                Some((bytes, revision)) => {
                    let damaged = || StoreError::new("an owner's list is damaged, or of a newer format");
                    (List::decode(&digest, &bytes).ok_or_else(damaged)?, Some(revision))
                }
                None => (List::default(), None),
            };
            if !change(&mut list) {
                return Ok(list);
            }
            let value = (list.encode(&digest), list.expires(now));
            if self.0.max_entry_len().is_some_and(|most| value.0.len() > most) {
                return Err(StoreError::new(
                    "an owner has more sessions than an entry can list: see max_sessions_per_owner",
                ));
            }
            if self.swap(&name, revision.as_ref(), Some(value), now).await? {
                return Ok(list);
            }
        }
    }

    async fn listed(&self, owner: &str, now: SystemTime) -> Result<Vec<list::Entry>, StoreError> {
        Ok(self.change(owner, now, |_| false).await?.entries)
    }

    async fn strike(&self, owner: &str, ended: &[list::Entry], now: SystemTime) -> Result<(), StoreError> {
        if !ended.is_empty() {
            self.change(owner, now, |list| list.strike(ended)).await?;
        }
        Ok(())
    }

    /// Looks at listed sessions, returns those that live, and takes those that have ended out of the list.
    async fn visit(
        &self,
        owner: &str,
        listed: Vec<list::Entry>,
        now: SystemTime,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let (mut live, mut stale) = (Vec::new(), Vec::new());
        for entry in listed {
            match self.find(&entry.key, now).await? {
                (Loaded::Live(record), _) if record.handle() == entry.handle => live.push(record),
                // Of a newer format, perhaps, and then whoever can read it needs the entry.
                (Loaded::Absent, Some(_)) => {}
                _ => stale.push(entry),
            }
        }
        self.strike(owner, &stale, now).await?;
        Ok(live)
    }

    /// Takes some of what ended long ago out of a list: more than a sign-in adds, so that it stays short.
    async fn clear(&self, owner: &str, list: &List, now: SystemTime) {
        let over: Vec<_> = list.over(now).take(4).collect();
        let Some(list::Entry { key, .. }) = over.first().copied() else { return };
        if let Err(error) = self.visit(owner, over, now).await {
            entry_left(&key, error);
        }
    }

    fn bounded(&self, record: &Record) -> Result<(), StoreError> {
        let (len, allowed) = (record.encoded_len(), self.max_record_len().unwrap_or(usize::MAX));
        if len > allowed { Err(StoreError::too_large(len, allowed)) } else { Ok(()) }
    }
}

/// What came of ending a session.
enum End {
    Done(Arc<Record>),
    /// It lives, and was not meant.
    Spared,
    Retired(Tombstone),
    Absent,
}

fn session(key: &StoreKey) -> String {
    format!("session.{key}")
}

impl<M: KeyValue> SessionStore for KeyValueStore<M> {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    fn max_record_len(&self) -> Option<usize> {
        self.0.max_entry_len().map(|len| len.saturating_sub(HEADER_LEN))
    }

    fn sweep_interval(&self) -> Option<Duration> {
        self.0.sweep_interval()
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        Ok(self.find(&token.key(), now).await?.0)
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        self.bounded(record)?;
        let key = fresh.key();
        let value = format::record(&key, record);
        while !self.swap(&session(&key), None, Some((value.clone(), record.deadline())), now).await? {
            match self.find(&key, now).await? {
                (Loaded::Live(standing), _) if standing.version() == record.version() => break,
                (_, Some(_)) => return Ok(Created::Taken),
                (_, None) => {}
            }
        }
        let Some(owner) = record.owner() else { return Ok(Created::Stored) };
        let entry = list::Entry::of(&key, record);
        let list = self.change(owner, now, |list| !list.mark.refuses(record) && list.enter(entry)).await?;
        if !list.mark.refuses(record) {
            self.clear(owner, &list, now).await;
            return Ok(Created::Stored);
        }
        let nothing = Tombstone::new(TombstoneKind::Revoked, Duration::ZERO, now);
        // Somebody who was given the token by other means may have written meanwhile.
        self.retire(&key, |standing| standing.handle() == record.handle(), &nothing, now).await?;
        Ok(Created::Revoked(list.mark))
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
            Change::Retire(stone) => {
                let end = self.retire(&key, |standing| standing.version() == from, stone, now).await?;
                return Ok(match end {
                    End::Done(_) => Updated::Done,
                    End::Spared => Updated::Conflict,
                    End::Retired(_) | End::Absent => Updated::Gone,
                });
            }
        };
        self.bounded(next)?;
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

    async fn delete(&self, token: &SessionToken, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        let stone = Tombstone::new(TombstoneKind::Destroyed, tombstone, now);
        Ok(match self.retire(&token.key(), |_| true, &stone, now).await? {
            End::Done(_) => Deleted::Done,
            End::Retired(stone) => Deleted::Retired(stone),
            End::Spared | End::Absent => Deleted::Absent,
        })
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        let listed = self.listed(owner, now).await?;
        Ok(self.visit(owner, listed, now).await?.iter().map(|record| (&**record).into()).collect())
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let mut listed = if revocation.leaves_mark() {
            let add = |list: &mut List| {
                list.mark.add(revocation);
                true
            };
            self.change(owner, now, add).await?.entries
        } else {
            self.listed(owner, now).await?
        };
        let (mut ended, mut visited) = (Vec::new(), HashSet::new());
        let stone = revocation.tombstone(now);
        loop {
            listed.retain(|entry| revocation.includes(entry.handle) && visited.insert((entry.key, entry.handle)));
            if listed.is_empty() {
                break;
            }
            for entry in listed {
                let end = self.end(&entry.key, |record| record.handle() == entry.handle, &stone, now).await?;
                if matches!(end, End::Done(_)) {
                    ended.push(entry);
                }
            }
            // A renewal lists its new record before the old one ends: one that ended first shows in the next list.
            listed = self.listed(owner, now).await?;
        }
        self.strike(owner, &ended, now).await?;
        Ok(ended.len())
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        self.0.sweep(limit, now).await
    }
}
