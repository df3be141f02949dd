//! The index by owner: the keys of each owner's sessions, the moment of the latest sign-in, and the mark of the last
//! revocation.
//!
//! The store's own clock, which orders sign-ins and revocations, is the monotonic clock of the process.
//!
//! A record with an owner enters the map while the owner's entry here is locked, so a revocation either finds the record
//! or leaves its mark first. A record may leave the map under its shard's lock alone. Its key then leaves the owner's list,
//! unless a live record of the owner stands under it again. Locks are taken in one order: first an entry of the index,
//! then a shard of the map or the queue of marks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::hash::RandomState;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use dashmap::mapref::one::RefMut;

use super::key::{BuildIdentity, TokenKey};
use super::shards::Shards;
use super::slot::{OWNER_BYTES, SlotState};
use crate::clock::{micros, monotonic};
use crate::error::StoreError;
use crate::record::Record;
use crate::store::{Created, OwnedSession, Revocation, RevocationMark};

pub(super) struct OwnerIndex {
    // A user may choose an owner's name, hence a keyed hash.
    // Its locks know no poisoning. No step on an entry runs the program's code, so none ends half done.
    owners: AssertUnwindSafe<DashMap<Arc<str>, OwnedHandles, RandomState>>,
    /// A queue of the owners that have a mark, each once. The time is the mark's first deadline, in microseconds; a later
    /// revocation moves the deadline, and the sweep corrects the queue.
    marked: Mutex<Marked>,
    /// The bytes that the marks take.
    mark_bytes: AtomicUsize,
}

type Marked = BinaryHeap<Reverse<(u64, Arc<str>)>>;

/// The bytes of a mark, its owner's place in the index and its place in the queue, beside the name.
const MARK_BYTES: usize = size_of::<RevocationMark>() + OWNER_BYTES + 64;
/// The most marks that a sweep looks at before it lets others run.
const MARKS_PER_SWEEP: usize = 4_096;
const NO_ROOM: &str = "the sessions have ended, but there is no room to refuse sign-ins under way: raise `max_bytes`";

#[derive(Default)]
struct OwnedHandles {
    sessions: Keys,
    // Rare, so boxed.
    mark: Option<Box<RevocationMark>>,
    /// The moment of the latest sign-in.
    latest: u64,
}

impl OwnerIndex {
    /// Makes an empty index of `count` shards, a power of two.
    pub(super) fn new(count: usize) -> Self {
        let owners = DashMap::with_capacity_and_hasher_and_shard_amount(0, RandomState::new(), count);
        Self { owners: AssertUnwindSafe(owners), marked: Mutex::default(), mark_bytes: AtomicUsize::default() }
    }

    /// Gives a sign-in its moment, runs `insert` with it, and lists the key if that stored the record. No revocation
    /// comes in between.
    pub(super) fn create(
        &self,
        owner: &Arc<str>,
        key: TokenKey,
        record: &Record,
        insert: impl FnOnce(u64) -> (Created, Option<SlotState>),
    ) -> (Created, Option<SlotState>) {
        let entry = self.owners.entry(Arc::clone(owner));
        let (mark, latest) = match &entry {
            Entry::Occupied(entry) => (entry.get().mark.as_deref().copied().unwrap_or_default(), entry.get().latest),
            Entry::Vacant(_) => (RevocationMark::default(), 0),
        };
        let clock = monotonic();
        if !mark.is_expired(clock) && mark.refuses(record, clock) {
            return (Created::Revoked, None);
        }
        let moment = if record.sign_in > 0 { record.sign_in } else { mark.next_moment(latest, clock) };
        let outcome = insert(moment);
        if let Created::SignedIn(moment) = outcome.0 {
            let mut owned = entry.or_default();
            owned.sessions.insert(key);
            owned.latest = owned.latest.max(moment);
        }
        outcome
    }

    /// Returns the bytes that the marks take, with their owners' names.
    pub(super) fn mark_bytes(&self) -> usize {
        self.mark_bytes.load(Relaxed)
    }

