//! A configured secret, and the keys that are derived from it.

mod leading;

use std::fmt;
use std::io;

pub(crate) use self::leading::open_leading;
use crate::error::ConfigError;
use crate::token::derive;

/// A secret shorter than the derived sealing key would be the weakest part.
const MIN_LEN: usize = 32;
const AEAD_LEN: usize = 32;
pub(crate) const ID_LEN: usize = 8;

/// A secret that seals sessions in cookies ([`CookieStore`](crate::CookieStore)), and the tokens that
/// [`renew_after`](crate::SessionLayerBuilder::renew_after) leads on to: at least 32 random bytes, the same on every
/// server of an application.
///
/// Neither `Debug` nor anything else gives the bytes back. The sealing key is derived from them by HKDF-SHA256 (RFC 5869),
/// and so is, independently, the 8-byte id by which a cookie names its key. If the secret serves another purpose too,
/// neither reveals anything about that.
///
/// # Examples
///
/// ```
/// use tower_session_layer::{ConfigError, CookieKey};
///
/// // `openssl rand -out session.key 32` makes such a file; `std::fs::read` reads it.
/// let file: Vec<u8> = (1..=32).collect();
/// let key = CookieKey::new(&file)?;
/// assert_eq!(format!("{key:?}"), "CookieKey(…)");
///
/// assert_eq!(CookieKey::new(b"a password").unwrap_err(), ConfigError::ShortKey(10));
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone)]
pub struct CookieKey {
    /// The key that seals.
    pub(crate) aead: [u8; AEAD_LEN],
    /// The public id by which sealed bytes name their key.
    pub(crate) id: [u8; ID_LEN],
}

impl CookieKey {
    /// Makes a key of secret bytes, all of which count.
    ///
    /// The bytes must come from a random source: somebody who has one cookie can guess a password or a sentence offline.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ShortKey`] for fewer than 32 bytes, [`ConfigError::ZeroKey`] for zeros only.
    pub fn new(secret: &[u8]) -> Result<Self, ConfigError> {
        if secret.len() < MIN_LEN {
            return Err(ConfigError::ShortKey(secret.len()));
        }
        if secret.iter().all(|byte| *byte == 0) {
            return Err(ConfigError::ZeroKey);
        }
        Ok(Self::derive(secret))
    }

    /// Makes a key of the operating system's randomness.
    ///
    /// Nothing gives the key back, so no other process can open its sessions, and they end with this process.
    ///
    /// # Errors
    ///
    /// The operating system provides no randomness.
    pub fn generate() -> io::Result<Self> {
        let mut secret = [0; MIN_LEN];
        getrandom::fill(&mut secret)?;
        Ok(Self::derive(&secret))
    }

    fn derive(secret: &[u8]) -> Self {
        Self {
            aead: derive(secret, b"tower-session-layer cookie key v1"),
            id: derive(secret, b"tower-session-layer cookie key id v1"),
        }
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_zero_keys_are_refused() {
        assert_eq!(CookieKey::new(b"").unwrap_err(), ConfigError::ShortKey(0));
        assert_eq!(CookieKey::new(&[1; 31]).unwrap_err(), ConfigError::ShortKey(31));
        assert_eq!(CookieKey::new(&[0; 32]).unwrap_err(), ConfigError::ZeroKey);
        assert_eq!(CookieKey::new(&[0; 64]).unwrap_err(), ConfigError::ZeroKey);
        assert!(CookieKey::new(&[1; 32]).is_ok());
    }

    #[test]
    fn every_byte_of_the_secret_counts() {
        let secret = [7; 80];
        let key = CookieKey::new(&secret).unwrap();
        for at in 0..secret.len() {
            let mut other = secret;
            other[at] ^= 1;
            let other = CookieKey::new(&other).unwrap();
            assert!(other.aead != key.aead && other.id != key.id, "byte {at}");
        }
        assert_ne!(CookieKey::new(&secret[..79]).unwrap().aead, key.aead);
    }

    #[test]
    fn generated_keys_differ() {
        let (one, other) = (CookieKey::generate().unwrap(), CookieKey::generate().unwrap());
        assert!(one.aead != other.aead && one.id != other.id);
    }

    #[test]
    fn the_id_is_no_part_of_what_seals() {
        let key = CookieKey::new(&[7; 32]).unwrap();
        assert!(!key.aead.windows(4).any(|window| key.id.windows(4).any(|of_id| of_id == window)));
    }

    #[test]
    fn debug_shows_no_byte() {
        assert_eq!(format!("{:?}", CookieKey::new(&[7; 32]).unwrap()), "CookieKey(…)");
    }
}
