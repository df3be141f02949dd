//! The cached sessions, and the events that remove them.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moka::sync::Cache;

use super::monotonic::MonotonicClock;
use crate::record::{Entry, Record};
use crate::store::Loaded;
use crate::token::StoreKey;

/// The cache in front of a store.
pub(super) struct Front {
    cache: Cache<StoreKey, CachedRecord>,
    /// In microseconds.
    max_staleness: u64,
    clock: MonotonicClock,
    /// The number of writes to the sessions of each stripe. A load puts nothing into the cache if a write happened since
    /// the load began; the lock makes the check and the insertion one step.
    writes: [Mutex<u64>; STRIPES],
    /// The number of revocations.
    revocations: AtomicU64,
    /// The last revocation that concerned an owner of the stripe. No session that was read before it is served.
    ///
    /// A revocation knows its owner, not the sessions. Revocations are so rare that the sessions of other owners in the
    /// stripe may go too.
    revoked: [AtomicU64; STRIPES],
    hasher: RandomState,
}

const STRIPES: usize = 256;

/// A live session as a load read it.
#[derive(Clone)]
struct CachedRecord {
    record: Arc<Record>,
    read: Moment,
    /// For how long the record may be served, in microseconds.
    lasts: u64,
}

/// The beginning of a load.
#[derive(Clone, Copy)]
struct Moment {
    /// The time by the monotonic clock.
    at: u64,
    /// The number of revocations before it.
    revocations: u64,
}

/// The cache's answer to a load.
pub(super) enum Lookup {
    Hit(Arc<Record>),
    Miss(BackLoad),
}

/// A load of the store behind that is under way.
pub(super) struct BackLoad {
    key: StoreKey,
    now: u64,
    begun: Moment,
    writes: u64,
}

impl Front {
    pub(super) fn new(max_staleness: u64, max_bytes: u64) -> Self {
        let weigh = |_: &StoreKey, cached: &CachedRecord| cached.weight();
        Self {
            cache: Cache::builder().max_capacity(max_bytes).weigher(weigh).build(),
            max_staleness,
            clock: MonotonicClock::default(),
            writes: std::array::from_fn(|_| Mutex::default()),
            revocations: AtomicU64::default(),
            revoked: std::array::from_fn(|_| AtomicU64::default()),
            hasher: RandomState::new(),
        }
    }

    /// Looks a session up at a call's `now`, in microseconds.
    pub(super) fn find(&self, key: StoreKey, now: u64) -> Lookup {
        let at = self.clock.at(now);
        match self.cache.get(&key) {
            Some(cached) if self.is_good(&cached, at) => Lookup::Hit(cached.record),
            _ => {
                let begun = Moment { at, revocations: self.revocations.load(Acquire) };
                Lookup::Miss(BackLoad { key, now, begun, writes: *self.writes(key) })
            }
        }
    }

    /// Keeps the result of a load, unless a write has overtaken it.
    pub(super) fn keep(&self, load: &BackLoad, loaded: &Loaded) {
        let Loaded::Live(record) = loaded else {
            self.cache.invalidate(&load.key);
            return;
        };
        // After the deadline the store behind is asked: it may know of a touch, and must know what was found expired.
        let lasts = self.max_staleness.min(record.deadline.saturating_sub(load.now));
        let cached = CachedRecord { record: Arc::clone(record), read: load.begun, lasts };
        let writes = self.writes(load.key);
        if *writes == load.writes {
            self.cache.insert(load.key, cached);
        }
    }

    /// Shows the clock the time of a call that asks the cache nothing.
    pub(super) fn see(&self, now: u64) {
        self.clock.at(now);
    }

    /// Returns a guard for a write to a session. Its drop, however the write ends, removes the session from the cache.
    pub(super) fn writing(&self, key: StoreKey) -> OnDrop<impl FnMut()> {
        OnDrop(move || {
            let mut writes = self.writes(key);
            *writes += 1;
            self.cache.invalidate(&key);
        })
    }

    /// Returns a guard for a revocation. Its drop, however the revocation ends, ends the service of the owner's sessions.
    pub(super) fn revoking(&self, owner: &str) -> OnDrop<impl FnMut()> {
        OnDrop(move || {
            let last = self.revocations.fetch_add(1, AcqRel) + 1;
            self.revoked(owner).fetch_max(last, AcqRel);
        })
    }

    fn is_good(&self, cached: &CachedRecord, at: u64) -> bool {
        let is_revoked = |owner| cached.read.revocations < self.revoked(owner).load(Acquire);
        // Calls that overtake each other may show a moment before the read: that wraps around to an age beyond all bounds.
        at.wrapping_sub(cached.read.at) < cached.lasts && !cached.record.owner().is_some_and(is_revoked)
    }

    fn writes(&self, key: StoreKey) -> MutexGuard<'_, u64> {
        self.writes[usize::from(key.as_bytes()[0])].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn revoked(&self, owner: &str) -> &AtomicU64 {
        &self.revoked[usize::from(self.hasher.hash_one(owner).to_be_bytes()[0])]
    }
}

impl CachedRecord {
    fn weight(&self) -> u32 {
        /// The record, its key and what the cache itself keeps of both.
        const RECORD_BYTES: usize = size_of::<Record>() + size_of::<(StoreKey, CachedRecord)>() + 64;
        /// The pointer to a value and the headers of its allocation.
        const ENTRY_BYTES: usize = size_of::<Entry>() + 32;
        let entries = self.record.values.len() + self.record.flash.len();
        let owner = self.record.owner().map_or(0, str::len);
        let bytes = RECORD_BYTES + owner + entries * ENTRY_BYTES + self.record.size();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("sessions", &self.cache.entry_count()).finish_non_exhaustive()
    }
}

/// A guard that runs a closure when it is dropped.
pub(super) struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
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
            let token = SessionToken::from_random(
                std::array::from_fn(|at| n.to_be_bytes()[at % 8]),
                crate::token::TokenScope::of("sid"),
            );
            let Lookup::Miss(load) = front.find(token.key(), 0) else { panic!("known before it was asked for") };
            front.keep(&load, &live);
        }
        front.cache.run_pending_tasks();
        let (count, bytes) = (front.cache.entry_count(), front.cache.weighted_size());
        assert!(bytes <= 100_000 && bytes > 80_000, "{bytes}");
        assert!((bytes / count) > 2_000 && (bytes / count) < 2_500, "{bytes} for {count}");
    }
}
