//! Whose sessions are where, and which sign-ins a revocation has ended.
//!
//! A record with an owner enters the map while its owner is locked, so that a revocation either finds the record or
//! leaves its mark first. It may leave the map under its shard's lock alone; its key is taken off the list afterwards,
//! unless a live record of the owner stands there again. Locks are taken in one order: owner, then shard.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::shards::{BuildIdentity, Key, Shards};
use super::slot::State;
use crate::clock::micros;
use crate::record::Record;
use crate::store::{Created, OwnedSession, Revocation, RevocationMark};

pub(super) struct Owners {
    shards: Box<[Shard]>,
    // Owners' names may be of a user's choice, hence a keyed hash.
    hasher: RandomState,
}

#[repr(align(64))]
struct Shard {
    owners: Mutex<Table>,
    /// No mark in the shard may go earlier.
    soonest: AtomicU64,
}

type Table = HashMap<Arc<str>, Owner>;

#[derive(Default)]
struct Owner {
    sessions: Keys,
    // Rare, so boxed.
    mark: Option<Box<RevocationMark>>,
}

impl Owners {
    /// Makes an empty index; `count` is a power of two.
    pub(super) fn new(count: usize) -> Self {
        let hasher = RandomState::new();
        let shard =
            || Shard { owners: Mutex::new(HashMap::with_hasher(hasher.clone())), soonest: AtomicU64::new(u64::MAX) };
        Self { shards: (0..count).map(|_| shard()).collect(), hasher }
    }

    /// Runs `insert` and lists the key if that stored the record, in one step before or after any revocation.
    pub(super) fn create(
        &self,
        owner: &Arc<str>,
        key: Key,
        record: &Record,
        now: SystemTime,
        insert: impl FnOnce() -> (Created, Option<State>),
    ) -> (Created, Option<State>) {
        let mut table = lock(self.shard(owner));
        if let Some(entry) = table.get_mut(&**owner) {
            entry.expire_mark(now);
            if let Some(mark) = entry.mark.as_ref().filter(|mark| mark.refuses(record)) {
                return (Created::Revoked(**mark), None);
            }
        }
        let outcome = insert();
        if outcome.0 == Created::Stored {
            table.entry(Arc::clone(owner)).or_default().sessions.insert(key);
        }
        outcome
    }

    /// Takes a key off an owner's list after its record has left the map.
    pub(super) fn unlist(&self, owner: &str, key: Key, shards: &Shards) {
        let mut table = lock(self.shard(owner));
        let Some(entry) = table.get_mut(owner) else { return };
        // Somebody may have put a session of the same owner there between the removal and now.
        if shards.read(key).get(&key).is_some_and(|slot| slot.owned_by(owner).is_some()) {
            return;
        }
        entry.sessions.remove(key);
        if entry.is_empty() {
            table.remove(owner);
        }
    }

    pub(super) fn sessions(&self, owner: &str, now: SystemTime, shards: &Shards) -> Vec<OwnedSession> {
        let (mut found, mut taken) = (Vec::new(), Vec::new());
        let mut table = lock(self.shard(owner));
        if let Some(entry) = table.get_mut(owner) {
            entry.sessions.retain(|key| {
                let reader = shards.read(key);
                let record = reader.get(&key).and_then(|slot| slot.owned_by(owner));
                if let Some(record) = record.filter(|record| !record.is_expired(now)) {
                    found.push(record.into());
                    return true;
                }
                drop(reader);
                let mut shard = shards.write(key);
                shard.remove_expired_of(key, owner, micros(now));
                let stays = shard.get(key).is_some_and(|slot| slot.owned_by(owner).is_some());
                taken.extend(shard.finish());
                stays
            });
            if entry.is_empty() {
                table.remove(owner);
            }
        }
        drop(table);
        found
    }

