//! The model as a store, with a fault.

mod create;
mod fault;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::yield_now;

pub(super) use self::fault::Fault;
use crate::clock::{micros, monotonic, time};
use crate::conformance::fixture::{Fixture, IDLE, values};
use crate::conformance::model::{Model, is_expired};
use crate::error::StoreError;
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::store::{
    Change, Created, Deadline, Deleted, Loaded, OwnedSession, Revocation, Revoke, SessionStore, Updated,
};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// The model behind a wait before and after each step, with a fault.
#[derive(Debug)]
pub(super) struct FaultyStore {
    model: Mutex<Model>,
    fault: Fault,
    /// The answer that a connection still holds when it is used again after a dropped call.
    buffer: Mutex<Option<Loaded>>,
    /// The owners' lists of a store that keeps them apart from the records.
    lists: Mutex<HashSet<StoreKey>>,
}

impl FaultyStore {
    pub(super) fn new(fault: Fault) -> Self {
        Self { model: Mutex::default(), fault, buffer: Mutex::default(), lists: Mutex::default() }
    }

    async fn step<T>(&self, step: impl FnOnce(&mut Model) -> T) -> T {
        self.wait().await;
        let output = step(&mut self.model.lock().unwrap_or_else(PoisonError::into_inner));
        self.wait().await;
        output
    }

    async fn wait(&self) {
        if !self.is_immediate() {
            yield_now().await;
        }
    }

    async fn put(&self, token: &SessionToken, state: Loaded) {
        self.step(|model| model.sessions.insert(token.key(), state)).await;
    }

    /// Returns the record as it is stored.
    fn stored(&self, record: &Record) -> Result<Record, StoreError> {
        let mut record = record.clone();
        record.owner = record.owner.map(|owner| self.owner(&owner).into());
        if self.max_record_len().is_some_and(|max| record.encoded_len() > max) {
            if self.fault != Fault::TooLargeIsCut {
                return Err(StoreError::new("too large"));
            }
            record.values = values([]);
        }
        Ok(record)
    }

    fn owner(&self, owner: &str) -> String {
        if self.fault == Fault::OwnersIgnoreCase { owner.to_lowercase() } else { owner.to_owned() }
    }

    /// Strikes what is absent from the lists. Returns an owner's sessions that are not listed, out of the model, and
    /// those that are.
    fn listed(&self, model: &mut Model, owner: &str, now: SystemTime) -> (Vec<(StoreKey, Loaded)>, Vec<OwnedSession>) {
        let mut lists = self.lists.lock().unwrap();
        lists.retain(|key| matches!(model.sessions.get(key), Some(Loaded::Live(_))));
        let is_unlisted = |key: &StoreKey, state: &mut Loaded| match state {
            Loaded::Live(record) => record.owner() == Some(owner) && !lists.contains(key),
            _ => false,
        };
        let unlisted: Vec<_> = model.sessions.extract_if(is_unlisted).collect();
        (unlisted, model.owned(owner, now))
    }

    fn now(&self, now: SystemTime) -> SystemTime {
        if self.fault == Fault::DeadlineIsInclusive { time(micros(now).saturating_sub(1)) } else { now }
    }
}

impl SessionStore for FaultyStore {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    fn is_immediate(&self) -> bool {
        self.fault == Fault::NoneAtOnce
    }