    /// Returns a few of an owner's sessions if there are several.
    pub(super) fn some_of_several(&self, owner: &str, limit: usize) -> Vec<TokenKey> {
        match self.owners.get(owner).as_deref() {
            Some(OwnedHandles { sessions: Keys::Many(keys), .. }) if keys.len() > 1 => {
                keys.iter().take(limit).copied().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Counts a new mark if all marks then take `most` bytes or less, and returns whether it did.
    fn count_mark(&self, owner: &str, most: usize) -> bool {
        let with_it = |bytes: usize| bytes.checked_add(Self::mark_len(owner)).filter(|bytes| *bytes <= most);
        self.mark_bytes.fetch_update(Relaxed, Relaxed, with_it).is_ok()
    }

    fn mark_len(owner: &str) -> usize {
        MARK_BYTES + owner.len()
    }

    /// Returns the number of an owner's sessions, expired ones that nothing has removed included.
    pub(super) fn count(&self, owner: &str) -> usize {
        self.owners.get(owner).map_or(0, |owned| owned.sessions.len())
    }

    /// Takes a key off an owner's list after the record has left the map.
    pub(super) fn unlist(&self, owner: &str, key: TokenKey, shards: &Shards) {
        let Some(mut entry) = self.owners.get_mut(owner) else { return };
        // Another session of the same owner may have taken its place in the meantime.
        if shards.read(key).get(&key).is_none_or(|slot| slot.owned_by(owner).is_none()) {
            entry.sessions.remove(key);
        }
        self.finish(entry);
    }

    /// Lists an owner's sessions, and removes those that have expired.
    pub(super) fn sessions(&self, owner: &str, now: SystemTime, shards: &Shards) -> Vec<OwnedSession> {
        let (mut found, mut taken) = (Vec::new(), Vec::new());
        if let Some(mut entry) = self.owners.get_mut(owner) {
            entry.sessions.retain(|key| {
                let reader = shards.read(key);
                let record = reader.get(&key).and_then(|slot| slot.owned_by(owner));
                if let Some(record) = record.filter(|record| !record.is_expired(now)) {
                    found.push(record.into());
                    return true;
                }
                drop(reader);
                let mut shard = shards.write(key);
                let stays = shard.live_of(key, owner, micros(now)).is_some();
                taken.extend(shard.finish());
                stays
            });
            self.finish(entry);
        }
        found
    }

    /// Ends the sessions that are meant, and returns how many it ended.
    ///
    /// # Errors
    ///
    /// All marks would take more than `most` bytes, so this one was not made. The sessions have ended.
    pub(super) fn revoke(
        &self,
        owner: &str,
        revocation: &Revocation,
        most: usize,
        now: SystemTime,
        shards: &Shards,
    ) -> Result<usize, StoreError> {
        let (mut ended, mut taken, since, mut has_room) = (0, Vec::new(), micros(now), true);
        let entry = if revocation.leaves_mark() {
            let mut entry = self.owners.entry(owner.into()).or_default();
            has_room = self.mark(&mut entry, revocation, most);
            Some(entry)
        } else {
            self.owners.get_mut(owner)
        };
        if let Some(mut entry) = entry {
            entry.sessions.retain(|key| {
                let mut shard = shards.write(key);
                let handle = shard.live_of(key, owner, since).map(|record| record.handle);
                let goes = handle.is_some_and(|handle| revocation.includes(handle));
                if goes {
                    let stone = revocation.tombstone(now);
                    shard.replace(key, SlotState::retired(stone, since), since);
                    ended += 1;
                }
                taken.extend(shard.finish());
                handle.is_some() && !goes
            });
            self.finish(entry);
        }
        if has_room { Ok(ended) } else { Err(StoreError::new(NO_ROOM)) }
    }

    /// Adds a revocation to an owner's mark, and returns whether there was room for it.
    fn mark(&self, entry: &mut RefMut<'_, Arc<str>, OwnedHandles>, revocation: &Revocation, most: usize) -> bool {
        let is_first = entry.mark.is_none();
        if is_first && !self.count_mark(entry.key(), most) {
            return false;
        }
        let (latest, clock) = (entry.latest, monotonic());
        let mark = entry.mark.get_or_insert_default();
        mark.add(revocation, mark.next_moment(latest, clock), clock);
        if is_first {
            let deadline = micros(mark.deadline());
            self.marked().push(Reverse((deadline, Arc::clone(entry.key()))));
        }
        true
    }

    /// Removes up to `limit` marks that have expired at this time of the store's own clock, and returns how many it
    /// removed.
    pub(super) fn purge_marks(&self, limit: usize, clock: SystemTime) -> usize {
        let mut removed = 0;
        for _ in 0..MARKS_PER_SWEEP {
            if removed == limit {
                break;
            }
            let Some((_, owner)) = self.pop_due(micros(clock)) else { break };
            let Some(mut entry) = self.owners.get_mut(&owner) else { continue };
            if entry.mark.take_if(|mark| mark.is_expired(clock)).is_some() {
                self.mark_bytes.fetch_sub(Self::mark_len(&owner), Relaxed);
                removed += 1;
            } else if let Some(mark) = &entry.mark {
                // A later revocation prolonged it.
                self.marked().push(Reverse((micros(mark.deadline()), owner)));
            }
            self.finish(entry);
        }
        removed
    }

    /// Takes an owner whose mark may have expired out of the queue, with the deadline that the mark had first.
    fn pop_due(&self, now: u64) -> Option<(u64, Arc<str>)> {
        let mut marked = self.marked();
        let is_due = marked.peek().is_some_and(|Reverse((deadline, _))| *deadline <= now);
        if is_due { marked.pop().map(|Reverse(due)| due) } else { None }
    }

    fn marked(&self) -> MutexGuard<'_, Marked> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unlocks an owner's entry, and removes it if it is empty.
    fn finish(&self, entry: RefMut<'_, Arc<str>, OwnedHandles>) {
        if entry.is_empty() {
            let owner = Arc::clone(entry.key());
            drop(entry);
            self.owners.remove_if(&owner, |_, entry| entry.is_empty());
        }
    }
}

impl OwnedHandles {
    fn is_empty(&self) -> bool {
        self.mark.is_none() && matches!(self.sessions, Keys::None)
    }
}

/// A set of keys.
///
/// A single key, as most owners have, takes no allocation. The cost of a change does not grow with the number of keys.
#[derive(Default)]
enum Keys {
    #[default]
    None,
    One(TokenKey),
    // Boxed, so that the entry of an owner stays small.
    #[allow(clippy::box_collection)]
    Many(Box<HashSet<TokenKey, BuildIdentity>>),
}

impl Keys {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(keys) => keys.len(),
        }
    }

    fn insert(&mut self, key: TokenKey) {
        match self {
            Self::None => *self = Self::One(key),
            Self::One(one) if *one == key => {}
            Self::One(one) => *self = Self::Many(Box::new(HashSet::from_iter([*one, key]))),
            Self::Many(keys) => {
                keys.insert(key);
            }
        }
    }

    fn remove(&mut self, key: TokenKey) {
        match self {
            Self::Many(keys) => {
                keys.remove(&key);
            }
            Self::One(one) if *one != key => {}
            Self::None | Self::One(_) => *self = Self::None,
        }
        self.shrink();
    }

    fn retain(&mut self, mut keep: impl FnMut(TokenKey) -> bool) {
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

    impl OwnerIndex {
        pub(in super::super) fn listed(&self) -> usize {
            self.owners.iter().map(|owner| owner.sessions.len()).sum()
        }

        pub(in super::super) fn lists(&self, owner: &str, key: TokenKey) -> bool {
            self.owners.get(owner).is_some_and(|owner| match &owner.sessions {
                Keys::None => false,
                Keys::One(one) => *one == key,
                Keys::Many(keys) => keys.contains(&key),
            })
        }

        pub(in super::super) fn check_marks(&self) {
            let marked = self.owners.iter().filter(|owner| owner.mark.is_some());
            let bytes = marked.map(|owner| OwnerIndex::mark_len(owner.key())).sum::<usize>();
            assert_eq!(self.mark_bytes(), bytes);
        }

        pub(in super::super) fn len(&self) -> usize {
            self.owners.len()
        }
    }

    #[test]
    fn keys_are_a_set() {
        let key = |n: u8| TokenKey::new(&[n; 24]);
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
