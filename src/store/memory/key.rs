//! The part of a token by which the maps find its session.

use std::hash::{BuildHasherDefault, Hasher};

use crate::token::{RANDOM_LEN, SessionToken, StoreKey, TokenScope, locator};

/// Bytes of a token that make its key.
pub(super) const KEY_LEN: usize = 8;

/// The first 64 bits of a random token. The slot holds the other 128, compared in constant time, and the scope.
///
/// Two live tokens that share a key are as good as impossible, and harmless: the layer mints another token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenKey(u64);

impl TokenKey {
    pub(super) fn new(token: &[u8; RANDOM_LEN]) -> Self {
        Self(locator(token))
    }

    /// Returns the key of a token, with the bytes and the scope of the token; `None` for a token of another shape.
    pub(super) fn of(token: &SessionToken) -> Option<(Self, Token<'_>)> {
        token.random().map(|token| (Self::new(token.0), token))
    }

    /// Returns the place of a session that is named by its store key; `None` if the key was read from a store.
    pub(super) fn named(key: &StoreKey) -> Option<Self> {
        key.locator().map(Self)
    }

    /// Returns the bytes of a token, whose rest the slot holds.
    pub(super) fn bytes(self) -> [u8; KEY_LEN] {
        self.0.to_le_bytes()
    }

    /// Returns the shard of this key among `count`, a power of two up to 65,536.
    ///
    /// The middle bits select it, since the table in the shard uses the lowest and the highest.
    pub(super) fn shard(self, count: usize) -> usize {
        let [_, _, _, _, low, high, ..] = self.0.to_le_bytes();
        usize::from(u16::from_le_bytes([low, high])) & (count - 1)
    }
}

/// The bytes of a random token, and its scope.
pub(super) type Token<'a> = (&'a [u8; RANDOM_LEN], TokenScope);

pub(super) type BuildIdentity = BuildHasherDefault<Identity>;

/// Hashes a key to itself.
///
/// This is sound because no client chooses a key: the layer mints the tokens, so keys are random already.
#[derive(Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| hash.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher as _;

    use super::*;

    #[test]
    fn the_middle_bits_select_the_shard_and_all_bits_make_the_hash() {
        let hash = |key: TokenKey| BuildIdentity::default().hash_one(key);
        let zero = TokenKey::new(&[0; RANDOM_LEN]);
        for at in 0..12 {
            for bit in 0..8 {
                let mut bytes = [0; RANDOM_LEN];
                bytes[at] = 1 << bit;
                let other = TokenKey::new(&bytes);
                assert_eq!(hash(other) != hash(zero), at < KEY_LEN, "byte {at}");
                let is_middle = matches!(at, 4 | 5);
                assert_eq!(other.shard(65_536) != zero.shard(65_536), is_middle, "byte {at}");
            }
        }
        let shard = |n: u16| TokenKey::new(&std::array::from_fn(|at| n.to_le_bytes()[at % 2])).shard(4_096);
        assert_eq!((0..=u16::MAX).map(shard).collect::<HashSet<_>>().len(), 4_096);
    }
}