    fn max_record_len(&self) -> Option<usize> {
        matches!(self.fault, Fault::TooLargeIsCut | Fault::TooLargeIsUntyped).then_some(10_000)
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        let now = self.now(now);
        let fault = self.fault;
        if fault == Fault::AdoptsSealedTokens && token.random().is_none() {
            return Ok(Loaded::Live(Fixture::new(Self::new(Fault::None).into()).record().into()));
        }
        let loaded = self.step(|model| match (fault, model.sessions.get_mut(&token.key())) {
            (Fault::LoadReturnsExpired, _) => model.load(token, SystemTime::UNIX_EPOCH),
            (Fault::LoadKeepsExpired, Some(state)) if is_expired(state, now) => Loaded::Absent,
            (Fault::LoadMovesDeadline, Some(Loaded::Live(record))) if !record.is_expired(now) => {
                let before = record.clone();
                Arc::make_mut(record).touch(now + IDLE, before.seen());
                Loaded::Live(before)
            }
            _ => model.load(token, now),
        });
        let loaded = loaded.await;
        if fault != Fault::LoadAnswersADroppedOne {
            return Ok(loaded);
        }
        self.buffer.lock().unwrap().get_or_insert(loaded);
        self.wait().await;
        Ok(self.buffer.lock().unwrap().take().unwrap_or(Loaded::Absent))
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        self.create_with_fault(fresh, record, now).await
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let now = self.now(now);
        let mut change = change.clone();
        if let Change::Replace(record, deadline) = &mut change {
            *record = self.stored(record)?.into();
            match self.fault {
                Fault::DeadlineIsAlwaysSet => *deadline = Deadline::Set,
                Fault::DeadlineIsAlwaysKept => *deadline = Deadline::Keep,
                Fault::UpdateLosesTheMoment => Arc::make_mut(record).sign_in = 0,
                _ => {}
            }
        }
        let found = match self.step(|model| model.load(token, now)).await {
            Loaded::Live(record) => Some(record),
            _ => None,
        };
        let version = found.as_ref().map(|record| record.version());
        let is_resent = matches!(&change, Change::Replace(record, _) if version == Some(record.version()));
        let changed = match &change {
            Change::Replace(next, deadline) => {
                Loaded::Live(deadline.apply(found.as_ref().map_or(now, |stored| stored.deadline()), next.clone()))
            }
            Change::Retire(stone) => Loaded::Tombstone(stone.clone()),
        };
        match (self.fault, &mut change) {
            (Fault::UpdateIgnoresVersion, _) => {
                let updated = self.step(|model| {
                    let Loaded::Live(stored) = model.load(token, now) else { return Updated::Gone };
                    model.update(token, stored.version(), &change, now)
                });
                return Ok(updated.await);
            }
            (Fault::UpdateUpserts, Change::Replace(record, _)) if found.is_none() => {
                self.put(token, Loaded::Live(record.clone())).await;
                return Ok(Updated::Done);
            }
            (Fault::ResentUpdateIsConflict, _) if is_resent => return Ok(Updated::Conflict),
            (Fault::ResentUpdateIsAppliedAgain, _) if is_resent => {
                self.put(token, changed).await;
                return Ok(Updated::Done);
            }
            (Fault::LosesSuccessor, Change::Retire(stone)) => {
                *stone = Tombstone::decode(stone.until(), &stone.encode()[..1]).unwrap();
            }
            (Fault::UpdateInTwoSteps, _) if version == Some(from) => {
                self.put(token, changed).await;
                return Ok(Updated::Done);
            }
            (Fault::UpdateInHalves, Change::Replace(next, _)) if version == Some(from) => {
                let half = Record { values: next.values.clone(), ..(**found.as_ref().unwrap()).clone() };
                self.put(token, Loaded::Live(half.into())).await;
            }
            _ => {}
        }
        Ok(self.step(|model| model.update(token, from, &change, now)).await)
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let now = self.now(now);
        let fault = self.fault;
        let Loaded::Live(mut stored) = self.step(|model| model.load(token, now)).await else {
            return Ok(Updated::Gone);
        };
        let asked = if fault == Fault::TouchIgnoresVersion { stored.version() } else { version };
        if fault == Fault::TouchInTwoSteps && stored.version() == version {
            Arc::make_mut(&mut stored).touch(deadline, now);
            self.put(token, Loaded::Live(stored)).await;
            return Ok(Updated::Done);
        }
        let updated = self.step(|model| {
            let updated = model.touch(token, asked, deadline, now);
            if let (Updated::Done, Some(Loaded::Live(record))) = (&updated, model.sessions.get_mut(&token.key())) {
                let record = Arc::make_mut(record);
                match fault {
                    Fault::TouchMovesBack => record.deadline = micros(deadline),
                    Fault::TouchChangesVersion => record.version = Version::new(version.get() ^ 2).unwrap(),
                    _ => {}
                }
            }
            updated
        });
        Ok(updated.await)
    }

    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        let now = self.now(now);
        let fault = self.fault;
        if fault == Fault::DeleteNeedsTheToken && key.locator().is_none() {
            return Ok(Deleted::Absent);
        }
        let deleted = self.step(|model| {
            let deleted = model.delete(key, tombstone, now);
            let left = match (fault, &deleted) {
                (Fault::DeleteLeavesNothing, Deleted::Done) => Loaded::Absent,
                (Fault::DeleteOverwritesTombstones, Deleted::Retired(_))
                | (Fault::DeleteLeavesWhatWasNotThere, Deleted::Absent) => {
                    Loaded::Tombstone(Tombstone::new(TombstoneKind::Destroyed, tombstone, now))
                }
                _ => return deleted,
            };
            model.sessions.insert(*key, left);
            deleted
        });
        Ok(deleted.await)
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        let (fault, now, owner) = (self.fault, self.now(now), self.owner(owner));
        let owned = self.step(|model| match fault {
            Fault::OwnedListsAll => {
                let live = model.sessions.values().filter_map(|state| match state {
                    Loaded::Live(record) => Some(OwnedSession::from(&**record)),
                    _ => None,
                });
                live.collect()
            }
            Fault::ListsWhatIsThereOnly => {
                let (unlisted, listed) = self.listed(model, &owner, now);
                model.sessions.extend(unlisted);
                listed
            }
            _ => model.owned(&owner, now),
        });
        Ok(owned.await)
    }

    async fn count(&self, owner: Option<&str>, now: SystemTime) -> Result<usize, StoreError> {
        if self.is_immediate() {
            return Err(StoreError::unsupported());
        }
        let owner = owner.filter(|_| self.fault != Fault::CountsEverybody);
        let is_counted = |state: &Loaded| match state {
            Loaded::Live(record) => !record.is_expired(now) && (owner.is_none() || record.owner() == owner),
            _ => false,
        };
        Ok(self.step(|model| model.sessions.values().filter(|state| is_counted(state)).count()).await)
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let (fault, mut now, mut owner) = (self.fault, self.now(now), self.owner(owner));
        let mut revocation = revocation.clone();
        match (fault, &mut revocation.which) {
            (Fault::RevokeOthersIsAll, which @ Revoke::Others(_)) => *which = Revoke::All,
            (Fault::RevokeTheseEndsTen, Revoke::These(handles)) => handles.truncate(10),
            (Fault::RevokeTheseOfNoneIsAll, which) if *which == Revoke::These(vec![]) => *which = Revoke::All,
            (Fault::RevokeGoesByTheStoresClock, _) => now = SystemTime::UNIX_EPOCH + 10 * IDLE,
            _ => {}
        }
        let ended = self.step(|model| {
            if let (Fault::RevokeTheseIsAnyones, Revoke::These(handles)) = (fault, &revocation.which) {
                let records = model.sessions.values().filter_map(|state| match state {
                    Loaded::Live(record) if handles.contains(&record.handle) => record.owner().map(str::to_owned),
                    _ => None,
                });
                owner = records.last().unwrap_or_default();
            }
            let is_live = |state: &Loaded| matches!(state, Loaded::Live(_));
            let live = model.sessions.iter().filter(|(_, state)| is_live(state));
            let live: HashSet<_> = live.map(|(key, _)| *key).collect();
            let unlisted = match fault {
                // The sessions that the list does not have are out of its reach.
                Fault::ListsWhatIsThereOnly => self.listed(model, &owner, now).0,
                _ => Vec::new(),
            };
            if fault == Fault::MarkForgetsTheOneBefore {
                model.marks.remove(&owner);
            }
            let ended = model.revoke(&owner, &revocation, now);
            model.sessions.extend(unlisted);
            match fault {
                Fault::RevokeTheseLeavesAMark => {
                    let all = Revocation::new(Revoke::All, Duration::ZERO);
                    model.marks.entry(owner.clone()).or_default().add(&all, model.latest + 1, monotonic());
                }
                Fault::MarkGoesByTheLayersClock if revocation.leaves_mark() => {
                    model.marks.entry(owner.clone()).or_default().add(&revocation, micros(now), now);
                }
                Fault::RevokeLeavesNoMark => model.marks.clear(),
                Fault::RevokeIsDestroy => {
                    for state in model.sessions.iter_mut().filter(|(key, _)| live.contains(key)).map(|(_, state)| state)
                    {
                        if let Loaded::Tombstone(stone) = state {
                            *stone = Tombstone::new(TombstoneKind::Destroyed, Duration::ZERO, stone.until());
                        }
                    }
                }
                _ => {}
            }
            ended
        });
        Ok(ended.await)
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        let (fault, now) = (self.fault, self.now(now));
        if fault == Fault::SweepInTwoSteps {
            let expired = self.step(|model| {
                let expired = model.sessions.iter().filter(|(_, state)| is_expired(state, now));
                expired.map(|(key, _)| *key).take(limit).collect::<Vec<_>>()
            });
            let expired = expired.await;
            self.step(|model| model.sessions.retain(|key, _| !expired.contains(key))).await;
            return Ok(expired.len());
        }
        let swept = self.step(|model| match fault {
            Fault::SweepRemovesNothing => 0,
            Fault::SweepHasNoLimit => model.sweep(usize::MAX, now),
            Fault::SweepRemovesAll if limit > 0 => {
                let swept = model.sweep(limit, now);
                model.sessions.retain(|_, state| matches!(state, Loaded::Tombstone(_)));
                swept
            }
            Fault::SweepForgetsMarks => {
                model.marks.clear();
                model.sweep(limit, now)
            }
            _ => model.sweep(limit, now),
        });
        Ok(swept.await)
    }
}
