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

    /// Reads listed sessions, returns those that live, and removes those that have ended from the list.
    pub(super) async fn prune(
        &self,
        owner: &str,
        listed: Vec<ListedSession>,
        now: SystemTime,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let (mut live, mut ended) = (Vec::new(), Vec::new());
        for session in listed {
            match self.find(&session.key, now).await? {
                (Loaded::Live(record), _) if record.handle() == session.handle => live.push(record),
                // The value may be of a newer format. A process that can read it needs the session in the list.
                (Loaded::Absent, Some(_)) => {}
                _ => ended.push(session),
            }
        }
        self.strike(owner, &ended, now).await?;
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
