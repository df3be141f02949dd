//! What the client holds, and what of it may leave the process.

use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Bytes of a random token: 192 bits, which 32 base64url characters carry without a bit to spare.
pub(crate) const RANDOM_LEN: usize = 24;
const RANDOM_TEXT_LEN: usize = 32;

/// What the tokens of a store look like; what looks different never reaches the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenShape {
    /// 32 base64url characters (192 random bits) that the layer mints: for server-side stores.
    Random,
    /// Base64url text that the store makes: the token is the session itself.
    #[non_exhaustive]
    Sealed {
        /// The longest text accepted, in bytes, over all its cookies.
        max_len: usize,
        /// Over how many cookies the text may be spread, 1 to 3.
        max_chunks: u8,
    },
}

impl TokenShape {
    /// Whether the token is the session itself, so that the client holds it.
    pub(crate) fn is_sealed(self) -> bool {
        matches!(self, Self::Sealed { .. })
    }

    /// The shape of a store whose token is the session itself.
    ///
    /// `max_chunks` is brought into 1..=3.
    pub fn sealed(max_len: usize, max_chunks: u8) -> Self {
        Self::Sealed { max_len, max_chunks: max_chunks.clamp(1, 3) }
    }
}

/// The digits of base64url (RFC 4648, 5).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bits of each digit in each of four places; for other bytes one that stands out above the 24 of a group.
const DIGITS: [[u32; 256]; 4] = [digits(18), digits(12), digits(6), digits(0)];

const fn digits(shift: u32) -> [u32; 256] {
    let mut digits = [1 << 24; 256];
    let mut value = 0;
    while value < 64 {
        digits[ALPHABET[value as usize] as usize] = value << shift;
        value += 1;
    }
    digits
}

/// Whether a text is made of digits of base64url.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Decodes a random token. Every request does, and for this one length a table takes a third of what a general decoder does.
#[inline]
fn decode(text: &[u8; RANDOM_TEXT_LEN]) -> Option<[u8; RANDOM_LEN]> {
    let [first, second, third, fourth] = &DIGITS;
    let (mut groups, mut strange) = ([0_u64; RANDOM_TEXT_LEN / 4], 0);
    for ([a, b, c, d], group) in text.as_chunks::<4>().0.iter().zip(&mut groups) {
        let bits = first[usize::from(*a)] | second[usize::from(*b)] | third[usize::from(*c)] | fourth[usize::from(*d)];
        strange |= bits;
        *group = u64::from(bits);
    }
    // In whole words, since bytes that were written one by one are slow to be read as more.
    let words = [
        groups[0] << 40 | groups[1] << 16 | groups[2] >> 8,
        groups[2] << 56 | groups[3] << 32 | groups[4] << 8 | groups[5] >> 16,
        groups[5] << 48 | groups[6] << 24 | groups[7],
    ];
    let mut bytes = [0; RANDOM_LEN];
    for (word, out) in words.iter().zip(bytes.as_chunks_mut().0) {
        *out = word.to_be_bytes();
    }
    (strange >> 24 == 0).then_some(bytes)
}

/// The text of a random token.
#[inline]
fn encode(bytes: &[u8; RANDOM_LEN]) -> [u8; RANDOM_TEXT_LEN] {
    let mut text = [0; RANDOM_TEXT_LEN];
    for ([high, middle, low], out) in bytes.as_chunks::<3>().0.iter().zip(text.as_chunks_mut::<4>().0) {
        let word = u32::from_be_bytes([0, *high, *middle, *low]);
        *out = [18, 12, 6, 0].map(|shift| ALPHABET[(word >> shift & 63) as usize]);
    }
    text
}

/// The secret that identifies a client's session, parsed and of the store's shape.
///
/// `Debug` shows nothing of it, equality takes constant time, and nothing but the cookie ever carries it: what leaves
/// the process is its [`StoreKey`].
///
/// # Examples
///
/// ```
/// use tower_session_layer::{SessionToken, StoreKey, TokenShape};
///
/// let token = SessionToken::from_random([0; 24]);
/// let text = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// assert_eq!(SessionToken::parse(text.as_bytes(), TokenShape::Random), Some(token.clone()));
/// assert_eq!(SessionToken::parse(b"short", TokenShape::Random), None);
/// assert!(!format!("{token:?}").contains(text));
///
/// // What a store goes by, and all that may leave the process: the SHA-256.
/// let key: StoreKey = token.key();
/// assert_eq!((key.as_bytes().len(), key.hex().len()), (32, 64));
///
/// let sealed = SessionToken::from_sealed("c2VhbGVk".into()).unwrap(); // the session itself, with `CookieStore`
/// assert_eq!(sealed.secret(), b"c2VhbGVk");
/// assert_eq!(SessionToken::parse(sealed.secret(), TokenShape::sealed(8, 1)), Some(sealed));
/// ```
#[derive(Clone)]
pub struct SessionToken(Repr);

#[derive(Clone)]
enum Repr {
    Random(Aligned),
    Sealed(Arc<str>),
}

/// In the place of whole words, wherever a token is moved to.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Aligned([u8; RANDOM_LEN]);

impl SessionToken {
    /// Parses what a client sent; anything of another shape is `None`.
    #[inline]
    pub fn parse(text: &[u8], shape: TokenShape) -> Option<Self> {
        match shape {
            TokenShape::Random => {
                let text: &[u8; RANDOM_TEXT_LEN] = text.try_into().ok()?;
                decode(text).map(Self::from_random)
            }
            TokenShape::Sealed { max_len, .. } => {
                if text.is_empty() || text.len() > max_len || !is_plain(text) {
                    return None;
                }
                Some(Self(Repr::Sealed(str::from_utf8(text).ok()?.into())))
            }
        }
    }

