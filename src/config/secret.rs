//! Keys of the cookie store, as text.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::setting::{Raw, Setting};

/// Keys as they were written, which nothing shows. They are decoded when the store is opened: parsers quote the line of
/// their errors.
#[derive(Clone)]
pub(super) struct Keys(Vec<String>);

impl Keys {
    /// One key a line; what follows a `#` and blank lines do not count.
    pub(super) fn of_file(text: &str) -> Self {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        Self(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of each; where one is none, its number, from 1 on.
    pub(super) fn decode(&self) -> Result<Vec<Vec<u8>>, usize> {
        self.0.iter().enumerate().map(|(at, text)| bytes(text).ok_or(at + 1)).collect()
    }
}

impl Setting for Keys {
    const EXPECTED: &'static str = "a list of keys, each a text";
    const IS_SECRET: bool = true;

    fn read(raw: &Raw) -> Option<Self> {
        Some(Self(match raw {
            Raw::List(keys) => keys.clone(),
            Raw::Text(text) => text.split(',').map(str::trim).map(str::to_owned).collect(),
            _ => return None,
        }))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} of them]", self.0.len())
    }
}

/// Whether a text could be a key.
pub(super) fn is_key(text: &str) -> bool {
    bytes(text).is_some_and(|key| key.len() >= 32)
}

/// Hexadecimal digits are hexadecimal, whatever else they may be; the rest is base64, of either alphabet, padded or not.
fn bytes(text: &str) -> Option<Vec<u8>> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        let (pairs, []) = digits.as_chunks::<2>() else { return None };
        return (!text.is_empty())
            .then(|| pairs.iter().filter_map(|[high, low]| u8::try_from(high << 4 | low).ok()).collect());
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
        let ring = Keys::of_file("# new, since May\n00ff\r\n\n  11 # old\n");
        assert_eq!(ring.decode(), Ok(vec![vec![0, 255], vec![0x11]]));
        assert_eq!(Keys::of_file("00\nzz!").decode(), Err(2));
        assert_eq!(format!("{ring:?}"), "[2 of them]");
    }
}
