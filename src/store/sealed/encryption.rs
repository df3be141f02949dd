//! The encryption of one record.
//!
//! A sealed record has one value, named `sealed`: base64url without padding of nonce (24 bytes), ciphertext and tag (16),
//! as a JSON string. The plaintext is the encoded record, a one, and zeros up to a multiple of 32 bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};

use crate::record::{Entry, Extensions, Record, Values};
use crate::token::SessionToken;

pub(super) const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
const KEY: &str = "sealed";
/// Ends the encoded record, before the zeros.
const END: u8 = 1;
const BLOCK: usize = 32;

/// Returns the record that the store is given; `None` only beyond the cipher's 256 GiB.
pub(super) fn seal(token: &SessionToken, record: &Record, nonce: [u8; NONCE_LEN]) -> Option<Record> {
    let mut plaintext = record.encode();
    plaintext.push(END);
    plaintext.resize(plaintext.len().next_multiple_of(BLOCK), 0);
    let mut shell = Record {
        csrf: Default::default(),
        csrf_handed_out: false,
        flash: Values::default(),
        values: Values::default(),
        extensions: Extensions::default(),
        ..record.clone()
    };
    let payload = Payload { msg: &plaintext, aad: &associated(&shell) };
    let ciphertext = cipher(token).encrypt(&XNonce::from(nonce), payload).ok()?;
    let text = URL_SAFE_NO_PAD.encode([nonce.as_slice(), &ciphertext].concat());
    shell.values = Values::from_sorted(vec![Entry::new(KEY, &format!("\"{text}\""))]);
    Some(shell)
}

/// Returns the record that was sealed, with the times to which it has been touched since.
pub(super) fn unseal(token: &SessionToken, sealed: &Record) -> Option<Record> {
    // A touch moves the deadline without the token, but never beyond the end, which is bound in.
    if sealed.deadline > sealed.absolute {
        return None;
    }
    let mut entries = sealed.values.iter();
    let (Some(entry), None) = (entries.next(), entries.next()) else { return None };
    let text = entry.json().strip_prefix('"')?.strip_suffix('"').filter(|_| entry.key() == KEY)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_LEN>()?;
    let shell = Record { values: Values::default(), ..sealed.clone() };
    let payload = Payload { msg: ciphertext, aad: &associated(&shell) };
    let plaintext = cipher(token).decrypt(&XNonce::from(*nonce), payload).ok()?;
    let end = plaintext.iter().rposition(|byte| *byte != 0)?;
    // An older or newer build may have sealed it, so it is read as strictly as any bytes.
    let body = (plaintext[end] == END).then(|| &plaintext[..end])?;
    Record::decode(sealed.head(), body).ok()
}

/// Returns the readable fields that are bound in: all but the two times that a touch moves and the moment that the store
/// gives to a sign-in. The key binds the token.
fn associated(shell: &Record) -> Vec<u8> {
    let has_owner = [u8::from(shell.owner.is_some())];
    let owner = shell.owner.as_deref().unwrap_or_default().as_bytes();
    let handle = shell.handle.as_bytes();
    [&shell.version.get().to_be_bytes(), handle.as_slice(), &shell.encode(), &has_owner, owner].concat()
}

fn cipher(token: &SessionToken) -> XChaCha20Poly1305 {
    let key: [u8; 32] = token.derive(b"tower-session-layer sealed v1");
    XChaCha20Poly1305::new(&key.into())
}

