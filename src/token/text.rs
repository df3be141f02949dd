//! The base64url text of a random token.

/// Bytes of a random token: 192 bits.
pub(crate) const RANDOM_LEN: usize = 24;
/// Base64url characters of a random token: 24 bytes fill them without a bit to spare.
pub(super) const TEXT_LEN: usize = 32;

/// The digits of base64url (RFC 4648, section 5).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bits of each digit in each of four places; other bytes set a bit above the 24 bits of a group.
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

/// Decodes the text of a random token; `None` if a character is not a base64url digit.
// Every request decodes a token. For this one length a general decoder takes more instructions: `base64` 370 and
// `base64-simd` 160, which are 14 and 6 % of what the layer adds to a request that only loads its session.
#[inline]
pub(super) fn decode(text: &[u8; TEXT_LEN]) -> Option<[u8; RANDOM_LEN]> {
    let [first, second, third, fourth] = &DIGITS;
    let (mut groups, mut strange) = ([0_u64; TEXT_LEN / 4], 0);
    for ([a, b, c, d], group) in text.as_chunks::<4>().0.iter().zip(&mut groups) {
        let bits = first[usize::from(*a)] | second[usize::from(*b)] | third[usize::from(*c)] | fourth[usize::from(*d)];
        strange |= bits;
        *group = u64::from(bits);
    }
    // Whole words, since bytes that were written one by one are slow to read as words.
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

/// Encodes a random token as text.
#[inline]
pub(super) fn encode(bytes: &[u8; RANDOM_LEN]) -> [u8; TEXT_LEN] {
    let mut text = [0; TEXT_LEN];
    for ([high, middle, low], out) in bytes.as_chunks::<3>().0.iter().zip(text.as_chunks_mut::<4>().0) {
        let word = u32::from_be_bytes([0, *high, *middle, *low]);
        *out = [18, 12, 6, 0].map(|shift| ALPHABET[(word >> shift & 63) as usize]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

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
}
