//! The cached sessions, and what ends their time.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moka::sync::Cache;

use super::age::Steady;
use crate::record::{Entry, Record};
use crate::store::Loaded;
use crate::token::StoreKey;

pub(super) struct Front {
    cache: Cache<StoreKey, Known>,
    /// In microseconds.
    max_staleness: u64,
    clock: Steady,
    /// How many writes there were to the sessions of each stripe: a load puts nothing into the cache if there was one
    /// since it began. The lock makes looking and putting one step.
    writes: [Mutex<u64>; STRIPES],
    /// How many revocations there were.
    revocations: AtomicU64,
    /// The last of them that concerned an owner of the stripe. A session that was read before is none of the cache's: a
    /// revocation knows its owner, not the sessions, and there are few enough that those of other owners may go too.
    revoked: [AtomicU64; STRIPES],
    hasher: RandomState,
}

const STRIPES: usize = 256;

/// A live session as it was read.
#[derive(Clone)]
struct Known {
    record: Arc<Record>,
    read: Moment,
    /// For how long it is good, in microseconds.
    lasts: u64,
}

/// When a load began: by the steady clock, and after how many revocations.
#[derive(Clone, Copy)]
struct Moment {
    at: u64,
    revocations: u64,
}

/// What the cache has to say to a load.
pub(super) enum Found {
    Known(Arc<Record>),
    Unknown(Asked),
}

/// A load of the store behind, from its beginning on.
pub(super) struct Asked {
    key: StoreKey,
    now: u64,
    begun: Moment,
    writes: u64,
}

impl Front {
    pub(super) fn new(max_staleness: u64, max_bytes: u64) -> Self {
        let weigh = |_: &StoreKey, known: &Known| known.weight();
        Self {
            cache: Cache::builder().max_capacity(max_bytes).weigher(weigh).build(),
            max_staleness,
            clock: Steady::default(),
            writes: std::array::from_fn(|_| Mutex::default()),
            revocations: AtomicU64::default(),
            revoked: std::array::from_fn(|_| AtomicU64::default()),
            hasher: RandomState::new(),
        }
    }

    /// Looks a session up at a call's `now`, in microseconds.
    pub(super) fn find(&self, key: StoreKey, now: u64) -> Found {
        let at = self.clock.at(now);
        match self.cache.get(&key) {
            Some(known) if self.is_good(&known, at) => Found::Known(known.record),
            _ => Found::Unknown(Asked {
                key,
                now,
                begun: Moment { at, revocations: self.revocations.load(Acquire) },
                writes: *self.writes(key),
            }),
        }
    }

    /// Keeps what a load brought, unless a write has overtaken it.
    pub(super) fn keep(&self, asked: &Asked, loaded: &Loaded) {
        let Loaded::Live(record) = loaded else {
            self.cache.invalidate(&asked.key);
            return;
        };
        // Past its deadline the store behind is asked: it may know of a touch, and must know what was found expired.
        let lasts = self.max_staleness.min(record.deadline.saturating_sub(asked.now));
        let known = Known { record: Arc::clone(record), read: asked.begun, lasts };
        let writes = self.writes(asked.key);
        if *writes == asked.writes {
            self.cache.insert(asked.key, known);
        }
    }

    /// Lets the time of a call count that asks the cache nothing.
    pub(super) fn see(&self, now: u64) {
        self.clock.at(now);
    }

    /// A write to a session: when it ends, in whichever way, what is known of the session is forgotten.
    pub(super) fn writing(&self, key: StoreKey) -> Writing<'_> {
        Writing { front: self, key }
    }

    /// The same for the sessions of an owner.
    pub(super) fn revoking<'a>(&'a self, owner: &'a str) -> Revoking<'a> {
        Revoking { front: self, owner }
    }

    fn is_good(&self, known: &Known, at: u64) -> bool {
        let is_revoked = |owner| known.read.revocations < self.revoked(owner).load(Acquire);
        // Calls that overtake each other may show a moment before it was read: that wraps around to an age beyond all.
        at.wrapping_sub(known.read.at) < known.lasts && !known.record.owner().is_some_and(is_revoked)
    }

    fn writes(&self, key: StoreKey) -> MutexGuard<'_, u64> {
        self.writes[usize::from(key.as_bytes()[0])].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn revoked(&self, owner: &str) -> &AtomicU64 {
        &self.revoked[usize::from(self.hasher.hash_one(owner).to_be_bytes()[0])]
    }
}

impl Known {
    fn weight(&self) -> u32 {
        let entries = self.record.values.entries().len() + self.record.flash.entries().len();
        let owner = self.record.owner().map_or(0, str::len);
        let bytes = RECORD_BYTES + owner + entries * ENTRY_BYTES + self.record.size();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// The record, its key and what the cache itself keeps of both.
const RECORD_BYTES: usize = size_of::<Record>() + size_of::<(StoreKey, Known)>() + 64;
/// A value's pointer and the headers of its allocation.
const ENTRY_BYTES: usize = size_of::<Entry>() + 32;

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("sessions", &self.cache.entry_count()).finish_non_exhaustive()
    }
}

pub(super) struct Writing<'a> {
    front: &'a Front,
    key: StoreKey,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut writes = self.front.writes(self.key);
        *writes += 1;
        self.front.cache.invalidate(&self.key);
    }
}

pub(super) struct Revoking<'a> {
    front: &'a Front,
    owner: &'a str,
}

impl Drop for Revoking<'_> {
    fn drop(&mut self) {
        let last = self.front.revocations.fetch_add(1, AcqRel) + 1;
        self.front.revoked(self.owner).fetch_max(last, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::record::Values;
    use crate::token::SessionToken;

    #[test]
    fn memory_is_bounded_in_bytes() {
        let front = Front::new(1_000, 100_000);
        let json = format!("\"{}\"", "x".repeat(2_000));
        let values = Values::from_sorted(vec![Entry::new("text", &json)]);
        let live = Loaded::Live(Record { deadline: 1_000, values, ..Record::blank() }.into());
        for n in 0..1_000_u64 {
            let token = SessionToken::from_random(std::array::from_fn(|at| n.to_be_bytes()[at % 8]));
            let Found::Unknown(asked) = front.find(token.key(), 0) else { panic!("known before it was asked for") };
            front.keep(&asked, &live);
        }
        front.cache.run_pending_tasks();
        let (count, bytes) = (front.cache.entry_count(), front.cache.weighted_size());
        assert!(bytes <= 100_000 && bytes > 80_000, "{bytes}");
        assert!((bytes / count) > 2_000 && (bytes / count) < 2_500, "{bytes} for {count}");
    }
}
