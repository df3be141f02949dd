//! The steps: each is atomic under its shard's lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::SystemTime;

use super::evict::Evictor;
use super::owners::Owners;
use super::shards::{Key, Shards, Writer};
use super::slot::{Slot, State, bytes_of};
use crate::clock::micros;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::store::{Change, Created, Loaded, Updated};
use crate::token::RANDOM_LEN;

pub(super) struct Inner {
    pub(super) shards: Shards,
    pub(super) owners: Owners,
    pub(super) evictor: Evictor,
    /// The shard at which the next sweep begins.
    cursor: AtomicUsize,
}

/// How many entries a sweep looks at before it lets others run: under a millisecond.
pub(super) const ENTRIES_PER_SWEEP: usize = 16_384;

impl Inner {
    pub(super) fn new(shards: usize, evictor: Evictor) -> Self {
        Self { shards: Shards::new(shards), owners: Owners::new(shards), evictor, cursor: AtomicUsize::new(0) }
    }

    pub(super) fn admit(&self, record: &Record) -> Result<(), StoreError> {
        let (actual, allowed) = (bytes_of(record), self.evictor.max_bytes());
        if actual > allowed { Err(StoreError::too_large(actual, allowed)) } else { Ok(()) }
    }

    pub(super) fn load(&self, key: Key, secret: &[u8; RANDOM_LEN], now: u64) -> Loaded {
        let answer = |slot: &Slot| match &slot.state {
            State::Live(record) => Loaded::Live(Arc::clone(record)),
            State::Retired(rest) => Loaded::Tombstone(rest.stone.clone()),
        };
        match self.shards.read(key).get(&key).filter(|slot| slot.is_of(secret)) {
            None => return Loaded::Absent,
            Some(slot) if !slot.is_expired(now) => return answer(slot),
            Some(_) => {}
        }
        // It ends here, or a clock that steps back would revive it; unless a touch came in between.
        self.step(key, now, |shard| shard.get(key).filter(|slot| slot.is_of(secret)).map_or(Loaded::Absent, answer))
    }

    pub(super) fn create(&self, key: Key, secret: &[u8; RANDOM_LEN], record: &Arc<Record>, now: SystemTime) -> Created {
        let slot = Slot::new(secret, Arc::clone(record));
        let micros = micros(now);
        let insert = || {
            let mut shard = self.shards.write(key);
            shard.remove_expired(key, micros);
            let created = match shard.get(key) {
                None => {
                    shard.insert(key, slot);
                    Created::Stored
                }
                Some(Slot { state: State::Live(stored), token })
                    if token.is(secret) && stored.version == record.version =>
                {
                    Created::Stored
                }
                Some(_) => Created::Taken,
            };
            (created, shard.finish())
        };
        let (created, taken) = match &record.owner {
            Some(owner) => self.owners.create(owner, key, record, now, insert),
            None => insert(),
        };
        self.forget(key, taken.as_ref());
        self.make_room(key, micros);
        created
    }

    pub(super) fn update(
        &self,
        key: Key,
        secret: &[u8; RANDOM_LEN],
        from: Version,
        change: &Change,
        now: u64,
    ) -> Updated {
        let next = |slot: &Slot| {
            let State::Live(stored) = &slot.state else { return Err(Updated::Gone) };
            match change {
                _ if !slot.is_of(secret) => Err(Updated::Gone),
                Change::Replace(record, _) if stored.version == record.version => Err(Updated::Done),
                _ if stored.version != from => Err(Updated::Conflict),
                Change::Replace(record, deadline) => {
                    let mut next = deadline.apply_micros(stored.deadline, Arc::clone(record));
                    if next.owner != stored.owner {
                        Arc::make_mut(&mut next).owner.clone_from(&stored.owner);
                    }
                    Ok((State::Live(next), Updated::Done))
                }
                Change::Retire(stone) => Ok((State::retired(stone.clone(), now), Updated::Done)),
            }
        };
        let mut shard = self.shards.write(key);
        let updated = shard.replace_with(key, now, next).unwrap_or(Updated::Gone);
        let taken = shard.finish();
        self.forget(key, taken.as_ref());
        self.make_room(key, now);
        updated
    }

    /// Runs one step under the lock of a key's shard, where what has expired is gone already. What the step takes out
    /// is dropped after the lock, and leaves its owner's list.
    pub(super) fn step<T>(&self, key: Key, now: u64, step: impl FnOnce(&mut Writer<'_>) -> T) -> T {
        let mut shard = self.shards.write(key);
        shard.remove_expired(key, now);
        let answer = step(&mut shard);
        let taken = shard.finish();
        self.forget(key, taken.as_ref());
        answer
    }

    /// Takes what left the map off its owner's list.
    pub(super) fn forget(&self, key: Key, taken: Option<&State>) {
        if let Some(owner) = taken.and_then(State::owner) {
            self.owners.unlist(owner, key, &self.shards);
        }
    }

    pub(super) fn sweep(&self, limit: usize, now: SystemTime) -> usize {
        let (count, start) = (self.shards.count(), self.cursor.load(Relaxed));
        let (mut removed, mut looked) = (0, 0);
        for step in 0..count {
            if removed >= limit || looked >= ENTRIES_PER_SWEEP {
                break;
            }
            let at = (start + step) & (count - 1);
            let (gone, entries) = self.purge(at, limit - removed, micros(now));
            removed += gone;
            removed += self.owners.purge(at, limit - removed, now);
            looked += entries;
            // Past a shard that the limit cut short, too, or one that fills up fast would keep the others waiting.
            self.cursor.store(at + 1, Relaxed);
        }
        removed
    }

    /// Removes up to `limit` expired entries of a shard; how many went and how many were looked at.
    pub(super) fn purge(&self, at: usize, limit: usize, now: u64) -> (usize, usize) {
        let (gone, looked) = self.shards.purge(at, limit, now);
        let removed = gone.len();
        for (key, slot) in gone {
            self.forget(key, Some(&slot.state));
        }
        (removed, looked)
    }
}
