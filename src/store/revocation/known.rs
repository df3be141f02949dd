//! The marks that this process knows. A sign-in that begins while its process knows the mark began after the revocation,
//! whatever the clocks say.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The revocations that this process has completed.
static COMPLETED: Mutex<Known> = Mutex::new(Known::new());
/// The marks by which this process has refused a sign-in. They have a table of their own, so that no number of refusals
/// makes the process forget its own revocations.
static SEEN: Mutex<Known> = Mutex::new(Known::new());

/// The number of newer marks that a mark outlasts at least.
///
/// A time would not do: where the store has no clock, a mark stands for as long as its owner has sessions. A map of so many
/// has 65,536 places, and takes 2 MiB.
const REMEMBERED: usize = 50_000;

/// A mark's name and moment. The moment is zero for a revocation that is complete: it is not sent again, so its mark has no
/// other moment later.
type Mark = (u64, u64);

/// The names are random already, so the hash needs no keys of its own.
type Times = HashMap<Mark, Instant, BuildHasherDefault<DefaultHasher>>;

/// Remembers that a revocation of this process is complete.
pub(super) fn note_completed(name: u64) {
    lock(&COMPLETED).note((name, 0));
}

/// Remembers a mark that has refused a sign-in.
pub(super) fn note_seen(name: u64, moment: u64) {
    lock(&SEEN).note((name, moment));
}

/// Remembers what a mark says of the session that it spares for as long as the mark before is known, which said the same. The
/// spared session is the one that asked for the revocation, so its sign-in is of this process.
pub(super) fn pass_on((name, moment): (u64, u64), is_latest: bool, next: u64) {
    let completed = if is_latest { lock(&COMPLETED).since((name, 0)) } else { None };
    let mut seen = lock(&SEEN);
    let known = [completed, seen.since((name, moment))];
    if let Some(since) = known.into_iter().flatten().min() {
        seen.insert((next, moment), since);
    }
}

/// Returns whether this process knew the mark at that time.
pub(super) fn is_known(name: u64, moment: u64, is_latest: bool, at: Instant) -> bool {
    let knew = |since: Option<Instant>| since.is_some_and(|since| since <= at);
    is_latest && knew(lock(&COMPLETED).since((name, 0))) || knew(lock(&SEEN).since((name, moment)))
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last marks and the times from which on they were known. When the young ones are full, the old ones are forgotten
/// together, so that no call looks for the oldest.
struct Known {
    young: Times,
    old: Times,
}

impl Known {
    const fn new() -> Self {
        Self {
            young: Times::with_hasher(BuildHasherDefault::new()),
            old: Times::with_hasher(BuildHasherDefault::new()),
        }
    }

    /// Remembers a mark from now on, unless it is known.
    fn note(&mut self, mark: Mark) {
        self.insert(mark, Instant::now());
    }

    /// Remembers a mark as known since then, unless it is known.
    fn insert(&mut self, mark: Mark, since: Instant) {
        if self.since(mark).is_some() {
            return;
        }
        if self.young.len() == REMEMBERED {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(mark, since);
    }

    fn since(&self, mark: Mark) -> Option<Instant> {
        self.young.get(&mark).or_else(|| self.old.get(&mark)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_forgotten_after_many_newer_ones_and_not_before() {
        let mut known = Known::new();
        assert_eq!(known.young.capacity() + known.old.capacity(), 0, "nothing is allocated before it is used");
        let mark = |number: usize| (number as u64, 7);
        let forgotten =
            |known: &Known, upto: usize| (0..upto).filter(|number| known.since(mark(*number)).is_none()).count();
        for number in 0..2 * REMEMBERED {
            known.note(mark(number));
        }
        assert_eq!(forgotten(&known, 2 * REMEMBERED), 0);
        let first = known.since(mark(0));
        known.note(mark(0));
        assert_eq!(known.since(mark(0)), first, "it was known already");
        known.note(mark(2 * REMEMBERED));
        assert_eq!(forgotten(&known, 2 * REMEMBERED + 1), REMEMBERED, "all of the oldest");
        for number in 2 * REMEMBERED + 1..4 * REMEMBERED {
            known.note(mark(number));
            assert!(known.since(mark(number - REMEMBERED)).is_some(), "{number}: so many newer ones");
            assert!(known.young.len() <= REMEMBERED && known.old.len() <= REMEMBERED);
        }
        let room = known.young.capacity().max(known.old.capacity());
        assert!(room < 2 * REMEMBERED, "{room}: the maps grow no further");
    }

    #[test]
    fn a_mark_is_known_by_its_name_and_moment() {
        let (name, before) = (0x6e61_6d65, Instant::now());
        note_seen(name, 1);
        let after = Instant::now();
        assert!(is_known(name, 1, true, after) && !is_known(name, 1, true, before));
        assert!(!is_known(name, 2, true, after) && !is_known(name + 1, 1, true, after), "another mark");
        note_completed(name);
        assert!(is_known(name, 2, true, Instant::now()), "a revocation that is complete, at any moment");
        assert!(!is_known(name, 2, false, Instant::now()), "the mark before");
    }
}
