//! The map: many small tables, each behind a lock of its own, with counts that are read without a lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::key::{BuildIdentity, TokenKey};
use super::slot::{Class, Slot, SlotState, Weight};
use crate::record::Record;
use crate::token::StoreKey;

type Slots = HashMap<TokenKey, Slot, BuildIdentity>;

/// A shard on a cache line of its own, so that neighbours do not slow each other down.
#[derive(Default)]
#[repr(align(64))]
struct Shard(RwLock<Slots>);

/// The facts about a shard that are read without its lock.
///
/// They are written under the lock, so they are exact whenever nobody writes.
struct Hint {
    /// No deadline in the shard is earlier. The hint may be too early, since touches do not raise it.
    soonest: AtomicU64,
    /// The number of slots of each [`Class`].
    slots: [AtomicUsize; 3],
}

pub(super) struct Shards {
    tables: Box<[Shard]>,
    // Apart from the shards, so that the search for one to evict from reads little memory.
    hints: Box<[Hint]>,
    slots: AtomicUsize,
    tombstones: AtomicUsize,
    bytes: AtomicUsize,
}

impl Shards {
    /// Makes empty shards; `count` is a power of two.
    pub(super) fn new(count: usize) -> Self {
        let hint = || Hint { soonest: AtomicU64::new(u64::MAX), slots: <[AtomicUsize; 3]>::default() };
        Self {
            tables: (0..count).map(|_| Shard::default()).collect(),
            hints: (0..count).map(|_| hint()).collect(),
            slots: AtomicUsize::default(),
            tombstones: AtomicUsize::default(),
            bytes: AtomicUsize::default(),
        }
    }

    /// Returns the number of shards.
    pub(super) fn count(&self) -> usize {
        self.tables.len()
    }

    /// Returns the number of sessions and tombstones.
    pub(super) fn slots(&self) -> usize {
        self.slots.load(Relaxed)
    }

    pub(super) fn sessions(&self) -> usize {
        self.slots().saturating_sub(self.tombstones.load(Relaxed))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Returns whether something in a shard may have expired.
    pub(super) fn is_due(&self, at: usize, now: u64) -> bool {
        self.hints[at].soonest.load(Relaxed) <= now
    }

    pub(super) fn has(&self, at: usize, class: Class) -> bool {
        self.hints[at].slots[class as usize].load(Relaxed) > 0
    }

    pub(super) fn read(&self, key: TokenKey) -> RwLockReadGuard<'_, Slots> {
        self.read_at(key.shard(self.count()))
    }

    pub(super) fn read_at(&self, at: usize) -> RwLockReadGuard<'_, Slots> {
        self.tables[at].0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the key of a session by its store key alone, which takes a look at every slot. Only a store key that came
    /// from outside this process needs that.
    pub(super) fn find(&self, name: &StoreKey) -> Option<TokenKey> {
        (0..self.count()).find_map(|at| {
            let slots = self.read_at(at);
            slots.iter().find(|(key, slot)| slot.token.store_key(**key) == *name).map(|(key, _)| *key)
        })
    }

    pub(super) fn write(&self, key: TokenKey) -> Writer<'_> {
        self.write_at(key.shard(self.count()))
    }

    fn write_at(&self, at: usize) -> Writer<'_> {
        let slots = self.tables[at].0.write().unwrap_or_else(PoisonError::into_inner);
        Writer { all: self, at, slots, taken: None, replaced: None }
    }

    /// Removes up to `limit` expired slots of a shard, and returns them with the number of slots that were looked at.
    pub(super) fn purge(&self, at: usize, limit: usize, now: u64) -> (Vec<(TokenKey, Slot)>, usize) {
        if !self.is_due(at, now) {
            return (Vec::new(), 0);
        }
        let mut writer = self.write_at(at);
        let looked = writer.slots.len();
        let (mut room, mut soonest) = (limit, u64::MAX);
        let expired = |_: &TokenKey, slot: &mut Slot| {
            let goes = room > 0 && slot.is_expired(now);
            if goes {
                room -= 1;
            } else {
                soonest = soonest.min(slot.deadline());
            }
            goes
        };
        let gone: Vec<_> = writer.slots.extract_if(expired).collect();
        for (_, slot) in &gone {
            self.recount(at, Some(slot.weight()), None);
        }
        self.hints[at].soonest.store(soonest, Relaxed);
        (gone, looked)
    }

    /// Corrects the counts when a slot changes; `None` stands for no slot.
    fn recount(&self, at: usize, from: Option<Weight>, to: Option<Weight>) {
        let bytes = |weight: Option<Weight>| weight.map_or(0, |weight| weight.bytes);
        let class = |weight: Option<Weight>| weight.map(|weight| weight.class);
        // Most writes change the bytes alone, and shared counters are dear.
        if bytes(from) != bytes(to) {
            self.bytes.fetch_add(bytes(to).wrapping_sub(bytes(from)), Relaxed);
        }
        if class(from) == class(to) {
            return;
        }
        self.slots.fetch_add(usize::from(to.is_some()).wrapping_sub(from.is_some().into()), Relaxed);
        for (class, by) in [(class(from), usize::MAX), (class(to), 1)] {
            let Some(class) = class else { continue };
            self.hints[at].slots[class as usize].fetch_add(by, Relaxed);
            if class == Class::Tombstone {
                self.tombstones.fetch_add(by, Relaxed);
            }
        }
    }
}