/// Returns the length of the longest record that takes at most `max` bytes once it is sealed, whatever its owner's name.
pub(super) fn longest_record(max: usize) -> usize {
    let shell = Record { values: Values::from_sorted(vec![Entry::new(KEY, "\"\"")]), ..Record::blank() };
    // Four characters carry three bytes.
    let bytes = max.saturating_sub(shell.encoded_len()) / 4 * 3;
    bytes.saturating_sub(NONCE_LEN + TAG_LEN + BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::time;
    use crate::record::{CSRF_LEN, SessionHandle, Version};

    fn token(n: u8) -> SessionToken {
        SessionToken::from_random([n; 24], crate::token::TokenScope::of("sid"))
    }

    /// A record whose one value is a text of so many bytes.
    fn record(len: usize) -> Record {
        Record {
            created: 1,
            seen: 2,
            deadline: 3,
            absolute: 4,
            idle: 5,
            signed_in: 6,
            sign_in: 10,
            began: crate::record::Began::default(),
            renewed: 0,
            version: Version::new(7).unwrap(),
            handle: SessionHandle::from_bytes([8; 16]),
            owner: Some("ada".into()),
            csrf: [9; CSRF_LEN],
            csrf_handed_out: true,
            flash: Values::from_sorted(vec![Entry::new("note", "\"hi\"")]),
            values: Values::from_sorted(vec![Entry::new("text", &format!("\"{}\"", "x".repeat(len)))]),
            extensions: Extensions::default(),
        }
    }

    fn sealed(record: &Record) -> Record {
        seal(&token(1), record, [3; NONCE_LEN]).unwrap()
    }

    #[test]
    fn a_record_opens_as_it_was_sealed_and_touched() {
        for len in 0..70 {
            let mut record = record(len);
            let mut sealed = sealed(&record);
            assert_eq!(unseal(&token(1), &sealed).as_ref(), Some(&record));
            for touched in [&mut record, &mut sealed] {
                touched.touch(time(4), time(20));
            }
            assert_eq!(unseal(&token(1), &sealed), Some(record));
        }
    }

    #[test]
    fn what_the_store_is_given_shows_no_secret() {
        let sealed = sealed(&record(5));
        assert_eq!((sealed.csrf, sealed.csrf_handed_out, sealed.flash.is_empty()), ([0; CSRF_LEN], false, true));
        let text = sealed.values.get(KEY).unwrap().json();
        let bytes = [sealed.encode(), URL_SAFE_NO_PAD.decode(text.trim_matches('"')).unwrap()].concat();
        for secret in [b"text".as_slice(), b"xxxxx", b"note", b"hi", &[9; 8], &[1; 8]] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
        assert_eq!(sealed.head(), record(5).head());
    }

    #[test]
    fn small_differences_have_one_length() {
        let block = record(5).encode().len().next_multiple_of(BLOCK) - record(0).encode().len();
        let lens = [0, 9, 31].map(|len| sealed(&record(block + len)).encoded_len());
        assert_eq!(lens, [lens[0]; 3]);
    }

    #[test]
    fn nothing_that_was_changed_or_moved_opens() {
        let whole = sealed(&record(5));
        assert!(unseal(&token(1), &whole).is_some());
        assert_eq!(unseal(&token(2), &whole), None, "another token");
        assert_eq!(unseal(&token(1), &record(5)), None, "never sealed");
        let changes: [(&str, fn(&mut Record)); 17] = [
            ("version", |record| record.version = Version::new(8).unwrap()),
            ("owner", |record| record.owner = Some("eve".into())),
            ("no owner", |record| record.owner = None),
            ("created", |record| record.created = 2),
            ("absolute", |record| record.absolute = 5),
            ("deadline after the absolute one", |record| record.deadline = 5),
            ("both", |record| (record.deadline, record.absolute) = (5, 5)),
            ("idle", |record| record.idle = 6),
            ("signed_in", |record| record.signed_in = 7),
            ("renewed", |record| record.renewed = 7),
            ("handle", |record| record.handle = SessionHandle::from_bytes([7; 16])),
            ("csrf", |record| record.csrf = [1; CSRF_LEN]),
            ("csrf_handed_out", |record| record.csrf_handed_out = true),
            ("flash", |record| _ = record.flash.insert(&Entry::new("note", "1"))),
            ("another value", |record| _ = record.values.insert(&Entry::new("more", "1"))),
            ("no value", |record| record.values = Values::default()),
            ("another key", |record| {
                let entry = record.values.remove(KEY).unwrap();
                record.values.insert(&Entry::new("other", entry.json()));
            }),
        ];
        for (what, change) in changes {
            let mut changed = whole.clone();
            change(&mut changed);
            assert_eq!(unseal(&token(1), &changed), None, "{what}");
        }
        let without_owner = Record { owner: None, ..record(5) };
        let nobody = Record { owner: Some("".into()), ..sealed(&without_owner) };
        assert_eq!(unseal(&token(1), &nobody), None, "an owner without a name");

        let text = whole.values.get(KEY).unwrap().json().to_owned();
        for at in 0..text.len() {
            for other in ["A", "B", "\"", " "] {
                let changed = [&text[..at], other, &text[at + 1..]].concat();
                let cut = [&text[..at], "\""].concat();
                for json in [changed, cut].into_iter().filter(|json| *json != text) {
                    let values = Values::from_sorted(vec![Entry::new(KEY, &json)]);
                    let changed = Record { values, ..whole.clone() };
                    assert_eq!(unseal(&token(1), &changed), None, "digit {at}");
                }
            }
        }
    }

    #[test]
    fn the_longest_record_fits_whatever_its_owner_is_called() {
        for max in (0..3_000).step_by(7) {
            let longest = longest_record(max);
            for owner in [0, 1, 2, 31, 32, 33, 200] {
                let mut record = Record { owner: Some("o".repeat(owner).into()), ..record(0) };
                let Some(len) = longest.checked_sub(record.encoded_len()) else { continue };
                record.values = Values::from_sorted(vec![Entry::new("text", &format!("\"{}\"", "x".repeat(len)))]);
                assert_eq!(record.encoded_len(), longest);
                let taken = sealed(&record).encoded_len();
                assert!(taken <= max, "{longest} bytes with an owner of {owner} take {taken} of {max}");
            }
        }
        assert!(longest_record(3_000) > 2_000);
    }

    #[test]
    fn the_format_is_pinned() {
        // Computed from the layout and the standards by another program.
        let text = "\"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD1QXu7YQNMyW3UalTiXzB5OmXLfokBWcQAUjpSpL_dBV28PYgOcgs5boRMkm8SKwk\
             Nq0YQaRKY_m7nTzktDL8hAI7URK1lh3mCuw7RWfdBZg\"";
        assert_eq!(sealed(&record(5)).values.get(KEY).unwrap().json(), text);
    }
}
