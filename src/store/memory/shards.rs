//! The map: many small tables, each behind a lock of its own, with counts that are read without any lock.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::slot::{Slot, State, Weight};
use crate::token::{RANDOM_LEN, SessionToken};

/// Bytes of a token that select its slot.
pub(super) const KEY_LEN: usize = 12;

/// Half of a token: selects the slot, which holds the other half to compare it in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    hash: [u8; 8],
    // Other bytes than the hash, so that within a shard all bits of the hash still vary.
    shard: [u8; 4],
}

impl Key {
    pub(super) fn new(token: &[u8; RANDOM_LEN]) -> Self {
        let (mut hash, mut shard) = ([0; 8], [0; 4]);
        hash.copy_from_slice(&token[..8]);
        shard.copy_from_slice(&token[8..12]);
        Self { hash, shard }
    }

    /// What a store of random tokens needs of a token; `None` for one of another shape.
    pub(super) fn of(token: &SessionToken) -> Option<(Self, &[u8; RANDOM_LEN])> {
        token.random().map(|secret| (Self::new(secret), secret))
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(self.hash));
    }
}

/// Passes eight bytes of the token on as they are, sound because clients never insert keys: the layer mints them, so
/// they are random already. The shard comes from other bytes, so that within one all bits of the hash still vary.
#[derive(Default)]
pub(super) struct Identity(u64);

pub(super) type BuildIdentity = BuildHasherDefault<Identity>;

impl Hasher for Identity {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| hash.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Table = HashMap<Key, Slot, BuildIdentity>;

/// A shard on a cache line of its own, so that neighbours do not slow each other down.
#[derive(Default)]
#[repr(align(64))]
struct Shard(RwLock<Table>);

/// What is known of a shard without its lock. Written under the lock, so exact whenever nobody writes.
struct Hint {
    /// No deadline in the shard is earlier. May lag behind, since touches do not raise it.
    soonest: AtomicU64,
    loose: AtomicUsize,
    tombstones: AtomicUsize,
    owned: AtomicUsize,
}

/// Who goes first when the store is full, and whom an eviction spares longest: somebody who signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A session without an owner.
    Loose,
    /// A tombstone, which keeps late writers harmless while it stands.
    Dead,
    Owned,
}

pub(super) struct Shards {
    tables: Box<[Shard]>,
    // Apart from the shards, so that looking for one to evict from reads little memory.
    hints: Box<[Hint]>,
    slots: AtomicUsize,
    tombstones: AtomicUsize,
    bytes: AtomicUsize,
}

impl Shards {
    /// Makes empty shards; `count` is a power of two.
    pub(super) fn new(count: usize) -> Self {
        let zero = || AtomicUsize::new(0);
        let hint = || Hint { soonest: AtomicU64::new(u64::MAX), loose: zero(), tombstones: zero(), owned: zero() };
        Self {
            tables: (0..count).map(|_| Shard::default()).collect(),
            hints: (0..count).map(|_| hint()).collect(),
            slots: AtomicUsize::new(0),
            tombstones: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.tables.len()
    }

    /// Sessions and tombstones.
    pub(super) fn slots(&self) -> usize {
        self.slots.load(Relaxed)
    }

    pub(super) fn sessions(&self) -> usize {
        self.slots().saturating_sub(self.tombstones.load(Relaxed))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Whether something in a shard may have expired.
    pub(super) fn is_due(&self, at: usize, now: u64) -> bool {
        self.hints[at].soonest.load(Relaxed) <= now
    }

    pub(super) fn has(&self, at: usize, class: Class) -> bool {
        let hint = &self.hints[at];
        let count = match class {
            Class::Loose => &hint.loose,
            Class::Dead => &hint.tombstones,
            Class::Owned => &hint.owned,
        };
        count.load(Relaxed) > 0
    }

    pub(super) fn read(&self, key: Key) -> RwLockReadGuard<'_, Table> {
        self.read_at(self.place(key))
    }

    pub(super) fn read_at(&self, at: usize) -> RwLockReadGuard<'_, Table> {
        self.tables[at].0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, key: Key) -> Writer<'_> {
        self.write_at(self.place(key))
    }

    fn write_at(&self, at: usize) -> Writer<'_> {
        let table = self.tables[at].0.write().unwrap_or_else(PoisonError::into_inner);
        Writer { all: self, at, table, taken: None, replaced: None }
    }

    /// Removes up to `limit` expired slots of a shard, and returns them with the number of slots that were looked at.
    pub(super) fn purge(&self, at: usize, limit: usize, now: u64) -> (Vec<(Key, Slot)>, usize) {
        if !self.is_due(at, now) {
            return (Vec::new(), 0);
        }
        let mut writer = self.write_at(at);
        let looked = writer.table.len();
        let (mut room, mut soonest) = (limit, u64::MAX);
        let expired = |_: &Key, slot: &mut Slot| {
            let goes = room > 0 && slot.is_expired(now);
            if goes {
                room -= 1;
            } else {
                soonest = soonest.min(slot.deadline());
            }
            goes
        };
        let gone: Vec<_> = writer.table.extract_if(expired).collect();
        for (_, slot) in &gone {
            self.recount(at, slot.weight(), Weight::default());
        }
        self.hints[at].soonest.store(soonest, Relaxed);
        (gone, looked)
    }

    fn place(&self, key: Key) -> usize {
        // A mask, since the count is a power of two; 65,536 shards at most fit into any usize.
        u32::from_le_bytes(key.shard) as usize & (self.tables.len() - 1)
    }

    fn recount(&self, at: usize, from: Weight, to: Weight) {
        let hint = &self.hints[at];
        for (counter, from, to) in [
            (&self.slots, from.slots, to.slots),
            (&self.tombstones, from.tombstones, to.tombstones),
            (&self.bytes, from.bytes, to.bytes),
            (&hint.loose, from.loose, to.loose),
            (&hint.tombstones, from.tombstones, to.tombstones),
            (&hint.owned, from.owned, to.owned),
        ] {
            // Most writes change the bytes alone, and shared counters are dear.
            if from != to {
                counter.fetch_add(to.wrapping_sub(from), Relaxed);
            }
        }
    }
}

