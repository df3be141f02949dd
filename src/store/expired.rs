//! The sessions that were found expired, kept so that a clock that steps back revives none of them.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

/// The sessions that were found expired most recently, each under an `Id` with its deadline.
///
/// One common deadline for all sessions would end too many. While a clock is wrong it may find a session with a late
/// deadline expired. A session that begins after the clock was corrected may end before that deadline and must live
/// until its own. Nothing in a record tells the two apart, since a clock that stepped back shows the same times twice.
pub(crate) struct ExpiredSessions<Id> {
    /// The latest deadline in either generation. A session with a later deadline is in neither, so it needs no lock.
    latest: AtomicU64,
    /// The young generation and the old one. When the young one is full it replaces the old one.
    generations: RwLock<[Deadlines<Id>; 2]>,
}

/// The latest deadline, in microseconds, with which each session was found expired.
///
/// Copies of one session may have several deadlines. Each copy up to this one has expired.
type Deadlines<Id> = HashMap<Id, u64>;

/// The number of sessions in a full generation: at least so many are remembered, and at most twice as many, in less
/// than 1 MiB.
const REMEMBERED: usize = 4_096;

impl<Id> Default for ExpiredSessions<Id> {
    fn default() -> Self {
        Self { latest: AtomicU64::default(), generations: RwLock::default() }
    }
}

impl<Id> fmt::Debug for ExpiredSessions<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpiredSessions").finish_non_exhaustive()
    }
}

impl<Id: Copy + Eq + Hash> ExpiredSessions<Id> {
    /// Remembers a session that was found expired.
    pub(crate) fn note(&self, session: Id, deadline: u64) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *generations;
        if young.len() >= REMEMBERED && !young.contains_key(&session) {
            *old = std::mem::take(young);
        }
        let known = old.get(&session).copied().unwrap_or_default();
        let latest = young.entry(session).or_default();
        *latest = deadline.max(*latest).max(known);
        self.latest.fetch_max(deadline, Relaxed);
    }

    /// Returns whether a session with this deadline or a later one was found expired.
    pub(crate) fn includes(&self, session: Id, deadline: u64) -> bool {
        if deadline > self.latest.load(Relaxed) {
            return false;
        }
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        generations.iter().any(|deadlines| deadlines.get(&session).is_some_and(|latest| deadline <= *latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SessionHandle;

    fn session(n: usize) -> SessionHandle {
        SessionHandle::from_bytes((n as u128).to_be_bytes())
    }

    #[test]
    fn a_session_is_over_up_to_the_deadline_that_was_found_and_no_other_is() {
        let expired = ExpiredSessions::default();
        assert!(!expired.includes(session(1), 0));
        expired.note(session(1), 20);
        expired.note(session(1), 10);
        expired.note(session(2), 90);
        for (n, deadline, expected) in [(1, 10, true), (1, 20, true), (1, 21, false), (2, 90, true), (3, 5, false)] {
            assert_eq!(expired.includes(session(n), deadline), expected, "{n} {deadline}");
        }
    }

    #[test]
    fn the_last_ones_are_remembered_and_memory_is_bounded() {
        let expired = ExpiredSessions::default();
        for n in 0..10 * REMEMBERED {
            expired.note(session(n), 5);
            // A session that is found again stays, and takes no room of others.
            expired.note(session(n), 5);
            expired.note(session(0), 9);
            for back in [0, 1, REMEMBERED / 2, REMEMBERED - 2] {
                assert!(n < back || expired.includes(session(n - back), 5), "{back} before {n}");
            }
        }
        assert!(expired.includes(session(0), 9));
        let generations = expired.generations.read().unwrap();
        assert!(generations[0].len() + generations[1].len() <= 2 * REMEMBERED);
        // Memory is bounded where each session is found once, too.
        let expired = ExpiredSessions::default();
        (0..10 * REMEMBERED).for_each(|n| expired.note(session(n), 5));
        let generations = expired.generations.read().unwrap();
        assert!(generations[0].len() + generations[1].len() <= 2 * REMEMBERED);
    }
}