    /// Makes a token of random bytes. The layer does this itself; stores under test need it.
    pub fn from_random(bytes: [u8; RANDOM_LEN]) -> Self {
        Self(Repr::Random(Aligned(bytes)))
    }

    /// Makes a token of text that a store sealed; base64url only.
    ///
    /// # Errors
    ///
    /// Text with any other character, or none, could break out of the cookie and is given back.
    pub fn from_sealed(text: String) -> Result<Self, String> {
        Self::parse(text.as_bytes(), TokenShape::sealed(usize::MAX, 1)).ok_or(text)
    }

    /// Returns the digest under which a store keeps the session.
    pub fn key(&self) -> StoreKey {
        StoreKey(Sha256::digest(self.secret()).into())
    }

    /// Returns the secret itself: 24 random bytes, or the sealed text. Never store or log it.
    pub fn secret(&self) -> &[u8] {
        match &self.0 {
            Repr::Random(Aligned(bytes)) => bytes,
            Repr::Sealed(text) => text.as_bytes(),
        }
    }

    /// A secret of its own for one purpose (HKDF-SHA-256, RFC 5869): it tells nothing of the token.
    pub(crate) fn derive<const LEN: usize>(&self, purpose: &[u8]) -> [u8; LEN] {
        let mut secret = [0; LEN];
        let derived = Hkdf::<Sha256>::new(None, self.secret()).expand(purpose, &mut secret);
        derived.expect("the few bytes of a key are within HKDF's 8,160");
        secret
    }

    /// The 24 bytes of a random token.
    #[inline]
    pub(crate) fn random(&self) -> Option<&[u8; RANDOM_LEN]> {
        match &self.0 {
            Repr::Random(Aligned(bytes)) => Some(bytes),
            Repr::Sealed(_) => None,
        }
    }

    /// Appends the cookie's text.
    pub(crate) fn write_text(&self, out: &mut String) {
        match &self.0 {
            Repr::Random(Aligned(bytes)) => out.push_str(str::from_utf8(&encode(bytes)).expect("base64url is ASCII")),
            Repr::Sealed(text) => out.push_str(text),
        }
    }

    /// How long the cookie's text is, in bytes.
    pub(crate) fn text_len(&self) -> usize {
        match &self.0 {
            Repr::Random(_) => RANDOM_TEXT_LEN,
            Repr::Sealed(text) => text.len(),
        }
    }
}

impl PartialEq for SessionToken {
    fn eq(&self, other: &Self) -> bool {
        self.secret().ct_eq(other.secret()).into()
    }
}

impl Eq for SessionToken {}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

/// The SHA-256 of a [`SessionToken`]: what stores name sessions by, and all that may leave the process.
///
/// `Display` and [`hex`](Self::hex) give all 64 lower-case hex digits, for file names, keys and rows; `Debug` gives
/// the first eight, for logs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey([u8; 32]);

impl StoreKey {
    /// Returns the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest that a store has as bytes.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the digest as 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        self.hex_in(&mut [0; 64]).to_owned()
    }

    /// Writes the hex digits into a buffer: a formatter that is asked for each byte takes a microsecond.
    pub(crate) fn hex_in<'a>(&self, buffer: &'a mut [u8; 64]) -> &'a str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in buffer.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        str::from_utf8(buffer).expect("digits are ASCII")
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex_in(&mut [0; 64]))
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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
            let parsed = SessionToken::parse(text.as_bytes(), TokenShape::Random);
            assert_eq!(parsed.is_some(), random, "{name} as random");
            let parsed = SessionToken::parse(text.as_bytes(), TokenShape::sealed(40, 1));
            assert_eq!(parsed.is_some(), sealed, "{name} as sealed");
        }
    }

    #[test]
    fn every_token_decodes_as_base64url_and_every_other_byte_is_refused() {
        let mut bytes = [0_u8; RANDOM_LEN];
        for round in 0..=u8::MAX {
            for byte in &mut bytes {
                *byte = byte.wrapping_mul(31).wrapping_add(round).wrapping_add(7);
            }
            bytes.rotate_left(1);
            let text: [u8; 32] = URL_SAFE_NO_PAD.encode(bytes).into_bytes().try_into().unwrap();
            assert_eq!((decode(&text), encode(&bytes)), (Some(bytes), text));
            for strange in (0..=u8::MAX).filter(|byte| !byte.is_ascii_alphanumeric() && !b"-_".contains(byte)) {
                let mut text = text;
                text[usize::from(strange) % 32] = strange;
                assert_eq!(decode(&text), None, "{strange}");
                // Nor do two in one group of four make up for each other.
                for beside in 1..4 {
                    let mut text = text;
                    text[(usize::from(strange) % 32) ^ beside] = strange;
                    assert_eq!(decode(&text), None, "{strange} twice");
                }
            }
        }
    }

    #[test]
    fn text_survives_the_round_trip_and_the_key_is_its_sha_256() {
        let token = SessionToken::from_random(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        let mut text = String::new();
        token.write_text(&mut text);
        assert_eq!(text, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
        assert_eq!(SessionToken::parse(text.as_bytes(), TokenShape::Random), Some(token.clone()));
        assert_eq!(token.key().hex(), "1d64add2a6388367c9bc2d1f1b384b069a6ef382cdaaa89771dd103e28613a25");
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = SessionToken::from_random([b'x'; RANDOM_LEN]);
        assert_eq!(format!("{token:?}"), "SessionToken(…)");
        assert_eq!(format!("{:?}", token.key()).len(), 8);
        assert!(token.key().hex().starts_with(&format!("{:?}", token.key())));
    }
}