/// A shard that is locked for writing. What it takes out it keeps until [`finish`](Self::finish), since dropping a
/// large session under the lock would hold up others.
pub(super) struct Writer<'a> {
    all: &'a Shards,
    at: usize,
    table: RwLockWriteGuard<'a, Table>,
    /// What left the map.
    taken: Option<State>,
    /// What gave way to a newer state of the same session. Declared after the lock, hence dropped after it.
    replaced: Option<State>,
}

impl Writer<'_> {
    pub(super) fn get(&self, key: Key) -> Option<&Slot> {
        self.table.get(&key)
    }

    /// For changes that neither move the deadline to an earlier time nor change what the slot weighs.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Slot> {
        self.table.get_mut(&key)
    }

    pub(super) fn remove_expired(&mut self, key: Key, now: u64) {
        if self.get(key).is_some_and(|slot| slot.is_expired(now)) {
            self.remove(key);
        }
    }

    /// As [`remove_expired`](Self::remove_expired), but leaves other owners' sessions to those who hold their lock.
    pub(super) fn remove_expired_of(&mut self, key: Key, owner: &str, now: u64) {
        if self.get(key).is_some_and(|slot| slot.owned_by(owner).is_some()) {
            self.remove_expired(key, now);
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Some(slot) = self.table.remove(&key) {
            self.all.recount(self.at, slot.weight(), Weight::default());
            self.taken = Some(slot.state);
        }
    }

    pub(super) fn insert(&mut self, key: Key, slot: Slot) {
        self.note(slot.deadline());
        let weight = slot.weight();
        let before = self.table.insert(key, slot);
        self.all.recount(self.at, before.as_ref().map(Slot::weight).unwrap_or_default(), weight);
        self.taken = before.map(|slot| slot.state).or(self.taken.take());
    }

    /// Puts another state into the slot; what has expired by `now` removes it.
    pub(super) fn replace(&mut self, key: Key, state: State, now: u64) {
        self.replace_with(key, now, |_| Ok((state, ())));
    }

    /// Puts the state that is made of the present one into the slot, unless the answer is against it; what has expired by
    /// `now`, before or after, removes it. `None` where there is nothing.
    pub(super) fn replace_with<T>(
        &mut self,
        key: Key,
        now: u64,
        next: impl FnOnce(&Slot) -> Result<(State, T), T>,
    ) -> Option<T> {
        let slot = self.table.get_mut(&key)?;
        if slot.is_expired(now) {
            self.remove(key);
            return None;
        }
        let (state, answer) = match next(slot) {
            Ok(next) => next,
            Err(answer) => return Some(answer),
        };
        if state.deadline() <= now {
            self.remove(key);
            return Some(answer);
        }
        let from = slot.weight();
        let before = std::mem::replace(&mut slot.state, state);
        let (to, deadline) = (slot.weight(), slot.deadline());
        // A session that lives on stays on its owner's list.
        let lives = matches!(slot.state, State::Live(_));
        *if lives { &mut self.replaced } else { &mut self.taken } = Some(before);
        self.all.recount(self.at, from, to);
        self.note(deadline);
        Some(answer)
    }

    /// Unlocks the shard and hands out what left it.
    pub(super) fn finish(self) -> Option<State> {
        self.taken
    }

    fn note(&self, deadline: u64) {
        let soonest = &self.all.hints[self.at].soonest;
        if deadline < soonest.load(Relaxed) {
            soonest.store(deadline, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher as _;

    #[test]
    fn the_shard_and_the_hash_share_no_byte() {
        let shards = Shards::new(4_096);
        let key = |bytes: [u8; 24]| Key::new(&bytes);
        let hash = |key: Key| BuildIdentity::default().hash_one(key);
        let zero = key([0; 24]);
        for at in 0..12 {
            for bit in 0..8 {
                let mut bytes = [0; 24];
                bytes[at] = 1 << bit;
                let other = key(bytes);
                assert_eq!(hash(other) != hash(zero), at < 8, "byte {at}");
                assert!(at >= 8 || shards.place(other) == shards.place(zero), "byte {at}");
            }
        }
        let places: std::collections::HashSet<_> =
            (0..=u16::MAX).map(|n| shards.place(key(std::array::from_fn(|i| n.to_le_bytes()[i % 2])))).collect();
        assert_eq!(places.len(), 4_096);
    }
}
