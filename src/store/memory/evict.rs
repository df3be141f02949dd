//! Who has to go when the store is full.
//!
//! Nothing here walks the whole map: what is expired is found by looking at hints, and who has been idle for long by
//! looking at a few entries from random places, as Redis does for its LRU.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use super::inner::Inner;
use super::shards::{Class, Key, Shards};

/// The bounds, and the lock under which they are enforced: two evictions at once would remove more than they need,
/// perhaps each other's new session.
pub(super) struct Evictor {
    max_sessions: usize,
    max_bytes: usize,
    state: Mutex<Evicting>,
}

struct Evicting {
    random: Random,
    /// Where to look for expired entries next.
    cursor: usize,
    tally: Tally,
}

/// What has been evicted since the last log line.
#[derive(Default)]
struct Tally {
    evicted: u64,
    with_owner: u64,
    logged: Option<u64>,
}

/// The least time between two log lines, in microseconds: a flood must not fill the log too.
const LOG_INTERVAL: u64 = 10_000_000;
/// How many shards one step locks at most to find something expired, how many hints it reads for each, and how many
/// entries it takes from one.
const PURGES_PER_STEP: usize = 4;
const HINTS_PER_PURGE: usize = 256;
const ENTRIES_PER_PURGE: usize = 32;
/// How many candidates the longest idle is chosen from. Five give a fair LRU, ten a good one.
const CANDIDATES: usize = 16;
/// How many of them come from one shard. From several, so that a shard that happens to hold few, hence young, sessions
/// does not lose one as often as a shard that holds many.
const CANDIDATES_PER_SHARD: usize = 4;
/// How many of them one sample may remove; more would be a poor choice.
const EVICTIONS_PER_SAMPLE: usize = 4;
/// How many entries are looked at once there is a candidate.
const ENTRIES_PER_SAMPLE: usize = 256;

impl Evictor {
    pub(super) fn new(max_sessions: usize, max_bytes: usize) -> Self {
        let state = Evicting { random: Random::new(), cursor: 0, tally: Tally::default() };
        Self { max_sessions, max_bytes, state: Mutex::new(state) }
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    fn is_content(&self, shards: &Shards) -> bool {
        shards.slots() <= self.max_sessions && shards.bytes() <= self.max_bytes
    }
}

impl Inner {
    /// Evicts until the bounds hold, and spares the session just written while anything else can go.
    pub(super) fn make_room(&self, spare: Key, now: u64) {
        if self.evictor.is_content(&self.shards) {
            return;
        }
        let mut state = self.evictor.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.evictor.is_content(&self.shards) {
            let has_removed = self.purge_some(&mut state, now, PURGES_PER_STEP)
                || self.evict_some(&mut state, spare, Class::Loose)
                || self.evict_some(&mut state, spare, Class::Dead)
                // Nobody who signed in has to go while anything has expired, wherever it is.
                || self.purge_some(&mut state, now, usize::MAX)
                || self.evict_some(&mut state, spare, Class::Owned);
            if !has_removed {
                break;
            }
        }
        let due = state.tally.take_due(now);
        // Whoever listens to events may use this very store.
        drop(state);
        if let Some(Tally { evicted, with_owner, .. }) = due {
            let (sessions, bytes) = (self.shards.sessions(), self.shards.bytes());
            tracing::warn!(
                name: "session.store.evicted",
                evicted, with_owner, sessions, bytes, "memory store is full: evicted long-idle sessions"
            );
        }
    }

    /// Removes a few expired entries; whether it found some before it had looked into so many shards in vain. A hint that
    /// led there in vain is right from then on, so that each touch costs one such look at most.
    fn purge_some(&self, state: &mut Evicting, now: u64, most: usize) -> bool {
        let (mut purges, count) = (0, self.shards.count());
        for _ in 0..count.min(HINTS_PER_PURGE.saturating_mul(most)) {
            let at = state.cursor & (count - 1);
            if self.shards.is_due(at, now) {
                if self.purge(at, ENTRIES_PER_PURGE, now).0 > 0 {
                    return true;
                }
                purges += 1;
                if purges == most {
                    return false;
                }
            }
            state.cursor = at + 1;
        }
        false
    }

    /// Evicts the longest idle of a sample; whether there was anybody to choose from.
    fn evict_some(&self, state: &mut Evicting, spare: Key, class: Class) -> bool {
        let mut candidates = self.sample(&mut state.random, class, spare);
        if candidates.is_empty() {
            return false;
        }
        candidates.sort_unstable_by_key(|(seen, _)| *seen);
        for (seen, key) in candidates.into_iter().take(EVICTIONS_PER_SAMPLE) {
            if self.evictor.is_content(&self.shards) {
                break;
            }
            if self.evict(key, seen) {
                state.tally.evicted += 1;
                state.tally.with_owner += u64::from(class == Class::Owned);
            }
        }
        true
    }

    fn sample(&self, random: &mut Random, class: Class, spare: Key) -> Vec<(u64, Key)> {
        let mut found = Vec::with_capacity(CANDIDATES);
        let (count, mut looked) = (self.shards.count(), 0);
        let start = random.below(count);
        let shards = (0..count).map(|step| (start + step) & (count - 1));
        for at in shards.filter(|&at| self.shards.has(at, class)) {
            let table = self.shards.read_at(at);
            // From a random place on, or entries that hash to the end of a table would stay for ever.
            let skip = random.below(table.len());
            let enough = CANDIDATES.min(found.len() + CANDIDATES_PER_SHARD);
            for (key, slot) in table.iter().skip(skip).chain(table.iter().take(skip)) {
                looked += 1;
                if slot.class() == class && *key != spare {
                    found.push((slot.seen(), *key));
                }
                if found.len() == enough || (looked >= ENTRIES_PER_SAMPLE && !found.is_empty()) {
                    break;
                }
            }
            if found.len() == CANDIDATES || (looked >= ENTRIES_PER_SAMPLE && !found.is_empty()) {
                break;
            }
        }
        found
    }

    /// Removes an entry unless it was used since it was chosen.
    pub(super) fn evict(&self, key: Key, seen: u64) -> bool {
        let mut shard = self.shards.write(key);
        if shard.get(key).is_some_and(|slot| slot.seen() == seen) {
            shard.remove(key);
        }
        let taken = shard.finish();
        let evicted = taken.is_some();
        self.forget(key, taken.as_ref());
        evicted
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

/// An xorshift64* generator: cheap, and seeded by what nobody outside the process knows.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(RandomState::new().hash_one("evict") | 1)
    }

    /// A number below `bound`; zero for zero.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = u128::from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D));
        // The product's upper half is below the bound.
        usize::try_from((number * bound as u128) >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_places_are_spread_and_within_bounds() {
        let mut random = Random::new();
        let mut hits = [0_u32; 10];
        for _ in 0..10_000 {
            hits[random.below(10)] += 1;
        }
        assert!(hits.iter().all(|&hits| (700..1_300).contains(&hits)), "{hits:?}");
        assert_eq!((random.below(0), random.below(1)), (0, 0));
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
