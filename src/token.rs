//! The client's secret, and the digest of it that may leave the process.

mod key;
mod text;

use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub use self::key::StoreKey;
#[cfg(feature = "memory")]
pub(crate) use self::key::locator;
pub(crate) use self::text::RANDOM_LEN;
use self::text::{TEXT_LEN, decode, encode};

/// The form of a store's tokens. A text of another form never reaches the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenShape {
    /// 32 base64url characters (192 random bits) that the layer makes, for server-side stores.
    Random,
    /// Base64url text that the store makes. The token is the session itself, so the client holds it.
    #[non_exhaustive]
    Sealed {
        /// The length of the longest accepted text, in bytes over all its cookies.
        max_len: usize,
        /// The number of cookies over which the text may be spread, 1 to 3.
        max_chunks: u8,
    },
}

impl TokenShape {
    /// Returns the shape of tokens that are the session itself.
    ///
    /// A `max_chunks` outside 1 to 3 counts as the nearest of these.
    pub fn sealed(max_len: usize, max_chunks: u8) -> Self {
        Self::Sealed { max_len, max_chunks: max_chunks.clamp(1, 3) }
    }

    /// Returns whether the token is the session itself, as in a client-side store.
    pub(crate) fn is_sealed(self) -> bool {
        matches!(self, Self::Sealed { .. })
    }
}

/// The cookie that a token belongs to, as 64 bits of the SHA-256 of the cookie's name.
///
/// Two layers with different cookie names may share a store. The scope goes into the [`StoreKey`], so neither layer finds
/// a session by a token of the other. A layer whose cookie gets another name starts without sessions.
///
/// # Examples
///
/// ```
/// use tower_session_layer::{SessionCookie, TokenScope};
///
/// let cookie = SessionCookie::builder().name("__Host-shop").build()?;
/// assert_eq!(cookie.scope(), TokenScope::of("__Host-shop"));
/// assert_ne!(cookie.scope(), TokenScope::of("__Host-admin"));
/// # Ok::<(), tower_session_layer::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenScope(u64);

impl TokenScope {
    /// Returns the scope of the cookie of this name.
    pub fn of(cookie: &str) -> Self {
        let digest = Sha256::new().chain_update(b"tower-session-layer cookie ").chain_update(cookie).finalize();
        Self(u64::from_be_bytes(std::array::from_fn(|at| digest[at])))
    }

    pub(crate) fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// Returns whether a text consists of base64url digits.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The secret that identifies a client's session, parsed and of the store's shape.
///
/// `Debug` shows nothing of a token, and equality takes constant time. Only the cookie, or the [header in its
/// place](crate::SessionLayerBuilder::token_header), carries the token. Everything else that leaves the process holds
/// its [`StoreKey`].
///
/// # Examples
///
/// ```
/// use tower_session_layer::{SessionToken, StoreKey, TokenScope, TokenShape};
///
/// let shop = TokenScope::of("__Host-shop");
/// let token = SessionToken::from_random([0; 24], shop);
/// let text = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// assert_eq!(SessionToken::parse(text.as_bytes(), TokenShape::Random, shop), Some(token.clone()));
/// assert_eq!(SessionToken::parse(b"short", TokenShape::Random, shop), None);
/// assert!(!format!("{token:?}").contains(text));
///
/// // A store finds the session by the digest, and nothing else of the token may leave the process.
/// let key: StoreKey = token.key();
/// assert_eq!((key.as_bytes().len(), key.hex().len()), (32, 64));
/// assert_ne!(key, SessionToken::from_random([0; 24], TokenScope::of("__Host-admin")).key());
///
/// let sealed = SessionToken::from_sealed("c2VhbGVk".into()).unwrap(); // as `CookieStore` makes it: the session itself
/// assert_eq!(sealed.secret(), b"c2VhbGVk");
/// assert_eq!(SessionToken::parse(sealed.secret(), TokenShape::sealed(8, 1), shop), Some(sealed));
/// ```
#[derive(Clone)]
pub struct SessionToken(Repr);

#[derive(Clone)]
enum Repr {
    Random(Aligned, TokenScope),
    Sealed(Arc<str>),
}

/// Bytes at the address of a word, so that a token is copied in whole words.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Aligned([u8; RANDOM_LEN]);

impl SessionToken {
    /// Parses the text that a client sent in the cookie of this scope; `None` for a text of another shape.
    ///
    /// The scope of a sealed token stands inside its seal, so `scope` has no effect on it.
    #[inline]
    pub fn parse(text: &[u8], shape: TokenShape, scope: TokenScope) -> Option<Self> {
        match shape {
            TokenShape::Random => {
                let text: &[u8; TEXT_LEN] = text.try_into().ok()?;
                decode(text).map(|bytes| Self::from_random(bytes, scope))
            }
            TokenShape::Sealed { max_len, .. } => {
                if text.is_empty() || text.len() > max_len || !is_plain(text) {
                    return None;
                }
                Some(Self(Repr::Sealed(str::from_utf8(text).ok()?.into())))
            }
        }
    }

    /// Creates a token of random bytes, as the layer does for a new session. Tests of stores need it.
    #[inline]
    pub fn from_random(bytes: [u8; RANDOM_LEN], scope: TokenScope) -> Self {
        Self(Repr::Random(Aligned(bytes), scope))
    }

