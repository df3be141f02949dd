//! The reference with a fault.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::task::yield_now as wait;

use crate::clock::{micros, time};
use crate::error::StoreError;
use crate::record::{Record, SessionHandle, Tombstone, TombstoneKind, Version};
use crate::store::conformance::lab;
use crate::store::conformance::reference::{Reference, Slot, State};
use crate::store::{
    Change, Created, Deadline, Deleted, Loaded, OwnedSession, Revocation, Revoke, SessionStore, Updated,
};
use crate::token::{SessionToken, TokenShape};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    AdoptsSealedTokens,
    CreateInTwoSteps,
    CreateOverwrites,
    DeadlineIsAlwaysKept,
    DeadlineIsAlwaysSet,
    DeadlineIsInclusive,
    DeleteLeavesNothing,
    DeleteLeavesWhatWasNotThere,
    DeleteOverwritesTombstones,
    LoadAnswersADroppedOne,
    LoadKeepsExpired,
    LoadMovesDeadline,
    LoadReturnsExpired,
    LosesFlash,
    LosesSuccessor,
    MarkGoesByTheClock,
    MarkIsReadFirst,
    MarkSparesNobody,
    OwnedListsAll,
    OwnersIgnoreCase,
    ResentCreateIsTaken,
    ResentUpdateIsAppliedAgain,
    ResentUpdateIsConflict,
    RevokeGoesByItsMark,
    RevokeIsDestroy,
    RevokeLeavesNoMark,
    RevokeOneIsAnyones,
    RevokeOthersIsAll,
    RoundsToMillis,
    SweepForgetsMarks,
    SweepHasNoLimit,
    SweepInTwoSteps,
    SweepRemovesAll,
    SweepRemovesNothing,
    TooLargeIsCut,
    TooLargeIsUntyped,
    TouchChangesVersion,
    TouchIgnoresVersion,
    TouchInTwoSteps,
    TouchMovesBack,
    UpdateIgnoresVersion,
    UpdateInHalves,
    UpdateInTwoSteps,
    UpdateUpserts,
}

/// The reference behind a wait before and after each step, with a fault.
#[derive(Debug)]
pub(super) struct Faulty {
    inner: Reference,
    fault: Fault,
    /// What a connection holds that is used again after a call was dropped.
    buffer: Mutex<Option<Loaded>>,
}

impl Faulty {
    pub(super) fn new(fault: Fault) -> Self {
        Self { inner: Reference::default(), fault, buffer: Mutex::default() }
    }

    async fn step<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        wait().await;
        let output = step(&mut self.inner.lock());
        wait().await;
        output
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn limit(&self, record: &Record) -> Result<Record, StoreError> {
        match self.max_record_len() {
            Some(max) if record.encoded_len() > max => match self.fault {
                Fault::TooLargeIsCut => Ok(Record { values: lab::values([]), ..record.clone() }),
                _ => Err(StoreError::new("too large")),
            },
            _ => Ok(record.clone()),
        }
    }

    fn owner(&self, owner: &str) -> String {
        if self.is(Fault::OwnersIgnoreCase) { owner.to_lowercase() } else { owner.to_owned() }
    }

    /// Where times end one microsecond late.
    fn now(&self, now: SystemTime) -> SystemTime {
        if self.is(Fault::DeadlineIsInclusive) { time(micros(now).saturating_sub(1)) } else { now }
    }
}

