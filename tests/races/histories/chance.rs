//! Everything that is left to chance comes from one seed.

use std::sync::{Arc, Mutex};

/// A generator that needs nothing and always starts alike (`SplitMix64`), shared by whoever decides.
#[derive(Debug, Clone)]
pub(crate) struct Chance(Arc<Mutex<u64>>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    pub(crate) fn below(&self, bound: usize) -> usize {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = *state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) >> 32).unwrap() % bound
    }

    pub(crate) fn percent(&self, chance: usize) -> bool {
        self.below(100) < chance
    }
}
