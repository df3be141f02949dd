//! Parts of a layer's settings that have rules of their own.

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{HeaderMap, HeaderName};

/// The policy for the headers that tell caches how to treat a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CacheHeaders {
    /// Adds `Vary: Cookie` if the session was accessed, and `Cache-Control: no-store` if a cookie is set.
    #[default]
    Automatic,
    /// Adds nothing, for a program that sets these headers itself or is behind no cache.
    Off,
}

/// The part of requests and responses that carries the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Cookie,
    /// A header of the layer's own, for clients without cookies.
    Header,
}

/// The header that carries tokens for clients without cookies.
pub(crate) struct TokenHeader {
    pub(crate) name: HeaderName,
    /// True if the header replaces the cookie.
    pub(crate) is_alone: bool,
}

impl TokenHeader {
    #[inline]
    pub(crate) fn is_used_by(&self, request: &HeaderMap) -> bool {
        self.is_alone || request.contains_key(&self.name)
    }
}

/// The latest time given to a sign-in or a revocation.
///
/// All layers on the system's clock share one latest time, since two of them may share a store.
pub(crate) enum SignInTimes {
    OfTheSystem,
    Own(AtomicU64),
}

static LATEST: AtomicU64 = AtomicU64::new(0);

impl SignInTimes {
    fn latest(&self) -> &AtomicU64 {
        match self {
            Self::OfTheSystem => &LATEST,
            Self::Own(latest) => latest,
        }
    }

    /// Returns `now`, or the first later time that no other sign-in or revocation of this process has (microseconds).
    pub(crate) fn next(&self, now: u64) -> u64 {
        let later = |latest: u64| now.max(latest.saturating_add(1));
        let latest = self.latest().fetch_update(Ordering::AcqRel, Ordering::Acquire, |latest| Some(later(latest)));
        later(latest.unwrap_or_else(|latest| latest))
    }

    /// Makes every later time follow this one, which came from another process or from before a restart.
    pub(crate) fn learn(&self, time: u64) {
        self.latest().fetch_max(time, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_on_the_systems_clock_share_their_sign_in_times() {
        let layers = [SignInTimes::OfTheSystem, SignInTimes::OfTheSystem];
        let times: Vec<_> = (0..10_000).map(|at| layers[at % 2].next(7)).collect();
        assert!(times.is_sorted_by(|one, next| one < next));
    }
}
