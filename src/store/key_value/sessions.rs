//! The steps on a session's entry.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::yield_now;

use super::list::{ListedSession, Times};
use super::{Entry, KeyValue, KeyValueStore};
use crate::error::StoreError;
use crate::record::{Record, Tombstone};
use crate::store::log::{entry_left, expired_kept, unreadable};
use crate::store::{Loaded, Updated, format};
use crate::token::StoreKey;

/// The record of a session that has ended, or what stands under its key instead: a live session that was not meant, a
/// tombstone, or nothing.
pub(super) type Ended = Result<Arc<Record>, Loaded>;

pub(super) fn session_name(key: &StoreKey) -> String {
    format!("session.{}", key.base64())
}

impl<M: KeyValue> KeyValueStore<M> {
    /// Swaps an entry. Returns `false` where another change was faster, after giving way to it.
    pub(super) async fn swap(
        &self,
        name: &str,
        from: Option<&M::Revision>,
        to: Option<(Vec<u8>, SystemTime)>,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        const CENTURY: Duration = Duration::from_secs(100 * 31_557_600);
        let to = to.and_then(|(bytes, expires)| {
            // An entry that has expired already is not written: many maps take no time left for no limit.
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

    /// Returns the times of one call.
    pub(super) async fn times(&self, now: SystemTime) -> Result<Times, StoreError> {
        let clock = self.0.clock().await?;
        Ok(Times { order: clock.unwrap_or(SystemTime::UNIX_EPOCH), age: clock.unwrap_or(now) })
    }

    /// Writes a new record, and returns it as it stands; `None` if anything else stands under the key.
    pub(super) async fn insert(
        &self,
        key: &StoreKey,
        record: &Arc<Record>,
        now: SystemTime,
    ) -> Result<Option<Arc<Record>>, StoreError> {
        let value = format::record(key, record);
        while !self.swap(&session_name(key), None, Some((value.clone(), record.deadline())), now).await? {
            match self.find(key, now).await? {
                (Loaded::Live(standing), _) if record.is_same(&standing) => return Ok(Some(standing)),
                (_, Some(_)) => return Ok(None),
                (_, None) => {}
            }
        }
        Ok(Some(Arc::clone(record)))
    }

    /// Leaves a tombstone where nothing stands.
    pub(super) async fn block(&self, key: &StoreKey, tombstone: &Tombstone, now: SystemTime) -> Result<(), StoreError> {
        let value = (format::tombstone(key, tombstone, now), tombstone.until());
        self.swap(&session_name(key), None, Some(value), now).await.map(drop)
    }

    /// Finds a session's entry, and removes it if it has expired. An absent session has a revision if an entry of no use
    /// stands in its place: one that cannot be read, or one that has expired and cannot be removed.
    pub(super) async fn find(
        &self,
        key: &StoreKey,
        now: SystemTime,
    ) -> Result<(Loaded, Option<M::Revision>), StoreError> {
        let name = session_name(key);
        loop {
            let Some((bytes, revision)) = self.0.get(&name).await? else { return Ok((Loaded::Absent, None)) };
            match format::decode(key, &bytes, now) {
                Ok(Loaded::Absent) => match self.swap(&name, Some(&revision), None, now).await {
                    Ok(true) => return Ok((Loaded::Absent, None)),
                    Ok(false) => {}
                    Err(error) => {
                        expired_kept(key, error);
                        return Ok((Loaded::Absent, Some(revision)));
                    }
                },
                Ok(loaded) => return Ok((loaded, Some(revision))),
                Err(why) => return Ok((unreadable(key, why), Some(revision))),
            }
        }
    }

    /// Ends a live session if it is the one that is meant, and leaves it in its owner's list.
    pub(super) async fn end(
        &self,
        key: &StoreKey,
        is_meant: impl Fn(&Record) -> bool,
        tombstone: &Tombstone,
        now: SystemTime,
    ) -> Result<Ended, StoreError> {
        loop {
            let (record, revision) = match self.find(key, now).await? {
                (Loaded::Live(record), revision) if is_meant(&record) => (record, revision),
                (standing, _) => return Ok(Err(standing)),
            };
            let value = (format::tombstone(key, tombstone, now), tombstone.until());
            if self.swap(&session_name(key), revision.as_ref(), Some(value), now).await? {
                return Ok(Ok(record));
            }
        }
    }

    /// Ends a live session as [`end`](Self::end) does, and removes it from its owner's list.
    pub(super) async fn retire(
        &self,
        key: &StoreKey,
        is_meant: impl Fn(&Record) -> bool,
        tombstone: &Tombstone,
        now: SystemTime,
    ) -> Result<Ended, StoreError> {
        let ended = self.end(key, is_meant, tombstone, now).await?;
        if let Ok(record) = &ended
            && let Some(owner) = record.owner()
            && let Err(error) = self.strike(owner, &[ListedSession::new(key, record)], now).await
        {
            entry_left(key, error);
        }
        Ok(ended)
    }

    /// Replaces a live record by the one that `make` makes of it, unless `make` answers the call.
    pub(super) async fn replace(
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
            // After a step back, a map that counts time itself keeps the record for longer than it was told with the list.
            // Less than an hour is within the list's slack, and may be the difference between two hosts.
            let back = standing.seen().duration_since(now).unwrap_or_default();
            let has_stepped_back = back > Duration::from_secs(60 * 60);
            if let Some(owner) = next.owner().filter(|_| has_stepped_back || next.deadline() > standing.deadline()) {
                let listed = ListedSession::new(key, &next);
                self.change_list(owner, now, |list| list.enter(listed) || has_stepped_back).await?;
            }
            let value = (format::record(key, &next), next.deadline());
            if self.swap(&session_name(key), revision.as_ref(), Some(value), now).await? {
                return Ok(Updated::Done);
            }
        }
    }
}