impl SessionStore for Faulty {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    fn max_record_len(&self) -> Option<usize> {
        matches!(self.fault, Fault::TooLargeIsCut | Fault::TooLargeIsUntyped).then_some(10_000)
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        let now = self.now(now);
        let fault = self.fault;
        if fault == Fault::AdoptsSealedTokens && token.random().is_none() {
            return Ok(Loaded::Live(lab::Lab::new(Reference::default().into()).record().into()));
        }
        let loaded = self.step(|state| match fault {
            Fault::LoadReturnsExpired => state.load(token, SystemTime::UNIX_EPOCH),
            Fault::LoadKeepsExpired => match state.slots.get(&token.key()) {
                Some(slot) if slot.is_expired(now) => Loaded::Absent,
                _ => state.load(token, now),
            },
            Fault::LoadMovesDeadline => {
                let loaded = state.load(token, now);
                if let Some(Slot::Live(record)) = state.slots.get_mut(&token.key()) {
                    record.deadline = record.deadline.max(micros(now + lab::IDLE));
                }
                loaded
            }
            _ => state.load(token, now),
        });
        if fault != Fault::LoadAnswersADroppedOne {
            return Ok(loaded.await);
        }
        let loaded = loaded.await;
        self.buffer.lock().unwrap().get_or_insert(loaded);
        wait().await;
        Ok(self.buffer.lock().unwrap().take().unwrap_or(Loaded::Absent))
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        let mut record = self.limit(record)?;
        record.owner = record.owner.map(|owner| self.owner(&owner).into());
        match self.fault {
            Fault::LosesFlash => record.flash = lab::values([]),
            Fault::RoundsToMillis => record.deadline = record.deadline / 1_000 * 1_000,
            Fault::CreateInTwoSteps => {
                let found = self.step(|state| state.load(fresh, now)).await;
                if found == Loaded::Absent {
                    self.step(|state| state.slots.insert(fresh.key(), Slot::Live(record))).await;
                    return Ok(Created::Stored);
                }
            }
            Fault::CreateOverwrites => {
                self.step(|state| state.slots.remove(&fresh.key())).await;
            }
            Fault::ResentCreateIsTaken if self.step(|state| state.load(fresh, now)).await != Loaded::Absent => {
                return Ok(Created::Taken);
            }
            Fault::MarkIsReadFirst => {
                let mark = self.step(|state| state.marks.get(record.owner().unwrap_or_default()).copied());
                if let Some(mark) = mark.await.filter(|mark| mark.refuses(&record)) {
                    return Ok(Created::Revoked(mark));
                }
                let stored = self.step(|state| {
                    let marks = std::mem::take(&mut state.marks);
                    let created = state.create(fresh, &record, now);
                    state.marks = marks;
                    created
                });
                return Ok(stored.await);
            }
            Fault::MarkSparesNobody => {
                let mark = self.step(|state| state.marks.get(record.owner().unwrap_or_default()).copied());
                // A stranger's handle is never spared.
                let stranger = Record { handle: SessionHandle::from_bytes([0; 16]), ..record.clone() };
                if let Some(mark) = mark.await.filter(|mark| mark.refuses(&stranger)) {
                    return Ok(Created::Revoked(mark));
                }
            }
            _ => {}
        }
        Ok(self.step(|state| state.create(fresh, &record, now)).await)
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
            *record = self.limit(record)?.into();
            let changed = Arc::make_mut(record);
            changed.owner = changed.owner.take().map(|owner| self.owner(&owner).into());
            match self.fault {
                Fault::DeadlineIsAlwaysSet => *deadline = Deadline::Set,
                Fault::DeadlineIsAlwaysKept => *deadline = Deadline::Keep,
                _ => {}
            }
        }
        let found = match self.step(|state| state.load(token, now)).await {
            Loaded::Live(record) => Some(record),
            _ => None,
        };
        let version = found.as_ref().map(|record| record.version());
        match (self.fault, &mut change) {
            (Fault::UpdateIgnoresVersion, _) => {
                let updated = self.step(|state| {
                    let Loaded::Live(stored) = state.load(token, now) else { return Updated::Gone };
                    state.update(token, stored.version(), &change, now)
                });
                return Ok(updated.await);
            }
            (Fault::UpdateUpserts, Change::Replace(record, _)) if found.is_none() => {
                self.step(|state| state.slots.insert(token.key(), Slot::Live((**record).clone()))).await;
                return Ok(Updated::Done);
            }
            (Fault::ResentUpdateIsConflict, Change::Replace(record, _)) if version == Some(record.version()) => {
                return Ok(Updated::Conflict);
            }
            (Fault::ResentUpdateIsAppliedAgain, Change::Replace(record, deadline))
                if version == Some(record.version()) =>
            {
                let stored = found.map_or(SystemTime::UNIX_EPOCH, |stored| stored.deadline());
                let again = deadline.apply(stored, record.clone());
                self.step(|state| state.slots.insert(token.key(), Slot::Live((*again).clone()))).await;
                return Ok(Updated::Done);
            }
            (Fault::LosesSuccessor, Change::Retire(stone)) => {
                *stone = Tombstone::decode(stone.until(), &stone.encode()[..1]).unwrap();
            }
            (Fault::UpdateInTwoSteps, _) if version == Some(from) => {
                let slot = match change {
                    Change::Replace(next, deadline) => {
                        Slot::Live((*deadline.apply(found.map_or(now, |stored| stored.deadline()), next)).clone())
                    }
                    Change::Retire(stone) => Slot::Tombstone(stone),
                };
                self.step(|state| state.slots.insert(token.key(), slot)).await;
                return Ok(Updated::Done);
            }
            (Fault::UpdateInHalves, Change::Replace(next, _)) if version == Some(from) => {
                let half = Record { values: next.values.clone(), ..(**found.as_ref().unwrap()).clone() };
                self.step(|state| state.slots.insert(token.key(), Slot::Live(half))).await;
            }
            _ => {}
        }
        Ok(self.step(|state| state.update(token, from, &change, now)).await)
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
        let Loaded::Live(mut stored) = self.step(|state| state.load(token, now)).await else {
            return Ok(Updated::Gone);
        };
        let asked = if fault == Fault::TouchIgnoresVersion { stored.version() } else { version };
        if fault == Fault::TouchInTwoSteps && stored.version() == version {
            Arc::make_mut(&mut stored).touch(deadline, now);
            self.step(|state| state.slots.insert(token.key(), Slot::Live((*stored).clone()))).await;
            return Ok(Updated::Done);
        }
        let updated = self.step(|state| {
            let updated = state.touch(token, asked, deadline, now);
            if let (Updated::Done, Some(Slot::Live(record))) = (&updated, state.slots.get_mut(&token.key())) {
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

    async fn delete(&self, token: &SessionToken, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        let now = self.now(now);
        let fault = self.fault;
        let deleted = self.step(|state| {
            let deleted = state.delete(token, tombstone, now);
            let stone = Slot::Tombstone(Tombstone::new(TombstoneKind::Destroyed, tombstone, now));
            match (fault, &deleted) {
                (Fault::DeleteLeavesNothing, Deleted::Done) => {
                    state.slots.remove(&token.key());
                }
                (Fault::DeleteOverwritesTombstones, Deleted::Retired(_))
                | (Fault::DeleteLeavesWhatWasNotThere, Deleted::Absent) => {
                    state.slots.insert(token.key(), stone);
                }
                _ => {}
            }
            deleted
        });
        Ok(deleted.await)
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        let (fault, now, owner) = (self.fault, self.now(now), self.owner(owner));
        let owned = self.step(|state| match fault {
            Fault::OwnedListsAll => {
                let live = state.slots.values().filter_map(|slot| match slot {
                    Slot::Live(record) => Some(OwnedSession::from(record)),
                    Slot::Tombstone(_) => None,
                });
                live.collect()
            }
            _ => state.owned(&owner, now),
        });
        Ok(owned.await)
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let (fault, now, owner) = (self.fault, self.now(now), self.owner(owner));
        let mut revocation = *revocation;
        match (fault, revocation.which) {
            (Fault::RevokeOthersIsAll, Revoke::Others(_)) => revocation.which = Revoke::All,
            (Fault::MarkGoesByTheClock, _) => revocation.at = now,
            _ => {}
        }
        let now = if fault == Fault::RevokeGoesByItsMark { revocation.at } else { now };
        let ended = self.step(|state| {
            let mut more = 0;
            if let (Fault::RevokeOneIsAnyones, Revoke::One(handle)) = (fault, revocation.which) {
                for slot in state.slots.values_mut() {
                    let ends = |record: &Record| record.handle() == handle && record.owner() != Some(&owner);
                    if matches!(slot, Slot::Live(record) if ends(record)) {
                        *slot = Slot::Tombstone(revocation.tombstone(now));
                        more += 1;
                    }
                }
            }
            let before = state.slots.clone();
            let ended = state.revoke(&owner, &revocation, now);
            match fault {
                Fault::RevokeLeavesNoMark => state.marks.clear(),
                Fault::RevokeIsDestroy => {
                    for (key, slot) in &mut state.slots {
                        if let (Slot::Tombstone(stone), Slot::Live(_)) = (&*slot, &before[key]) {
                            let until = stone.until();
                            *slot = Slot::Tombstone(Tombstone::new(TombstoneKind::Destroyed, Duration::ZERO, until));
                        }
                    }
                }
                _ => {}
            }
            ended + more
        });
        Ok(ended.await)
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        let (fault, now) = (self.fault, self.now(now));
        if fault == Fault::SweepInTwoSteps {
            let expired = self.step(|state| {
                let expired = state.slots.iter().filter(|(_, slot)| slot.is_expired(now));
                expired.map(|(key, _)| *key).take(limit).collect::<Vec<_>>()
            });
            let expired = expired.await;
            self.step(|state| state.slots.retain(|key, _| !expired.contains(key))).await;
            return Ok(expired.len());
        }
        let swept = self.step(|state| match fault {
            Fault::SweepRemovesNothing => 0,
            Fault::SweepHasNoLimit => state.sweep(usize::MAX, now),
            Fault::SweepRemovesAll if limit > 0 => {
                let swept = state.sweep(limit, now);
                state.slots.retain(|_, slot| matches!(slot, Slot::Tombstone(_)));
                swept
            }
            Fault::SweepForgetsMarks => {
                state.marks.clear();
                state.sweep(limit, now)
            }
            _ => state.sweep(limit, now),
        });
        Ok(swept.await)
    }
}
