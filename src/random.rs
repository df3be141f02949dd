//! Randomness for tokens, versions and secrets: a `ChaCha20` generator per thread, seeded by the operating system.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};

use crate::error::{Error, Kind};
use crate::record::{SessionHandle, Version};
use crate::token::{SessionToken, TokenScope};

/// The number of requests to a generator until it is seeded again.
const RESEED_AFTER: u32 = 4_096;

thread_local! {
    static GENERATOR: RefCell<Option<(ChaCha20Rng, u32)>> = const { RefCell::new(None) };
}

/// The source of a layer's random bytes: the program's own, or the generator of the thread.
#[derive(Clone, Default)]
pub(crate) struct Random(Option<Arc<Source>>);

type Source = dyn Fn(&mut [u8]) -> io::Result<()> + Send + Sync;

impl Random {
    pub(crate) fn new(source: impl Fn(&mut [u8]) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(source)))
    }

    pub(crate) fn bytes<const N: usize>(&self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        match &self.0 {
            None => fill(&mut bytes),
            Some(source) => source(&mut bytes),
        }
        .map_err(Kind::Random)?;
        Ok(bytes)
    }

    pub(crate) fn token(&self, scope: TokenScope) -> Result<SessionToken, Error> {
        self.bytes().map(|bytes| SessionToken::from_random(bytes, scope))
    }

    /// Returns a random version other than `before`.
    pub(crate) fn version(&self, before: Option<Version>) -> Result<Version, Error> {
        let number = u64::from_be_bytes(self.bytes()?);
        let fresh = Version::new(number).filter(|fresh| Some(*fresh) != before);
        // Two in 2^64 numbers are zero or the version before: the number after `before` takes their place.
        Ok(fresh.unwrap_or_else(|| Version::after(before)))
    }

    pub(crate) fn handle(&self) -> Result<SessionHandle, Error> {
        self.bytes().map(SessionHandle::from_bytes)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Random(custom)" } else { "Random(operating system)" })
    }
}

/// Fills a buffer from this thread's generator.
pub(crate) fn fill(out: &mut [u8]) -> io::Result<()> {
    GENERATOR.with_borrow_mut(|slot| {
        let (generator, left) = match slot {
            Some((_, 0)) | None => {
                let mut seed = [0; 32];
                // Without a new seed there are no more random bytes, not even from the old generator.
                *slot = None;
                getrandom::fill(&mut seed).map_err(io::Error::other)?;
                slot.insert((ChaCha20Rng::from_seed(seed), RESEED_AFTER))
            }
            Some(seeded) => seeded,
        };
        *left -= 1;
        generator.fill_bytes(out);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn tokens_differ_and_their_bits_are_even() {
        let random = Random::default();
        let mut seen = HashSet::new();
        let mut ones = [0_u32; 192];
        for _ in 0..100_000 {
            let bytes = random.bytes::<24>().unwrap();
            (0..192).for_each(|bit| ones[bit] += u32::from(bytes[bit / 8] >> (bit % 8) & 1));
            assert!(seen.insert(bytes));
        }
        // Five standard deviations of a fair coin thrown 100,000 times, twice over for 192 bits.
        assert!(ones.iter().all(|ones| ones.abs_diff(50_000) < 1_000), "{ones:?}");
    }

    #[test]
    fn generator_is_seeded_anew_in_time() {
        let left = || GENERATOR.with_borrow(|slot| slot.as_ref().map(|(_, left)| *left));
        assert_eq!(left(), None, "a test has a thread of its own");
        for asked in 1..=RESEED_AFTER {
            fill(&mut [0; 24]).unwrap();
            assert_eq!(left(), Some(RESEED_AFTER - asked));
        }
        fill(&mut [0; 24]).unwrap();
        assert_eq!(left(), Some(RESEED_AFTER - 1));
    }

    #[test]
    fn no_randomness_is_an_error() {
        let broken = Random::new(|_| Err(io::Error::other("no entropy")));
        assert!(broken.token(TokenScope::of("sid")).is_err_and(|error| error.is_unavailable()));
    }

    #[test]
    fn a_version_is_never_zero_nor_the_one_before() {
        let zero = Random::new(|_| Ok(()));
        assert_eq!(zero.version(None).unwrap().get(), 1);
        assert_eq!(zero.version(Version::new(1)).unwrap().get(), 2);
    }
}
