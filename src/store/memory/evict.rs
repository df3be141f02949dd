//! Keeps the store within its bounds.
//!
//! No step walks the whole map. Expired slots are found by the shards' hints, and long-idle ones among a few slots from
//! random places, as Redis does for its LRU.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use super::key::TokenKey;
use super::slot::{Class, bytes_of};
use super::table::Table;
use crate::error::StoreError;
use crate::record::Record;

/// The bounds, and the lock under which they are enforced.
///
/// Two evictions at once would remove more than they need, perhaps each other's new session.
pub(super) struct Evictor {
    max_sessions: usize,
    max_bytes: usize,
    state: Mutex<Evicting>,
}

#[derive(Default)]
struct Evicting {
    /// The shard at which the next search for expired slots begins.
    cursor: usize,
    tally: Tally,
}

/// The evictions since the last log line.
#[derive(Default)]
struct Tally {
    evicted: u64,
    with_owner: u64,
    logged: Option<u64>,
}

/// The least time between two log lines, in microseconds: a flood must not fill the log too.
const LOG_INTERVAL: u64 = 10_000_000;
/// The most shards that one step locks to find an expired slot.
const PURGES_PER_STEP: usize = 4;
/// The most hints that one step reads for each of these shards.
const HINTS_PER_PURGE: usize = 256;
/// The most expired slots that one step removes from a shard.
const SLOTS_PER_PURGE: usize = 32;
/// The candidates that the longest idle is chosen from. Five give a fair LRU, ten a good one.
const CANDIDATES: usize = 16;
/// The candidates from one shard. Several shards give some, so that a shard with few, hence young, sessions does not
/// lose one as often as a shard with many.
const CANDIDATES_PER_SHARD: usize = 4;
/// The most candidates of one sample that are evicted; more would be a poor choice.
const EVICTIONS_PER_SAMPLE: usize = 4;
/// The most slots that a sample looks at, if it has found a candidate.
const SLOTS_PER_SAMPLE: usize = 256;