/// A shard that is locked for writing.
///
/// It keeps the states that it takes out until [`finish`](Self::finish), since dropping a large session under the lock
/// would hold up others.
pub(super) struct Writer<'a> {
    all: &'a Shards,
    at: usize,
    slots: RwLockWriteGuard<'a, Slots>,
    /// The state that left the map.
    taken: Option<SlotState>,
    /// The state that a newer one of the same session replaced. Declared after the lock, hence dropped after it.
    replaced: Option<SlotState>,
}

impl Writer<'_> {
    pub(super) fn get(&self, key: TokenKey) -> Option<&Slot> {
        self.slots.get(&key)
    }

    /// Returns a slot for changes that neither move its deadline to an earlier time nor change its weight.
    pub(super) fn get_mut(&mut self, key: TokenKey) -> Option<&mut Slot> {
        self.slots.get_mut(&key)
    }

    pub(super) fn remove_expired(&mut self, key: TokenKey, now: u64) {
        if self.get(key).is_some_and(|slot| slot.is_expired(now)) {
            self.remove(key);
        }
    }

    /// Returns a live session of this owner, whose list is locked. Removes it if it has expired, and leaves the sessions
    /// of other owners alone.
    pub(super) fn live_of(&mut self, key: TokenKey, owner: &str, now: u64) -> Option<&Record> {
        self.get(key)?.owned_by(owner)?;
        self.remove_expired(key, now);
        self.get(key)?.owned_by(owner)
    }

    pub(super) fn remove(&mut self, key: TokenKey) {
        if let Some(slot) = self.slots.remove(&key) {
            self.all.recount(self.at, Some(slot.weight()), None);
            self.taken = Some(slot.state);
        }
    }

    /// Inserts a slot where there is none.
    pub(super) fn insert(&mut self, key: TokenKey, slot: Slot) {
        self.note(slot.deadline());
        self.all.recount(self.at, None, Some(slot.weight()));
        self.slots.insert(key, slot);
    }

    /// Replaces the state of a slot whatever it is, as [`replace_with`](Self::replace_with) does.
    pub(super) fn replace(&mut self, key: TokenKey, state: SlotState, now: u64) {
        self.replace_with(key, now, |_| Ok((state, ())));
    }

    /// Replaces the state of a slot by the one that `next` makes of the slot, and returns the answer of `next`.
    ///
    /// `Err` leaves the slot as it is. The slot is removed if its state, the old one or the new, has expired by `now`.
    /// Returns `None` where there is no slot, or an expired one.
    pub(super) fn replace_with<T>(
        &mut self,
        key: TokenKey,
        now: u64,
        next: impl FnOnce(&Slot) -> Result<(SlotState, T), T>,
    ) -> Option<T> {
        let slot = self.slots.get_mut(&key)?;
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
        let lives = matches!(slot.state, SlotState::Live(_));
        *if lives { &mut self.replaced } else { &mut self.taken } = Some(before);
        self.all.recount(self.at, Some(from), Some(to));
        self.note(deadline);
        Some(answer)
    }

    /// Unlocks the shard, and returns the state that left the map.
    pub(super) fn finish(self) -> Option<SlotState> {
        self.taken
    }

    fn note(&self, deadline: u64) {
        let soonest = &self.all.hints[self.at].soonest;
        if deadline < soonest.load(Relaxed) {
            soonest.store(deadline, Relaxed);
        }
    }
}
