//! The keys of the cookie store, as text.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Keys as they are written. They are decoded when the store is opened, since parsers quote the line of their errors.
#[derive(Clone)]
pub(super) struct KeyRing(Vec<String>);

impl KeyRing {
    /// Reads one key a line. Blank lines and what follows a `#` do not count.
    pub(super) fn of_file(text: &str) -> Self {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes of each key, or the number of the first that cannot be decoded, from 1 on.
    pub(super) fn decode(&self) -> Result<Vec<Vec<u8>>, usize> {
        self.0.iter().enumerate().map(|(at, text)| bytes(text).ok_or(at + 1)).collect()
    }
}

impl FromIterator<String> for KeyRing {
    fn from_iter<I: IntoIterator<Item = String>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

impl fmt::Debug for KeyRing {
    /// Shows the number of keys alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} of them]", self.0.len())
    }
}

/// Returns whether a text could be a key.
pub(super) fn is_key(text: &str) -> bool {
    bytes(text).is_some_and(|key| key.len() >= 32)
}

/// Decodes hexadecimal digits, and otherwise base64 of either alphabet, padded or not. A text that could be both is
/// hexadecimal.
fn bytes(text: &str) -> Option<Vec<u8>> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let pairs = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok());
        return pairs.collect::<Option<Vec<_>>>().filter(|bytes| !bytes.is_empty());
    }
    BASE64.decode(text.replace('-', "+").replace('_', "/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hex_or_base64() {
        for (text, expected) in [
            ("00ff5A", Some(&[0, 255, 0x5a][..])),
            ("+/8=", Some(&[0xfb, 0xff])),
            ("-_8=", Some(&[0xfb, 0xff])),
            ("-_8", Some(&[0xfb, 0xff])),
            ("AGg", Some(&[0, 0x68])),
            ("", None),
            ("abc", None),
            ("-_9", None),
            ("not a key", None),
            ("é", None),
        ] {
            assert_eq!(bytes(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_ring_has_one_key_a_line() {
        let ring = KeyRing::of_file("# new, since May\n00ff\r\n\n  11 # old\n");
        assert_eq!(ring.decode(), Ok(vec![vec![0, 255], vec![0x11]]));
        assert_eq!(KeyRing::of_file("00\nzz!").decode(), Err(2));
        assert_eq!(format!("{ring:?}"), "[2 of them]");
    }
}