impl Evictor {
    pub(super) fn new(max_sessions: usize, max_bytes: usize) -> Self {
        Self { max_sessions, max_bytes, state: Mutex::default() }
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Returns the most bytes that marks may take. The other half stays for sessions.
    pub(super) fn max_mark_bytes(&self) -> usize {
        self.max_bytes / 2
    }

    /// # Errors
    ///
    /// [`StoreError::too_large`] for a record that takes more bytes than marks leave in the whole store.
    pub(super) fn admit(&self, record: &Record, table: &Table) -> Result<(), StoreError> {
        let (actual, allowed) = (bytes_of(record), self.max_bytes.saturating_sub(table.owners.mark_bytes()));
        if actual > allowed { Err(StoreError::too_large(actual, allowed)) } else { Ok(()) }
    }

    /// Evicts until the bounds hold, but never `spare`, the session just written. Its owner, who has asked for the room,
    /// gives up sessions before any other owner does.
    pub(super) fn make_room(&self, table: &Table, spare: Option<TokenKey>, owner: Option<&str>, now: u64) {
        if self.is_within_bounds(table) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_within_bounds(table) {
            let has_removed = state.purge_some(table, now, PURGES_PER_STEP)
                || self.evict_some(&mut state.tally, table, spare, Class::Anonymous)
                || self.evict_some(&mut state.tally, table, spare, Class::Tombstone)
                // No session with an owner goes while anything has expired, in whichever shard.
                || state.purge_some(table, now, usize::MAX)
                || owner.is_some_and(|owner| evict_own(&mut state.tally, table, spare, owner))
                || self.evict_some(&mut state.tally, table, spare, Class::Owned);
            if !has_removed {
                break;
            }
        }
        let due = state.tally.take_due(now);
        // Before the event, since its subscriber may use this very store.
        drop(state);
        if let Some(Tally { evicted, with_owner, .. }) = due {
            let (sessions, bytes) = (table.shards.sessions(), table.bytes());
            tracing::warn!(
                name: "session.store.evicted",
                evicted, with_owner, sessions, bytes, "memory store is full: evicted long-idle sessions"
            );
        }
    }

    fn is_within_bounds(&self, table: &Table) -> bool {
        table.shards.slots() <= self.max_sessions && table.bytes() <= self.max_bytes
    }

    /// Evicts the longest idle slots of a sample, and returns whether the sample held any.
    fn evict_some(&self, tally: &mut Tally, table: &Table, spare: Option<TokenKey>, class: Class) -> bool {
        let mut candidates = sample(table, class, spare);
        candidates.sort_unstable_by_key(|(seen, _)| *seen);
        for &(seen, key) in candidates.iter().take(EVICTIONS_PER_SAMPLE) {
            if self.is_within_bounds(table) {
                break;
            }
            // A candidate that was used since it was chosen stays.
            if table.remove_unused(key, seen) {
                tally.evicted += 1;
                tally.with_owner += u64::from(class == Class::Owned);
            }
        }
        !candidates.is_empty()
    }
}

/// Evicts one of several sessions of this owner, and returns whether it did.
fn evict_own(tally: &mut Tally, table: &Table, spare: Option<TokenKey>, owner: &str) -> bool {
    let keys = table.owners.some_of_several(owner, CANDIDATES);
    let seen = |key: TokenKey| Some((table.shards.read(key).get(&key)?.seen(), key));
    let oldest = keys.into_iter().filter(|key| Some(*key) != spare).filter_map(seen).min_by_key(|(seen, _)| *seen);
    let has_removed = oldest.is_some_and(|(seen, key)| table.remove_unused(key, seen));
    tally.evicted += u64::from(has_removed);
    tally.with_owner += u64::from(has_removed);
    has_removed
}

/// Returns a few slots of a class from random places, each with the time of its last use.
fn sample(table: &Table, class: Class, spare: Option<TokenKey>) -> Vec<(u64, TokenKey)> {
    let mut found = Vec::with_capacity(CANDIDATES);
    let (count, mut looked) = (table.shards.count(), 0);
    let start = random_below(count);
    let shards = (0..count).map(|step| (start + step) & (count - 1));
    for at in shards.filter(|&at| table.shards.has(at, class)) {
        let slots = table.shards.read_at(at);
        // From a random place on, or slots that hash to the end of a table would stay for ever.
        let skip = random_below(slots.len());
        let enough = CANDIDATES.min(found.len() + CANDIDATES_PER_SHARD);
        for (key, slot) in slots.iter().skip(skip).chain(slots.iter().take(skip)) {
            looked += 1;
            if slot.class() == class && Some(*key) != spare {
                found.push((slot.seen(), *key));
            }
            if found.len() == enough || (looked >= SLOTS_PER_SAMPLE && !found.is_empty()) {
                break;
            }
        }
        if found.len() == CANDIDATES || (looked >= SLOTS_PER_SAMPLE && !found.is_empty()) {
            break;
        }
    }
    found
}

/// Returns a number below `bound` that nobody outside the process can foretell; zero for zero.
fn random_below(bound: usize) -> usize {
    // The keys of each `RandomState` differ.
    let number = u128::from(RandomState::new().hash_one(()));
    // The product's upper half is below the bound.
    usize::try_from((number * bound as u128) >> 64).unwrap_or(0)
}

impl Evicting {
    /// Removes a few expired slots, and returns whether it found any before it had looked into `most` shards in vain.
    ///
    /// The look corrects a hint that was too early, so each touch costs one look in vain at most.
    fn purge_some(&mut self, table: &Table, now: u64, most: usize) -> bool {
        let (mut purges, count) = (0, table.shards.count());
        for _ in 0..count.min(HINTS_PER_PURGE.saturating_mul(most)) {
            let at = self.cursor & (count - 1);
            if table.shards.is_due(at, now) {
                if table.purge(at, SLOTS_PER_PURGE, now).0 > 0 {
                    return true;
                }
                purges += 1;
                if purges == most {
                    return false;
                }
            }
            self.cursor = at + 1;
        }
        false
    }
}

impl Tally {
    fn take_due(&mut self, now: u64) -> Option<Self> {
        let since = |logged: u64| now.checked_sub(logged);
        if self.evicted == 0 || self.logged.and_then(since).is_some_and(|passed| passed < LOG_INTERVAL) {
            return None;
        }
        Some(std::mem::replace(self, Self { logged: Some(now), ..Self::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_places_are_spread_and_within_bounds() {
        let mut hits = [0_u32; 10];
        for _ in 0..10_000 {
            hits[random_below(10)] += 1;
        }
        assert!(hits.iter().all(|&hits| (700..1_300).contains(&hits)), "{hits:?}");
        assert_eq!((random_below(0), random_below(1)), (0, 0));
    }

    #[test]
    fn evictions_are_told_at_most_every_ten_seconds() {
        let mut tally = Tally::default();
        let mut told = Vec::new();
        for now in [50, 51, 52, 50 + LOG_INTERVAL, 51 + LOG_INTERVAL, 10] {
            tally.evicted += 1;
            told.extend(tally.take_due(now).map(|tally| (now, tally.evicted)));
        }
        assert_eq!(told, [(50, 1), (50 + LOG_INTERVAL, 3), (10, 2)], "a clock that stepped back silences nothing");
        assert!(Tally::default().take_due(0).is_none(), "nothing to tell");
    }
}