    pub(super) fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime, shards: &Shards) -> usize {
        let (mut ended, mut taken) = (0, Vec::new());
        let shard = self.shard(owner);
        let mut table = lock(shard);
        if revocation.leaves_mark() {
            let mark = table.entry(owner.into()).or_default().mark.get_or_insert_default();
            mark.add(revocation);
            shard.soonest.fetch_min(micros(mark.deadline()), Relaxed);
        }
        if let Some(entry) = table.get_mut(owner) {
            let since = micros(now);
            entry.sessions.retain(|key| {
                let mut shard = shards.write(key);
                shard.remove_expired_of(key, owner, since);
                let handle = shard.get(key).and_then(|slot| slot.owned_by(owner)).map(|record| record.handle);
                let goes = handle.is_some_and(|handle| revocation.includes(handle));
                if goes {
                    let stone = revocation.tombstone(now);
                    shard.replace(key, State::retired(stone, since), since);
                    ended += 1;
                }
                taken.extend(shard.finish());
                handle.is_some() && !goes
            });
            if entry.is_empty() {
                table.remove(owner);
            }
        }
        // The sessions that ended are dropped after the lock, as declared.
        drop(table);
        ended
    }

    /// Removes up to `limit` expired marks of a shard, and returns how many went.
    pub(super) fn purge(&self, at: usize, limit: usize, now: SystemTime) -> usize {
        let shard = &self.shards[at];
        if limit == 0 || shard.soonest.load(Relaxed) > micros(now) {
            return 0;
        }
        let (mut removed, mut soonest) = (0, u64::MAX);
        let mut table = lock(shard);
        table.retain(|_, entry| {
            if removed < limit {
                removed += usize::from(entry.expire_mark(now));
            }
            if let Some(mark) = &entry.mark {
                soonest = soonest.min(micros(mark.deadline()));
            }
            !entry.is_empty()
        });
        // Still under the lock, or a mark set meanwhile would be forgotten.
        shard.soonest.store(soonest, Relaxed);
        removed
    }

    #[cfg(test)]
    pub(super) fn listed(&self) -> usize {
        let keys = |owner: &Owner| match &owner.sessions {
            Keys::None => 0,
            Keys::One(_) => 1,
            Keys::Many(keys) => keys.len(),
        };
        self.shards.iter().map(|shard| lock(shard).values().map(keys).sum::<usize>()).sum()
    }

    #[cfg(test)]
    pub(super) fn lists(&self, owner: &str, key: Key) -> bool {
        lock(self.shard(owner)).get(owner).is_some_and(|owner| match &owner.sessions {
            Keys::None => false,
            Keys::One(one) => *one == key,
            Keys::Many(keys) => keys.contains(&key),
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, owner: &str) -> &Shard {
        // The middle bits, since the table in the shard uses the lowest and the highest.
        #[allow(clippy::cast_possible_truncation)]
        let bits = (self.hasher.hash_one(owner) >> 32) as usize;
        &self.shards[bits & (self.shards.len() - 1)]
    }
}

impl Owner {
    fn is_empty(&self) -> bool {
        self.mark.is_none() && matches!(self.sessions, Keys::None)
    }

    fn expire_mark(&mut self, now: SystemTime) -> bool {
        self.mark.take_if(|mark| mark.is_expired(now)).is_some()
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, Table> {
    shard.owners.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A set of keys that takes no memory of its own for the one session that most owners have, and whose cost does not
/// grow with the sessions of an owner who has many.
#[derive(Default)]
enum Keys {
    #[default]
    None,
    One(Key),
    // Boxed, so that every owner's entry stays small.
    #[allow(clippy::box_collection)]
    Many(Box<HashSet<Key, BuildIdentity>>),
}

impl Keys {
    fn insert(&mut self, key: Key) {
        match self {
            Self::None => *self = Self::One(key),
            Self::One(one) if *one == key => {}
            Self::One(one) => *self = Self::Many(Box::new(HashSet::from_iter([*one, key]))),
            Self::Many(keys) => {
                keys.insert(key);
            }
        }
    }

    fn remove(&mut self, key: Key) {
        match self {
            Self::Many(keys) => {
                keys.remove(&key);
            }
            Self::One(one) if *one != key => {}
            Self::None | Self::One(_) => *self = Self::None,
        }
        self.shrink();
    }

    fn retain(&mut self, mut keep: impl FnMut(Key) -> bool) {
        match self {
            Self::Many(keys) => keys.retain(|key| keep(*key)),
            Self::One(one) if keep(*one) => {}
            Self::None | Self::One(_) => *self = Self::None,
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        if let Self::Many(keys) = self
            && keys.is_empty()
        {
            *self = Self::None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_a_set() {
        let key = |n: u8| Key::new(&[n; 24]);
        let mut keys = Keys::default();
        for n in [1, 1, 2, 3, 2] {
            keys.insert(key(n));
        }
        let mut seen = 0;
        keys.retain(|_| {
            seen += 1;
            true
        });
        assert_eq!(seen, 3);
        keys.retain(|kept| kept != key(2));
        keys.remove(key(2));
        keys.remove(key(1));
        assert!(!matches!(keys, Keys::None));
        keys.remove(key(3));
        assert!(matches!(keys, Keys::None));
        keys.insert(key(4));
        keys.remove(key(5));
        assert!(matches!(keys, Keys::One(one) if one == key(4)));
        keys.remove(key(4));
        assert!(matches!(keys, Keys::None));
    }
}
