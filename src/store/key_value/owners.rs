//! The steps on an owner's entry.

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::list::{ListedSession, OwnerList};
use super::{KeyValue, KeyValueStore};
use crate::error::StoreError;
use crate::record::Record;
use crate::store::Loaded;
use crate::store::log::entry_left;
use crate::token::StoreKey;

impl<M: KeyValue> KeyValueStore<M> {
    /// Changes an owner's list, and returns the list as it then is. The closure returns whether it has changed anything.
    pub(super) async fn change_list(
        &self,
        owner: &str,
        now: SystemTime,
        mut change: impl FnMut(&mut OwnerList) -> bool,
    ) -> Result<OwnerList, StoreError> {
        let digest = StoreKey::from_bytes(Sha256::digest(owner).into());
        let name = format!("owner.{}", digest.base64());
        loop {
            let (mut list, revision) = match self.0.get(&name).await? {
                Some((bytes, revision)) => {
                    let damaged = || StoreError::new("an owner's list is damaged, or of a newer format");
                    (OwnerList::decode(&digest, &bytes).ok_or_else(damaged)?, Some(revision))
                }
                None => (OwnerList::default(), None),
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

    /// Enters a session in its owner's list before its record is written, and returns the moment of its sign-in; `None` if
    /// the owner's mark refuses it.
    pub(super) async fn enlist(
        &self,
        owner: &str,
        key: &StoreKey,
        record: &Record,
        now: SystemTime,
    ) -> Result<Option<u64>, StoreError> {
        let (times, listed) = (self.times(now).await?, ListedSession::new(key, record));
        let mut moment = None;
        self.change_list(owner, now, |list| {
            // The call may have been sent before.
            let known = list.moment_of(&listed).filter(|_| record.sign_in() == 0);
            let refuses = known.is_none() && list.refuses(record, times);
            if refuses {
                moment = None;
                return false;
            }
            let given = if record.sign_in() > 0 { record.sign_in() } else { list.next_moment(times) };
            let sign_in = known.unwrap_or(given);
            moment = Some(sign_in);
            list.enter(ListedSession { sign_in, ..listed })
        })
        .await?;
        Ok(moment)
    }

    /// Lets a sign-in in whose record is written, and returns the owner's list; `None` if the owner's sessions were revoked
    /// since the sign-in had its moment. Enters the session again if it was struck meanwhile.
    pub(super) async fn admit(
        &self,
        owner: &str,
        key: &StoreKey,
        record: &Record,
        now: SystemTime,
    ) -> Result<Option<OwnerList>, StoreError> {
        let (times, listed) = (self.times(now).await?, ListedSession::new(key, record));
        let list = self.change_list(owner, now, |list| !list.refuses(record, times) && list.enter(listed)).await?;
        Ok((!list.refuses(record, times)).then_some(list))
    }

    /// Reads an owner's list.
    pub(super) async fn listed(&self, owner: &str, now: SystemTime) -> Result<Vec<ListedSession>, StoreError> {
        Ok(self.change_list(owner, now, |_| false).await?.sessions)
    }

    /// Removes sessions from an owner's list.
    pub(super) async fn strike(&self, owner: &str, ended: &[ListedSession], now: SystemTime) -> Result<(), StoreError> {
        if !ended.is_empty() {
            self.change_list(owner, now, |list| list.strike(ended)).await?;
        }
        Ok(())
    }

    /// Reads listed sessions, returns those that live, and removes those that have ended from the list, if it can be changed.
    pub(super) async fn prune(
        &self,
        owner: &str,
        listed: Vec<ListedSession>,
        now: SystemTime,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let (mut live, mut ended, times) = (Vec::new(), Vec::new(), self.times(now).await?);
        for session in listed {
            match self.find(&session.key, now).await? {
                (Loaded::Live(record), _) if record.handle() == session.handle => live.push(record),
                // The value has expired, or it may be of a newer format. A process that can read it needs the session in the
                // list.
                (Loaded::Absent, Some(_)) => {}
                // A sign-in or a move under way lists its session before it writes the record.
                (Loaded::Absent, None) if session.may_arrive(times) => {}
                _ => ended.push(session),
            }
        }
        if let Err(error) = self.strike(owner, &ended, now).await
            && let Some(ListedSession { key, .. }) = ended.first()
        {
            entry_left(key, error);
        }
        Ok(live)
    }

    /// Removes some of the sessions that ended long ago from a list: more than a sign-in adds, so that the list stays short.
    pub(super) async fn prune_long_ended(&self, owner: &str, list: &OwnerList, now: SystemTime) {
        let ended: Vec<_> = list.long_ended(now).take(4).collect();
        let Some(ListedSession { key, .. }) = ended.first().copied() else { return };
        if let Err(error) = self.prune(owner, ended, now).await {
            entry_left(&key, error);
        }
    }
}
