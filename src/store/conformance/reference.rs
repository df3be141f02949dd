//! The contract in its shortest form: one lock around two maps. Every other store is compared with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::error::StoreError;
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, RevocationMark, SessionStore, Updated};
use crate::token::{SessionToken, StoreKey, TokenShape};

#[derive(Debug, Default)]
pub(super) struct Reference(Mutex<State>);

impl Reference {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for Reference {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    fn is_immediate(&self) -> bool {
        true
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        Ok(self.lock().load(token, now))
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        Ok(self.lock().create(fresh, record, now))
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        Ok(self.lock().update(token, from, change, now))
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        Ok(self.lock().touch(token, version, deadline, now))
    }

    async fn delete(&self, token: &SessionToken, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        Ok(self.lock().delete(token, tombstone, now))
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        Ok(self.lock().owned(owner, now))
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        Ok(self.lock().revoke(owner, revocation, now))
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        Ok(self.lock().sweep(limit, now))
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) slots: HashMap<StoreKey, Slot>,
    pub(super) marks: HashMap<String, RevocationMark>,
}

#[derive(Debug, Clone)]
pub(super) enum Slot {
    Live(Record),
    Tombstone(Tombstone),
}

impl Slot {
    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        match self {
            Self::Live(record) => record.is_expired(now),
            Self::Tombstone(stone) => stone.until() <= now,
        }
    }

    fn is_owned(&self, owner: &str) -> bool {
        matches!(self, Self::Live(record) if record.owner() == Some(owner))
    }
}

impl State {
    pub(super) fn load(&mut self, token: &SessionToken, now: SystemTime) -> Loaded {
        match self.find(token, now) {
            Some(Slot::Live(record)) => Loaded::Live(record.clone().into()),
            Some(Slot::Tombstone(stone)) => Loaded::Tombstone(stone.clone()),
            None => Loaded::Absent,
        }
    }

    pub(super) fn create(&mut self, fresh: &SessionToken, record: &Record, now: SystemTime) -> Created {
        match self.find(fresh, now) {
            Some(Slot::Live(stored)) if stored.version() == record.version() => return Created::Stored,
            Some(_) => return Created::Taken,
            None => {}
        }
        let mark = record.owner().and_then(|owner| self.marks.get(owner));
        if let Some(mark) = mark.filter(|mark| mark.refuses(record)) {
            return Created::Revoked(*mark);
        }
        self.slots.insert(fresh.key(), Slot::Live(record.clone()));
        Created::Stored
    }

    pub(super) fn update(&mut self, token: &SessionToken, from: Version, change: &Change, now: SystemTime) -> Updated {
        let Some(slot) = self.find(token, now) else { return Updated::Gone };
        let Slot::Live(stored) = slot else { return Updated::Gone };
        match change {
            Change::Replace(next, _) if stored.version() == next.version() => {}
            _ if stored.version() != from => return Updated::Conflict,
            Change::Replace(next, deadline) => *stored = (*deadline.apply(stored.deadline(), next.clone())).clone(),
            Change::Retire(stone) => *slot = Slot::Tombstone(stone.clone()),
        }
        Updated::Done
    }

    pub(super) fn touch(
        &mut self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Updated {
        match self.find(token, now) {
            Some(Slot::Live(stored)) if stored.version() == version => {
                stored.touch(deadline, now);
                Updated::Done
            }
            Some(Slot::Live(_)) => Updated::Conflict,
            Some(Slot::Tombstone(_)) | None => Updated::Gone,
        }
    }

    pub(super) fn delete(&mut self, token: &SessionToken, tombstone: Duration, now: SystemTime) -> Deleted {
        match self.find(token, now) {
            None => Deleted::Absent,
            Some(Slot::Tombstone(stone)) => Deleted::Retired(stone.clone()),
            Some(slot) => {
                *slot = Slot::Tombstone(Tombstone::new(TombstoneKind::Destroyed, tombstone, now));
                Deleted::Done
            }
        }
    }

    pub(super) fn owned(&mut self, owner: &str, now: SystemTime) -> Vec<OwnedSession> {
        self.slots.retain(|_, slot| !slot.is_expired(now));
        let live = self.slots.values().filter(|slot| slot.is_owned(owner));
        let records = live.filter_map(|slot| if let Slot::Live(record) = slot { Some(record) } else { None });
        records.map(OwnedSession::from).collect()
    }

    pub(super) fn revoke(&mut self, owner: &str, revocation: &Revocation, now: SystemTime) -> usize {
        if revocation.leaves_mark() {
            self.marks.entry(owner.to_owned()).or_default().add(revocation);
        }
        self.slots.retain(|_, slot| !slot.is_expired(now));
        let mut ended = 0;
        for slot in self.slots.values_mut().filter(|slot| slot.is_owned(owner)) {
            if matches!(slot, Slot::Live(record) if revocation.includes(record.handle())) {
                *slot = Slot::Tombstone(revocation.tombstone(now));
                ended += 1;
            }
        }
        ended
    }

    pub(super) fn sweep(&mut self, limit: usize, now: SystemTime) -> usize {
        let mut swept = 0;
        let mut keep = |is_expired: bool| {
            let goes = is_expired && swept < limit;
            swept += usize::from(goes);
            !goes
        };
        self.slots.retain(|_, slot| keep(slot.is_expired(now)));
        self.marks.retain(|_, mark| keep(mark.is_expired(now)));
        swept
    }

    /// What is there and counts; what is found expired goes.
    fn find(&mut self, token: &SessionToken, now: SystemTime) -> Option<&mut Slot> {
        let key = token.key();
        if self.slots.get(&key)?.is_expired(now) {
            self.slots.remove(&key);
        }
        self.slots.get_mut(&key)
    }
}
