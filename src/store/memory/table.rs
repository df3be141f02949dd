//! The sessions and the index by owner, which each step changes together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use super::key::{Token, TokenKey};
use super::owners::OwnerIndex;
use super::shards::{Shards, Writer};
use super::slot::{Slot, SlotState};
use crate::clock::{micros, monotonic};
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::store::{Change, Created, Deleted, Loaded, Updated};
use crate::token::StoreKey;

pub(super) struct Table {
    pub(super) shards: Shards,
    pub(super) owners: OwnerIndex,
    /// The shard at which the next sweep begins.
    cursor: AtomicUsize,
}

/// The most slots that a sweep looks at, but for the rest of a shard, before it lets others run: about a millisecond.
pub(super) const SLOTS_PER_SWEEP: usize = 16_384;

impl Table {
    /// Makes an empty table of `count` shards, a power of two.
    pub(super) fn new(count: usize) -> Self {
        Self { shards: Shards::new(count), owners: OwnerIndex::new(count), cursor: AtomicUsize::new(0) }
    }

    pub(super) fn load(&self, key: TokenKey, token: Token<'_>, now: u64) -> Loaded {
        let answer = |slot: &Slot| match &slot.state {
            SlotState::Live(record) => Loaded::Live(Arc::clone(record)),
            SlotState::Retired(rest) => Loaded::Tombstone(rest.stone.clone()),
        };
        match self.shards.read(key).get(&key).filter(|slot| slot.token.is_of(token)) {
            None => return Loaded::Absent,
            Some(slot) if !slot.is_expired(now) => return answer(slot),
            Some(_) => {}
        }
        // Removes it, or a clock that steps back would revive it. A touch may have come in between.
        self.step(key, now, |shard| {
            shard.get(key).filter(|slot| slot.token.is_of(token)).map_or(Loaded::Absent, answer)
        })
    }

    pub(super) fn create(&self, key: TokenKey, token: Token<'_>, record: &Arc<Record>, now: SystemTime) -> Created {
        let insert = |moment: u64| {
            let mut stored = Arc::clone(record);
            if stored.sign_in != moment {
                stored = Arc::new(stored.with_sign_in(moment));
            }
            let mut shard = self.shards.write(key);
            shard.remove_expired(key, micros(now));
            let created = match shard.get(key) {
                None => {
                    shard.insert(key, Slot::new(token, stored));
                    Self::stored(moment)
                }
                Some(Slot { state: SlotState::Live(standing), token: secret })
                    if secret.is_of(token) && standing.is_same(record) =>
                {
                    Self::stored(standing.sign_in)
                }
                Some(_) => Created::Taken,
            };
            (created, shard.finish())
        };
        let (created, taken) = match &record.owner {
            Some(owner) => self.owners.create(owner, key, record, insert),
            None => insert(0),
        };
        self.forget(key, taken.as_ref());
        created
    }

    /// Returns the answer for a record that is stored with this moment.
    fn stored(moment: u64) -> Created {
        if moment > 0 { Created::SignedIn(moment) } else { Created::Stored }
    }

    pub(super) fn update(&self, key: TokenKey, token: Token<'_>, from: Version, change: &Change, now: u64) -> Updated {
        let next = |slot: &Slot| {
            let SlotState::Live(stored) = &slot.state else { return Err(Updated::Gone) };
            match change {
                _ if !slot.token.is_of(token) => Err(Updated::Gone),
                Change::Replace(record, _) if stored.version == record.version => Err(Updated::Done),
                _ if stored.version != from => Err(Updated::Conflict),
                Change::Replace(record, deadline) => {
                    let mut next = deadline.apply_micros(stored.deadline, Arc::clone(record));
                    if next.owner != stored.owner {
                        Arc::make_mut(&mut next).owner.clone_from(&stored.owner);
                    }
                    Ok((SlotState::Live(next), Updated::Done))
                }
                Change::Retire(stone) => Ok((SlotState::retired(stone.clone(), now), Updated::Done)),
            }
        };
        let mut shard = self.shards.write(key);
        let updated = shard.replace_with(key, now, next).unwrap_or(Updated::Gone);
        let taken = shard.finish();
        self.forget(key, taken.as_ref());
        updated
    }

