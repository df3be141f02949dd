//! What was found expired, so that a clock that steps back revives none of it.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

/// The sessions that were found expired last, by their names.
///
/// No time that is common to all of them would do: a session that begins once a wild clock is right again may end
/// before one that was found expired meanwhile, and since a clock that stepped back shows the same times twice, nothing
/// inside tells the two apart.
pub(crate) struct Ended<Name> {
    /// The latest deadline that was found passed: whatever ends later is none of these, which needs no lock to see.
    latest: AtomicU64,
    found: RwLock<Found<Name>>,
}

/// Two generations, of which the older is forgotten once the younger is full.
struct Found<Name> {
    young: Deadlines<Name>,
    old: Deadlines<Name>,
}

/// In microseconds: of one session, each copy that ends then or earlier is over.
type Deadlines<Name> = HashMap<Name, u64>;

/// How many sessions are remembered at least, and at most twice as many: less than 1 MiB.
const REMEMBERED: usize = 4_096;

impl<Name> Default for Ended<Name> {
    fn default() -> Self {
        let found = Found { young: HashMap::new(), old: HashMap::new() };
        Self { latest: AtomicU64::new(0), found: RwLock::new(found) }
    }
}

impl<Name> fmt::Debug for Ended<Name> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended").finish_non_exhaustive()
    }
}

impl<Name: Copy + Eq + Hash> Ended<Name> {
    /// Remembers a session that was found expired.
    pub(crate) fn note(&self, session: Name, deadline: u64) {
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        if found.young.len() >= REMEMBERED && !found.young.contains_key(&session) {
            found.old = std::mem::take(&mut found.young);
        }
        let known = found.old.get(&session).copied().unwrap_or_default();
        let latest = found.young.entry(session).or_default();
        *latest = deadline.max(*latest).max(known);
        self.latest.fetch_max(deadline, Relaxed);
    }

    /// Whether a session with this deadline was found expired.
    pub(crate) fn includes(&self, session: Name, deadline: u64) -> bool {
        if deadline > self.latest.load(Relaxed) {
            return false;
        }
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        [&found.young, &found.old].into_iter().any(|known| known.get(&session).is_some_and(|end| deadline <= *end))
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
        let ended = Ended::default();
        assert!(!ended.includes(session(1), 0));
        ended.note(session(1), 20);
        ended.note(session(1), 10);
        ended.note(session(2), 90);
        for (n, deadline, expected) in [(1, 10, true), (1, 20, true), (1, 21, false), (2, 90, true), (3, 5, false)] {
            assert_eq!(ended.includes(session(n), deadline), expected, "{n} {deadline}");
        }
    }

    #[test]
    fn the_last_ones_are_remembered_and_memory_is_bounded() {
        let ended = Ended::default();
        for n in 0..10 * REMEMBERED {
            ended.note(session(n), 5);
            // Found again and again: it stays, and takes no room of others.
            ended.note(session(n), 5);
            ended.note(session(0), 9);
            for back in [0, 1, REMEMBERED / 2, REMEMBERED - 2] {
                assert!(n < back || ended.includes(session(n - back), 5), "{back} before {n}");
            }
        }
        assert!(ended.includes(session(0), 9));
        let found = ended.found.read().unwrap();
        assert!(found.young.len() + found.old.len() <= 2 * REMEMBERED);
        // Nor does it grow where each is found once.
        let ended = Ended::default();
        (0..10 * REMEMBERED).for_each(|n| ended.note(session(n), 5));
        let found = ended.found.read().unwrap();
        assert!(found.young.len() + found.old.len() <= 2 * REMEMBERED);
    }
}
