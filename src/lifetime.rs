//! The timeouts of a layer, and the deadlines that follow from them, as pure functions of microseconds.

use std::time::Duration;

use crate::clock::span;
use crate::record::Record;

/// The absolute timeout unless the program sets another one.
pub(crate) const ABSOLUTE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Microseconds of a second.
const SECOND: u64 = 1_000_000;

/// The timeouts of a layer, in microseconds, since every request with a session compares them with such times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetime {
    idle: u64,
    absolute: u64,
    /// The age at which a token is replaced.
    renewal: Option<u64>,
}

impl Lifetime {
    pub(crate) fn new(idle: Duration, absolute: Duration, renewal: Option<Duration>) -> Self {
        Self { idle: span(idle), absolute: span(absolute), renewal: renewal.map(span) }
    }

    /// Returns the absolute timeout, in whole microseconds.
    pub(crate) fn absolute(&self) -> Duration {
        Duration::from_micros(self.absolute)
    }

    /// Returns the deadline of a session that is used at `now`: `now` plus the idle timeout, but at most the absolute
    /// deadline.
    pub(crate) fn deadline(&self, record: &Record, now: u64) -> u64 {
        now.saturating_add(self.idle(record)).min(record.absolute)
    }

    /// Returns the new deadline if it is at least a tenth of the idle timeout later than the present one.
    ///
    /// So a session never ends early by more than that tenth (ASVS 7.3.1).
    pub(crate) fn refresh(&self, record: &Record, now: u64) -> Option<u64> {
        let deadline = self.deadline(record, now);
        let gained = deadline.checked_sub(record.deadline)?;
        (gained > 0 && gained >= self.idle(record) / 10).then_some(deadline)
    }

    /// Returns whether the token has the age at which it is replaced.
    pub(crate) fn is_renewal_due(&self, record: &Record, now: u64) -> bool {
        let age = now.saturating_sub(record.created).saturating_sub(u64::from(record.renewed) * SECOND);
        self.renewal.is_some_and(|renewal| age >= renewal)
    }

    /// Returns the value of [`Record::renewed`] for a session whose token is replaced at `now`.
    pub(crate) fn renewed(&self, record: &Record, now: u64) -> u32 {
        // Rounded up, so that no token is replaced while the one before it still leads on.
        let after = now.saturating_sub(record.created).div_ceil(SECOND);
        if self.renewal.is_some() { u32::try_from(after).unwrap_or(u32::MAX) } else { 0 }
    }

    /// Returns whether a session that is used at `now` gets a new deadline or a new token even if nothing in it
    /// changes.
    pub(crate) fn is_due(&self, record: &Record, now: u64) -> bool {
        self.refresh(record, now).is_some() || self.is_renewal_due(record, now)
    }

    /// Returns the absolute deadline of a session that begins at `now`.
    pub(crate) fn absolute_deadline(&self, now: u64) -> u64 {
        now.saturating_add(self.absolute)
    }

    /// Returns the idle timeout that applies: the session's own, or else the layer's.
    fn idle(&self, record: &Record) -> u64 {
        if record.idle > 0 { record.idle } else { self.idle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const LIFETIME: Lifetime = Lifetime { idle: 1_000, absolute: 5_000, renewal: None };

    fn born(at: u64) -> Record {
        let mut record =
            Record { created: at, seen: at, deadline: 0, absolute: LIFETIME.absolute_deadline(at), ..Record::blank() };
        record.deadline = LIFETIME.deadline(&record, at);
        record
    }

    #[test]
    fn a_refresh_is_due_after_a_tenth_of_the_idle_timeout() {
        let record = born(10_000);
        assert_eq!(record.deadline, 11_000);
        assert_eq!(LIFETIME.refresh(&record, 10_099), None);
        assert_eq!(LIFETIME.refresh(&record, 10_100), Some(11_100));
    }

    #[test]
    fn a_deadline_that_stays_is_no_refresh_however_short_the_idle_timeout() {
        let mut record = born(10_000);
        (record.idle, record.deadline) = (9, 10_009);
        assert_eq!(LIFETIME.refresh(&record, 10_000), None);
        assert_eq!(LIFETIME.refresh(&record, 10_001), Some(10_010));
    }

    #[test]
    fn the_absolute_deadline_is_never_passed() {
        let mut record = born(10_000);
        record.deadline = 14_950;
        assert_eq!(LIFETIME.refresh(&record, 14_900), None, "less than a tenth to gain");
        record.deadline = 14_000;
        assert_eq!(LIFETIME.refresh(&record, 14_900), Some(15_000));
    }

    #[test]
    fn a_sessions_own_idle_timeout_comes_first() {
        let mut record = born(10_000);
        record.idle = 3_000;
        assert_eq!(LIFETIME.refresh(&record, 10_000), Some(13_000));
    }

    #[test]
    fn a_renewal_is_due_by_the_age_of_the_token() {
        let lifetime = Lifetime { renewal: Some(2 * SECOND), ..LIFETIME };
        let is_due = |record: &Record, millis: u64| lifetime.is_renewal_due(record, millis * 1_000);
        let mut record = born(10_000_000);
        assert!(!is_due(&record, 11_999) && is_due(&record, 12_000));
        record.renewed = lifetime.renewed(&record, 12_345_000);
        assert!(!is_due(&record, 14_999) && is_due(&record, 15_000), "to the second, and never early");
        assert!(!is_due(&record, 0), "the clock stepped back");
        assert!(!LIFETIME.is_renewal_due(&record, u64::MAX) && LIFETIME.renewed(&record, 12_000_000) == 0);
    }

    proptest! {
        #[test]
        fn a_session_in_use_ends_early_by_less_than_a_tenth(uses in prop::collection::vec(1_u64..900, 1..40)) {
            let mut record = born(0);
            let mut now = 0;
            for pause in uses {
                now += pause;
                let ideal = LIFETIME.deadline(&record, now);
                if let Some(deadline) = LIFETIME.refresh(&record, now) {
                    record.deadline = deadline;
                }
                prop_assert!(record.deadline <= record.absolute);
                prop_assert!(ideal - record.deadline < 100);
            }
        }

        #[test]
        fn extremes_never_overflow(now: u64, deadline: u64, absolute: u64, idle: u64) {
            let record = Record { deadline, absolute, idle, ..born(0) };
            let _ = (LIFETIME.deadline(&record, now), LIFETIME.refresh(&record, now));
            let _ = LIFETIME.absolute_deadline(now);
        }
    }
}