    pub(super) fn touch(
        &self,
        key: TokenKey,
        token: Token<'_>,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Updated {
        self.step(key, micros(now), |shard| match shard.get_mut(key) {
            Some(Slot { state: SlotState::Live(record), token: secret }) if secret.is_of(token) => {
                if record.version == version {
                    Arc::make_mut(record).touch(deadline, now);
                    Updated::Done
                } else {
                    Updated::Conflict
                }
            }
            _ => Updated::Gone,
        })
    }

    pub(super) fn delete(&self, name: &StoreKey, tombstone: Duration, now: SystemTime) -> Deleted {
        let since = micros(now);
        let Some(key) = TokenKey::named(name).or_else(|| self.shards.find(name)) else { return Deleted::Absent };
        self.step(key, since, |shard| match shard.get(key).filter(|slot| slot.token.store_key(key) == *name) {
            None => Deleted::Absent,
            Some(Slot { state: SlotState::Retired(rest), .. }) => Deleted::Retired(rest.stone.clone()),
            Some(_) => {
                let stone = Tombstone::new(TombstoneKind::Destroyed, tombstone, now);
                shard.replace(key, SlotState::retired(stone, since), since);
                Deleted::Done
            }
        })
    }

    /// Returns the bytes that count against the bound.
    pub(super) fn bytes(&self) -> usize {
        self.shards.bytes() + self.owners.mark_bytes()
    }

    /// Removes a slot unless it was used after `seen`, and returns whether it removed one.
    pub(super) fn remove_unused(&self, key: TokenKey, seen: u64) -> bool {
        let mut shard = self.shards.write(key);
        if shard.get(key).is_some_and(|slot| slot.seen() == seen) {
            shard.remove(key);
        }
        let taken = shard.finish();
        self.forget(key, taken.as_ref());
        taken.is_some()
    }

    /// Removes up to `limit` expired sessions, tombstones and marks, and returns how many it removed.
    pub(super) fn sweep(&self, limit: usize, now: SystemTime) -> usize {
        let (count, start) = (self.shards.count(), self.cursor.load(Relaxed));
        let (mut removed, mut looked) = (0, 0);
        for step in 0..count {
            if removed >= limit || looked >= SLOTS_PER_SWEEP {
                break;
            }
            let at = (start + step) & (count - 1);
            let (gone, slots) = self.purge(at, limit - removed, micros(now));
            removed += gone;
            looked += slots;
            // The next sweep begins behind a shard that the limit cut short, too: a shard that fills up fast would keep
            // the others waiting.
            self.cursor.store(at + 1, Relaxed);
        }
        removed + self.owners.purge_marks(limit - removed, monotonic())
    }

    /// Removes up to `limit` expired slots of a shard. Returns how many it removed and how many it looked at.
    pub(super) fn purge(&self, at: usize, limit: usize, now: u64) -> (usize, usize) {
        let (gone, looked) = self.shards.purge(at, limit, now);
        let removed = gone.len();
        for (key, slot) in gone {
            self.forget(key, Some(&slot.state));
        }
        (removed, looked)
    }

    /// Runs one step under the lock of a key's shard, after the removal of the slot if it has expired.
    ///
    /// A state that the step takes out is dropped after the lock is released, and its key leaves the owner's list.
    fn step<T>(&self, key: TokenKey, now: u64, step: impl FnOnce(&mut Writer<'_>) -> T) -> T {
        let mut shard = self.shards.write(key);
        shard.remove_expired(key, now);
        let answer = step(&mut shard);
        let taken = shard.finish();
        self.forget(key, taken.as_ref());
        answer
    }

    /// Takes the key of a state that left the map off its owner's list.
    fn forget(&self, key: TokenKey, taken: Option<&SlotState>) {
        if let Some(owner) = taken.and_then(SlotState::owner) {
            self.owners.unlist(owner, key, &self.shards);
        }
    }
}