    /// Creates a token of text that a store sealed.
    ///
    /// # Errors
    ///
    /// Returns the text if it is empty or has a character other than a base64url digit, since such a text could break
    /// out of the cookie.
    pub fn from_sealed(text: String) -> Result<Self, String> {
        if text.is_empty() || !is_plain(text.as_bytes()) { Err(text) } else { Ok(Self(Repr::Sealed(text.into()))) }
    }

    /// Returns the digest under which a store keeps the session: the SHA-256 of the scope's 8 bytes and the 24 random
    /// bytes, or of the sealed text.
    pub fn key(&self) -> StoreKey {
        match &self.0 {
            Repr::Random(Aligned(bytes), scope) => StoreKey::of(bytes, *scope),
            Repr::Sealed(text) => StoreKey::from_bytes(Sha256::digest(&**text).into()),
        }
    }

    /// Returns the secret itself: 24 random bytes, or the sealed text. Never store or log it.
    pub fn secret(&self) -> &[u8] {
        match &self.0 {
            Repr::Random(Aligned(bytes), _) => bytes,
            Repr::Sealed(text) => text.as_bytes(),
        }
    }

    /// Derives a secret for one purpose, as [`derive`] does. The secret reveals nothing of the token.
    pub(crate) fn derive<const LEN: usize>(&self, purpose: &[u8]) -> [u8; LEN] {
        derive(self.secret(), purpose)
    }

    /// Returns the 24 bytes of a random token and the scope; `None` for a sealed one.
    #[inline]
    pub(crate) fn random(&self) -> Option<(&[u8; RANDOM_LEN], TokenScope)> {
        match &self.0 {
            Repr::Random(Aligned(bytes), scope) => Some((bytes, *scope)),
            Repr::Sealed(_) => None,
        }
    }

    /// Appends the text that the cookie holds.
    pub(crate) fn write_text(&self, out: &mut String) {
        match &self.0 {
            Repr::Random(Aligned(bytes), _) => {
                out.push_str(str::from_utf8(&encode(bytes)).expect("base64url is ASCII"));
            }
            Repr::Sealed(text) => out.push_str(text),
        }
    }

    /// Returns the length of the text that the cookie holds, in bytes.
    pub(crate) fn text_len(&self) -> usize {
        match &self.0 {
            Repr::Random(..) => TEXT_LEN,
            Repr::Sealed(text) => text.len(),
        }
    }
}

/// Derives a secret from another for one purpose (HKDF-SHA-256, RFC 5869).
pub(crate) fn derive<const LEN: usize>(from: &[u8], purpose: &[u8]) -> [u8; LEN] {
    let mut secret = [0; LEN];
    let derived = Hkdf::<Sha256>::new(None, from).expand(purpose, &mut secret);
    derived.expect("the few bytes of a key are within HKDF's 8,160");
    secret
}

impl PartialEq for SessionToken {
    fn eq(&self, other: &Self) -> bool {
        let scope = |token: &Self| token.random().map(|(_, scope)| scope);
        scope(self) == scope(other) && self.secret().ct_eq(other.secret()).into()
    }
}

impl Eq for SessionToken {}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> TokenScope {
        TokenScope::of("__Host-sid")
    }

    #[test]
    fn only_the_declared_shape_parses() {
        let good = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
        for (name, text, random, sealed) in [
            ("a random token", good, true, true),
            ("one short", &good[1..], false, true),
            ("one long", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXA", false, true),
            ("standard alphabet", "AAECAwQFBgcICQoLDA0ODxAREhMUFR+/", false, false),
            ("padded", "AAECAwQFBgcICQoLDA0ODxAREhMUFRY=", false, false),
            ("quoted", "\"AECAwQFBgcICQoLDA0ODxAREhMUFRY\"", false, false),
            ("percent", "%00CAwQFBgcICQoLDA0ODxAREhMUFRYX", false, false),
            ("empty", "", false, false),
            ("path", "../../../../../../../etc/passwd0", false, false),
            ("two of four are strange", "A++CAwQFBgcICQoLDA0ODxAREhMUFRYX", false, false),
            ("41 characters", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false, false),
        ] {
            let parsed = SessionToken::parse(text.as_bytes(), TokenShape::Random, scope());
            assert_eq!(parsed.is_some(), random, "{name} as random");
            let parsed = SessionToken::parse(text.as_bytes(), TokenShape::sealed(40, 1), scope());
            assert_eq!(parsed.is_some(), sealed, "{name} as sealed");
        }
    }

    #[test]
    fn text_survives_the_round_trip_and_the_key_is_the_sha_256_of_scope_and_secret() {
        let token = SessionToken::from_random(std::array::from_fn(|i| u8::try_from(i).unwrap()), scope());
        let mut text = String::new();
        token.write_text(&mut text);
        assert_eq!(text, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
        assert_eq!(SessionToken::parse(text.as_bytes(), TokenShape::Random, scope()), Some(token.clone()));
        assert_eq!(token.key().hex(), "8590b15aa57037318faeedbf3f33607507845f1368ab5d54e9166c00a3cf50b4");
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = SessionToken::from_random([b'x'; RANDOM_LEN], scope());
        assert_eq!(format!("{token:?}"), "SessionToken(…)");
        assert_eq!(format!("{:?}", token.key()).len(), 8);
        assert!(token.key().hex().starts_with(&format!("{:?}", token.key())));
    }
}
