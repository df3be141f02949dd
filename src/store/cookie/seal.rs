//! Sealing and opening: from bytes to the cookie's text, and back.
//!
//! The text is base64url without padding of: format (1 byte), key id (8), nonce (24), ciphertext, tag (16).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{KeyInit as _, Tag, XChaCha20Poly1305, XNonce};

use crate::key::{CookieKey, ID_LEN};

/// The number of algorithm and layout together, so that no part of a text chooses how the rest is checked.
const FORMAT: u8 = 1;
pub(super) const NONCE_LEN: usize = 24;
const PREFIX_LEN: usize = 1 + ID_LEN;
const TAG_LEN: usize = 16;
const OVERHEAD: usize = PREFIX_LEN + NONCE_LEN + TAG_LEN;

/// Returns the length of the longest plaintext whose text has at most `text_len` bytes.
pub(super) fn max_plaintext_len(text_len: usize) -> usize {
    // Four characters carry three bytes. Of the rest, two characters carry one byte and three carry two.
    (text_len / 4 * 3 + (text_len % 4).saturating_sub(1)).saturating_sub(OVERHEAD)
}

/// A key prepared for one cookie of one application.
#[derive(Clone)]
pub(super) struct Sealer {
    prefix: [u8; PREFIX_LEN],
    cipher: XChaCha20Poly1305,
    associated: Vec<u8>,
}

impl Sealer {
    pub(super) fn new(key: &CookieKey, cookie: &str, audience: &str) -> Self {
        let mut prefix = [FORMAT; PREFIX_LEN];
        prefix[1..].copy_from_slice(&key.id);
        // The name's length keeps name and audience apart: `ab` + `c` is not `a` + `bc`.
        let cookie_len = u64::try_from(cookie.len()).unwrap_or(u64::MAX).to_be_bytes();
        let associated = [&prefix[..], &cookie_len, cookie.as_bytes(), audience.as_bytes()].concat();
        Self { prefix, cipher: XChaCha20Poly1305::new((&key.aead).into()), associated }
    }

    /// Seals a plaintext; `None` only beyond the cipher's 256 GiB.
    ///
    /// The nonce must never have been used with this key. Random nonces of 24 bytes repeat after some 2^96 of them.
    pub(super) fn seal(&self, nonce: [u8; NONCE_LEN], plaintext: &[u8]) -> Option<String> {
        let mut out = Vec::with_capacity(OVERHEAD + plaintext.len());
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plaintext);
        let (_, sealed) = out.split_at_mut(PREFIX_LEN + NONCE_LEN);
        let tag = self.cipher.encrypt_inout_detached(&XNonce::from(nonce), &self.associated, sealed.into()).ok()?;
        out.extend_from_slice(&tag);
        Some(URL_SAFE_NO_PAD.encode(out))
    }
}

/// Opens a text with the key that it names. Returns the key's position in the ring, and the plaintext.
///
/// No other key is tried, so that a forged text costs one try however long the ring is.
pub(super) fn open(ring: &[Sealer], text: &[u8]) -> Option<(usize, Vec<u8>)> {
    // Padding, foreign characters and stray bits in the last digit are errors, so a sealed value has exactly one text.
    let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (prefix, rest) = bytes.split_first_chunk_mut::<PREFIX_LEN>()?;
    let (nonce, rest) = rest.split_first_chunk_mut::<NONCE_LEN>()?;
    let (sealed, tag) = rest.split_last_chunk_mut::<TAG_LEN>()?;
    let at = ring.iter().position(|sealer| sealer.prefix == *prefix)?;
    let Sealer { cipher, associated, .. } = &ring[at];
    let (nonce, tag) = (XNonce::from(*nonce), Tag::from(*tag));
    cipher.decrypt_inout_detached(&nonce, associated, sealed.into(), &tag).ok()?;
    bytes.truncate(bytes.len() - TAG_LEN);
    bytes.drain(..PREFIX_LEN + NONCE_LEN);
    Some((at, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::cookie::plain;
    use crate::store::cookie::tests::record;

    fn sealer(secret: u8) -> Sealer {
        Sealer::new(&CookieKey::new(&[secret; 32]).unwrap(), "sid", "shop")
    }

    #[test]
    fn the_text_is_pinned() {
        let mut record = record(5);
        record.owner = Some("ada".into());
        let plaintext = plain::write(&record).unwrap();
        let text = sealer(7).seal([9; NONCE_LEN], &plaintext).unwrap();
        // Computed from the layout and the standards by another program.
        assert_eq!(
            text,
            "AU7QP2rvK4b_CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJC1DI3lwp8Oc_ZgKkJaDU5Xga522iFGawQN5EyXvX9w2coc682_qm\
             BoTx83HdGyAfEtgKTwLycPL0_GpiRW20D-YbgonqmmsE2dMlU_jZ7xFYvHHlNYPHqoP98wSMWSsqETUQoytTocDRjm6Y8AZS\
             jg"
        );
        assert_eq!(open(&[sealer(7)], text.as_bytes()), Some((0, plaintext)));
    }

    #[test]
    fn the_longest_plaintext_is_exactly_what_a_text_can_carry() {
        for text_len in 0..6_000 {
            let longest = max_plaintext_len(text_len);
            let fits = |len: usize| (OVERHEAD + len) * 8 <= text_len * 6;
            assert!(longest == 0 || fits(longest), "{text_len}");
            assert!(!fits(longest + 1), "{text_len}");
        }
        let sealed = sealer(7).seal([9; NONCE_LEN], &vec![1; max_plaintext_len(4_028)]).unwrap();
        assert_eq!(sealed.len(), 4_028);
    }

    #[test]
    fn only_the_key_that_a_text_names_is_tried() {
        let mut renamed = sealer(2);
        renamed.prefix = sealer(1).prefix;
        renamed.associated = sealer(1).associated;
        let text = sealer(1).seal([9; NONCE_LEN], b"x").unwrap();
        assert_eq!(open(&[sealer(2), sealer(1)], text.as_bytes()), Some((1, b"x".to_vec())));
        assert_eq!(open(&[renamed, sealer(1)], text.as_bytes()), None);
    }

    #[test]
    fn name_and_audience_do_not_run_into_each_other() {
        let key = CookieKey::new(&[7; 32]).unwrap();
        let text = Sealer::new(&key, "ab", "c").seal([9; NONCE_LEN], b"x").unwrap();
        assert!(open(&[Sealer::new(&key, "ab", "c")], text.as_bytes()).is_some());
        for (name, audience) in [("a", "bc"), ("abc", ""), ("ab", ""), ("ab", "d"), ("b", "c")] {
            assert_eq!(open(&[Sealer::new(&key, name, audience)], text.as_bytes()), None, "{name} {audience}");
        }
    }
}
