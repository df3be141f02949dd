//! A clock that never goes back, made of one that may.

use std::sync::atomic::{AtomicU64, Ordering::AcqRel};

/// The times that calls bring, with every step back added again. An age measured by this clock grows with each step
/// forward, and a step back makes nothing younger.
///
/// Calls that overtake each other look like tiny steps back. They age everything by as much, which does no harm.
#[derive(Debug, Default)]
pub(super) struct MonotonicClock {
    latest: AtomicU64,
    /// The sum of all steps back, in microseconds.
    behind: AtomicU64,
}

impl MonotonicClock {
    /// Returns the time of this clock at a call's `now`, in microseconds. Only differences mean anything, and they wrap
    /// around.
    pub(super) fn at(&self, now: u64) -> u64 {
        let back = self.latest.swap(now, AcqRel).saturating_sub(now);
        self.behind.fetch_add(back, AcqRel).wrapping_add(back).wrapping_add(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_the_sum_of_all_steps_forward() {
        let clock = MonotonicClock::default();
        let begin = clock.at(1_000);
        let mut age = 0;
        for (now, forward) in [(1_000, 0), (1_004, 4), (1_001, 0), (1_003, 2), (9_000, 7_997), (5, 0), (6, 1), (6, 0)] {
            age += forward;
            assert_eq!(clock.at(now).wrapping_sub(begin), age, "at {now}");
        }
    }

    #[test]
    fn clock_at_its_end_does_not_overflow() {
        let clock = MonotonicClock::default();
        let mut last = clock.at(0);
        for _ in 0..5 {
            for (now, forward) in [(u64::MAX, u64::MAX), (0, 0)] {
                let shown = clock.at(now);
                assert_eq!(shown.wrapping_sub(last), forward);
                last = shown;
            }
        }
    }
}
