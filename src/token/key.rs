//! The digest of a token, under which a store keeps a session.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::{RANDOM_LEN, TokenScope};

/// The SHA-256 of a [`SessionToken`](crate::SessionToken) and its scope: the name of a session in a store, and all of a
/// token that may leave the process.
///
/// `Display` and [`hex`](Self::hex) give all 64 lower-case hex digits, for file names, keys and rows. `Debug` gives the
/// first eight, for logs.
#[derive(Clone, Copy)]
pub struct StoreKey {
    digest: [u8; 32],
    /// The first 64 bits of the token, by which a store in memory finds the session; zero if the key was read from a
    /// store. The rest of the token has 128 secret bits. Nothing shows or writes the locator.
    #[cfg_attr(
        not(any(feature = "memory", all(test, feature = "conformance"))),
        expect(dead_code, reason = "only a store in memory finds sessions by it")
    )]
    locator: u64,
}

impl StoreKey {
    /// Returns the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.digest
    }

    pub(crate) fn from_bytes(digest: [u8; 32]) -> Self {
        Self { digest, locator: 0 }
    }

    pub(super) fn of(secret: &[u8; RANDOM_LEN], scope: TokenScope) -> Self {
        let digest = Sha256::new().chain_update(scope.bytes()).chain_update(secret).finalize().into();
        Self { digest, locator: locator(secret) }
    }

    /// Returns the locator; `None` if the key was read from a store.
    #[cfg(any(feature = "memory", all(test, feature = "conformance")))]
    pub(crate) fn locator(&self) -> Option<u64> {
        (self.locator != 0).then_some(self.locator)
    }

    /// Returns the digest as 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        self.hex_in(&mut [0; 64]).to_owned()
    }

    /// Returns the digest as 43 base64url characters, for keys that are to be short.
    pub(crate) fn base64(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.digest)
    }

    /// Writes the hex digits into a buffer.
    // A formatter that is asked for each byte takes a microsecond.
    pub(crate) fn hex_in<'a>(&self, buffer: &'a mut [u8; 64]) -> &'a str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in buffer.as_chunks_mut().0.iter_mut().zip(self.digest) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        str::from_utf8(buffer).expect("hex digits are ASCII")
    }
}

/// Returns the part of a token by which a store in memory finds its session.
pub(crate) fn locator(secret: &[u8; RANDOM_LEN]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|at| secret[at]))
}

impl PartialEq for StoreKey {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for StoreKey {}

impl Hash for StoreKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl PartialOrd for StoreKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StoreKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.digest.cmp(&other.digest)
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex_in(&mut [0; 64]))
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex_in(&mut [0; 64])[..8])
    }
}
