//! Randomness for tokens, nonces and secrets, and for versions.
//!
//! A forked process and a copied machine image begin with all the memory of their original. So no secret comes from a
//! state that outlives a draw, and each draw depends on the time as well.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};

use crate::error::{Error, Kind};
use crate::record::{SessionHandle, Version};
use crate::token::{SessionToken, TokenScope};

thread_local! {
    static NUMBERS: RefCell<Option<Numbers>> = const { RefCell::new(None) };
}

/// The source of a layer's random bytes: the program's own, or the operating system.
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
        let number = match &self.0 {
            None => number().map_err(Kind::Random)?,
            Some(_) => u64::from_be_bytes(self.bytes()?),
        };
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

/// Fills a buffer with bytes that nobody can guess.
///
/// Each draw has a key of its own from the operating system, which a fork does not share. A copied machine image also
/// contains the system's generator and may repeat its bytes, but not at the same nanosecond.
pub(crate) fn fill(out: &mut [u8]) -> io::Result<()> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    expand(key, time(), out);
    Ok(())
}

/// Draws a number that hardly repeats but may be guessed, without a call of the operating system.
pub(crate) fn number() -> io::Result<u64> {
    NUMBERS.with_borrow_mut(|slot| {
        let numbers = if let Some(numbers) = slot {
            numbers
        } else {
            let mut seed = [0; 32];
            fill(&mut seed)?;
            slot.insert(Numbers(ChaCha20Rng::from_seed(seed)))
        };
        Ok(numbers.next(time_of_day()))
    })
}

/// A generator of numbers, whose copy in another process draws others.
struct Numbers(ChaCha20Rng);

impl Numbers {
    fn next(&mut self, time: u64) -> u64 {
        self.0.next_u64() ^ time
    }
}

fn expand(key: [u8; 32], time: u64, out: &mut [u8]) {
    let mut generator = ChaCha20Rng::from_seed(key);
    generator.set_stream(time);
    generator.fill_bytes(out);
}

/// Mixes two clocks, since a copy may share the time of one of them.
fn time() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Multiplied by the golden ratio, so that no sum hides two clocks that differ by the same.
    time_of_day().wrapping_add(nanoseconds(START.elapsed()).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn time_of_day() -> u64 {
    nanoseconds(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_secs().wrapping_mul(1_000_000_000).wrapping_add(time.subsec_nanos().into())
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
    fn what_a_copy_of_the_system_repeats_gives_other_secrets_at_another_time() {
        let secret = |time| {
            let mut secret = [0; 24];
            expand([7; 32], time, &mut secret);
            secret
        };
        let seen: HashSet<_> = (0..10_000).chain((14..64).map(|bit| 1 << bit)).map(secret).collect();
        assert_eq!(seen.len(), 10_050);
        assert_eq!(secret(5), secret(5), "nothing else makes the difference");
    }

    #[test]
    fn a_copied_process_draws_other_versions_at_another_time() {
        let copy = || Numbers(ChaCha20Rng::from_seed([7; 32]));
        let (mut parent, mut child, mut same) = (copy(), copy(), copy());
        for time in 0..10_000 {
            let number = parent.next(time);
            assert_ne!(number, child.next(time + 1));
            assert_eq!(number, same.next(time), "nothing else makes the difference");
        }
    }

    #[test]
    fn the_time_of_draws_moves_on() {
        let first = (time(), time_of_day());
        assert!((0..10_000_000).any(|_| time() != first.0 && time_of_day() != first.1));
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
