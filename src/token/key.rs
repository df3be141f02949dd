//! The digest of a token, under which a store keeps a session.

use std::fmt;

/// The SHA-256 of a [`SessionToken`](crate::SessionToken): the name of a session in a store, and all of a token that
/// may leave the process.
///
/// `Display` and [`hex`](Self::hex) give all 64 lower-case hex digits, for file names, keys and rows. `Debug` gives the
/// first eight, for logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey([u8; 32]);

impl StoreKey {
    /// Returns the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the digest as 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        self.hex_in(&mut [0; 64]).to_owned()
    }

    /// Writes the hex digits into a buffer.
    // A formatter that is asked for each byte takes a microsecond.
    pub(crate) fn hex_in<'a>(&self, buffer: &'a mut [u8; 64]) -> &'a str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in buffer.as_chunks_mut().0.iter_mut().zip(self.0) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        str::from_utf8(buffer).expect("hex digits are ASCII")
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
