//! The contract of a store in its shortest form: two maps. Every store is compared with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::fixture::{sorted, without_moment};
use super::operation::{StoreAnswer, StoreOperation};
use crate::clock::monotonic;
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, RevocationMark, Updated};
use crate::token::{SessionToken, StoreKey};

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) sessions: HashMap<StoreKey, Loaded>,
    pub(super) marks: HashMap<String, RevocationMark>,
    /// The moment of the latest sign-in.
    pub(super) latest: u64,
}

impl Model {
    /// Returns the right answer, without the moments of sign-ins, of which each store has its own.
    pub(super) fn answer(&mut self, operation: &StoreOperation, now: SystemTime) -> StoreAnswer {
        use StoreOperation::{Create, Delete, Load, Owned, Revoke, Sweep, Touch, Update};
        match operation {
            Load(token) => StoreAnswer::Loaded(without_moment(self.load(token, now))),
            Create(token, record) => StoreAnswer::Created(match self.create(token, record, now) {
                Created::SignedIn(_) => Created::Stored,
                created => created,
            }),
            Update(token, from, change) => StoreAnswer::Updated(self.update(token, *from, change, now)),
            Touch(token, version, deadline) => StoreAnswer::Updated(self.touch(token, *version, *deadline, now)),
            Delete(token, tombstone) => StoreAnswer::Deleted(self.delete(&token.key(), *tombstone, now)),
            Owned(owner) => {
                let owned = self.owned(owner, now).into_iter();
                StoreAnswer::Owned(owned.map(|session| OwnedSession { sign_in: 0, ..session }).collect())
            }
            Revoke(owner, revocation) => StoreAnswer::Count(self.revoke(owner, revocation, now)),
            Sweep(limit) => StoreAnswer::Count(self.sweep(*limit, now)),
        }
    }

    pub(super) fn load(&mut self, token: &SessionToken, now: SystemTime) -> Loaded {
        self.at(token, now).clone()
    }

    pub(super) fn create(&mut self, fresh: &SessionToken, record: &Record, now: SystemTime) -> Created {
        let clock = monotonic();
        let mark = record.owner().and_then(|owner| self.marks.get(owner)).copied().unwrap_or_default();
        if mark.refuses(record, clock) {
            return Created::Revoked;
        }
        let next = mark.next_moment(self.latest, clock);
        match self.at(fresh, now) {
            Loaded::Absent => {}
            Loaded::Live(standing) if record.is_same(standing) => return created(standing),
            _ => return Created::Taken,
        }
        let moment = if record.owner().is_some() && record.sign_in() == 0 { next } else { record.sign_in() };
        self.latest = self.latest.max(moment);
        let record = record.with_sign_in(moment);
        let answer = created(&record);
        self.sessions.insert(fresh.key(), Loaded::Live(record.into()));
        answer
    }

    /// Creates a record whatever the owner's mark says.
    #[cfg(test)]
    pub(super) fn create_unmarked(&mut self, fresh: &SessionToken, record: &Record, now: SystemTime) -> Created {
        let marks = std::mem::take(&mut self.marks);
        let created = self.create(fresh, record, now);
        self.marks = marks;
        created
    }

    pub(super) fn update(&mut self, token: &SessionToken, from: Version, change: &Change, now: SystemTime) -> Updated {
        let state = self.at(token, now);
        let Loaded::Live(stored) = state else { return Updated::Gone };
        match change {
            Change::Replace(next, _) if stored.version() == next.version() => {}
            _ if stored.version() != from => return Updated::Conflict,
            Change::Replace(next, deadline) => *stored = deadline.apply(stored.deadline(), next.clone()),
            Change::Retire(stone) => *state = Loaded::Tombstone(stone.clone()),
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
        match self.at(token, now) {
            Loaded::Live(stored) if stored.version() == version => {
                Arc::make_mut(stored).touch(deadline, now);
                Updated::Done
            }
            Loaded::Live(_) => Updated::Conflict,
            _ => Updated::Gone,
        }
    }

    pub(super) fn delete(&mut self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Deleted {
        match self.under(key, now) {
            Loaded::Absent => Deleted::Absent,
            Loaded::Tombstone(stone) => Deleted::Retired(stone.clone()),
            state => {
                *state = Loaded::Tombstone(Tombstone::new(TombstoneKind::Destroyed, tombstone, now));
                Deleted::Done
            }
        }
    }

    pub(super) fn owned(&mut self, owner: &str, now: SystemTime) -> Vec<OwnedSession> {
        self.sessions.retain(|_, state| !is_expired(state, now));
        let records = self.sessions.values().filter_map(|state| record_of(state, owner));
        sorted(records.map(OwnedSession::from).collect())
    }

    pub(super) fn revoke(&mut self, owner: &str, revocation: &Revocation, now: SystemTime) -> usize {
        if revocation.leaves_mark() {
            let (clock, mark) = (monotonic(), self.marks.entry(owner.to_owned()).or_default());
            mark.add(revocation, mark.next_moment(self.latest, clock), clock);
        }
        self.sessions.retain(|_, state| !is_expired(state, now));
        let is_meant =
            |state: &&mut Loaded| record_of(state, owner).is_some_and(|record| revocation.includes(record.handle()));
        let meant = self.sessions.values_mut().filter(is_meant);
        meant.map(|state| *state = Loaded::Tombstone(revocation.tombstone(now))).count()
    }

    /// Returns whether the owner's mark goes by earlier revocations for this record.
    pub(super) fn spares(&self, record: &Record) -> bool {
        let mark = record.owner().and_then(|owner| self.marks.get(owner));
        mark.is_some_and(|mark| mark.encode()[24..40] == *record.handle().as_bytes())
    }

    pub(super) fn sweep(&mut self, limit: usize, now: SystemTime) -> usize {
        let mut swept = 0;
        let mut keep = |is_expired: bool| {
            let goes = is_expired && swept < limit;
            swept += usize::from(goes);
            !goes
        };
        self.sessions.retain(|_, state| keep(is_expired(state, now)));
        self.marks.retain(|_, mark| keep(mark.is_expired(monotonic())));
        swept
    }

    /// Returns the state of a session at `now`. A session that has expired becomes absent.
    fn at(&mut self, token: &SessionToken, now: SystemTime) -> &mut Loaded {
        self.under(&token.key(), now)
    }

    fn under(&mut self, key: &StoreKey, now: SystemTime) -> &mut Loaded {
        let state = self.sessions.entry(*key).or_insert(Loaded::Absent);
        if is_expired(state, now) {
            *state = Loaded::Absent;
        }
        state
    }
}

/// Returns the answer to the creation of a record that is stored.
fn created(record: &Record) -> Created {
    if record.owner().is_some() { Created::SignedIn(record.sign_in()) } else { Created::Stored }
}

pub(super) fn is_expired(state: &Loaded, now: SystemTime) -> bool {
    match state {
        Loaded::Live(record) | Loaded::Outdated(record) => record.is_expired(now),
        Loaded::Tombstone(stone) => stone.until() <= now,
        Loaded::Absent => false,
    }
}

fn record_of<'a>(state: &'a Loaded, owner: &str) -> Option<&'a Record> {
    match state {
        Loaded::Live(record) if record.owner() == Some(owner) => Some(record),
        _ => None,
    }
}
