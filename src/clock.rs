//! The source of the time, and times in microseconds.

use std::fmt::Debug;
use std::sync::Arc;
#[cfg(any(feature = "memory", feature = "conformance"))]
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(any(feature = "memory", feature = "conformance"))]
use std::time::Instant;
use std::time::{Duration, SystemTime};

/// A source of the current time.
///
/// A layer has one clock and passes its time to the store with each call. So record, cookie and sweeper agree, and
/// tests move time without sleeping.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_session_layer::{Clock, SystemClock};
///
/// /// A clock that is known to be an hour fast.
/// #[derive(Debug)]
/// struct Corrected(SystemClock);
///
/// impl Clock for Corrected {
///     fn now(&self) -> SystemTime {
///         self.0.now() - Duration::from_secs(60 * 60)
///     }
/// }
/// assert!(Corrected(SystemClock::default()).now() < SystemClock::default().now());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no clock for sessions",
    label = "expected `SystemClock`, `ManualClock` or a type with `impl Clock`",
    note = "a `Clock` is `Debug + Send + Sync + 'static` and tells the time whenever it is asked; tests use `ManualClock`"
)]
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

/// The operating system's clock, which a layer uses by default.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is moved, for tests.
///
/// Clones show the same time.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_session_layer::{Clock, ManualClock};
///
/// let clock = ManualClock::default();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), before + Duration::from_secs(60));
/// clock.set(before); // clocks step back
/// assert_eq!(clock.now(), ManualClock::new(before).now());
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    micros: Arc<AtomicU64>,
}

impl ManualClock {
    /// Creates a clock that shows `time`.
    pub fn new(time: SystemTime) -> Self {
        Self { micros: Arc::new(AtomicU64::new(micros(time))) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }

    /// Sets the clock to an earlier or later time.
    pub fn set(&self, time: SystemTime) {
        self.micros.store(micros(time), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// Creates a clock that shows 2026-01-01 00:00:00 UTC.
    fn default() -> Self {
        Self::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        time(self.micros.load(Ordering::SeqCst))
    }
}

/// Returns a time as microseconds since the Unix epoch, as records hold it. A time before the epoch counts as the
/// epoch.
#[inline]
pub(crate) fn micros(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, span)
}

/// Returns the time that is this number of microseconds after the Unix epoch.
#[inline]
pub(crate) fn time(micros: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros.min(MAX_MICROS))
}

/// Returns a duration in whole microseconds.
#[inline]
pub(crate) fn span(duration: Duration) -> u64 {
    let micros = duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into());
    micros.min(MAX_MICROS)
}

/// The largest number of microseconds that every system's `SystemTime` can hold: about the year 294,000.
const MAX_MICROS: u64 = i64::MAX.unsigned_abs();

/// Returns the time since an arbitrary beginning, the same for the whole process, which never goes back.
#[cfg(any(feature = "memory", feature = "conformance"))]
pub(crate) fn monotonic() -> SystemTime {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    SystemTime::UNIX_EPOCH + BEGINNING.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_trip_through_microseconds() {
        for micros_since in [0, 1, 1_767_225_600_000_001, 253_402_300_799_000_000, MAX_MICROS] {
            assert_eq!(micros(time(micros_since)), micros_since);
        }
        assert_eq!(micros(SystemTime::UNIX_EPOCH - Duration::from_secs(5)), 0);
        assert_eq!(micros(time(u64::MAX)), MAX_MICROS);
        assert_eq!(span(Duration::MAX), MAX_MICROS);
    }
}
