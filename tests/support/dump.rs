//! The search of a client who kept old tokens for newer ones, in everything that a store ever wrote (promise 10).

use std::collections::HashSet;
use std::path::Path;

use base64::alphabet;
use base64::engine::Engine as _;
use base64::engine::general_purpose::{self, GeneralPurpose, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use tower_session_layer::{ManualClock, Session, SessionLayer};

use super::direct::{act, begin};
use super::{HOUR, MINUTE};

/// The purposes for which the crate derives secrets of tokens, today or formerly.
const PURPOSES: [&str; 5] = [
    "tower-session-layer successor v1",
    "tower-session-layer leading token v1",
    "tower-session-layer sealed v1",
    "tower-session-layer csrf v1",
    "tower-session-layer csrf of the dead v1",
];
const NONCE_LEN: usize = 24;

/// Derives the secret of one purpose, as the crate does.
pub fn derive(secret: &[u8], purpose: &str) -> [u8; 32] {
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(None, secret).expand(purpose.as_bytes(), &mut out).unwrap();
    out
}

/// The bytes of a token.
pub fn secret(token: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token).unwrap()
}

/// The forms in which a token could stand somewhere.
fn forms(token: &str) -> [Vec<u8>; 4] {
    let secret = secret(token);
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    [secret, token.as_bytes().to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()]
}

/// A token that was found, and the secret and purpose that gave it away; neither if it stands there as it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub token: usize,
    pub by: Option<(usize, &'static str)>,
}

/// Looks for each of the tokens in what was written, with each of the secrets.
///
/// Every place counts as a nonce: no tag and no associated data hinders whoever looks for a token.
pub fn find(written: &[Vec<u8>], secrets: &[Vec<u8>], tokens: &[String]) -> Vec<Found> {
    let forms: Vec<_> = tokens.iter().map(|token| forms(token)).collect();
    let is_in = |bytes: &[u8], at: usize| forms[at].iter().any(|form| memchr::memmem::find(bytes, form).is_some());
    let all = |bytes: &[u8]| (0..tokens.len()).filter(|at| is_in(bytes, *at)).collect::<Vec<_>>();
    let mut found: Vec<_> =
        written.iter().flat_map(|bytes| all(bytes)).map(|token| Found { token, by: None }).collect();
    // A token alone stands right behind its nonce; among other things, anywhere in what a base64url text holds.
    let alone = written.iter().flat_map(|bytes| bytes.windows(NONCE_LEN + 24));
    let alone: HashSet<_> = alone.filter(|bytes| may_be_random(&bytes[..NONCE_LEN])).collect();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let texts = written.iter().flat_map(|bytes| bytes.split(|byte| !is_digit(byte)));
    let texts: HashSet<_> = texts.filter(|text| text.len() > 64).collect();
    let among: Vec<_> = texts.into_iter().flat_map(|text| (0..4).map(move |skip| decode(&text[skip..]))).collect();
    for purpose in PURPOSES {
        for (by, secret) in secrets.iter().enumerate() {
            let cipher = XChaCha20Poly1305::new(&derive(secret, purpose).into());
            let mut note = |token| found.push(Found { token, by: Some((by, purpose)) });
            for bytes in &alone {
                let plain = decrypt(&cipher, bytes);
                (0..tokens.len()).filter(|at| forms[*at][0] == plain).for_each(&mut note);
            }
            among.iter().flat_map(|bytes| all(&decrypt(&cipher, bytes))).for_each(&mut note);
        }
    }
    found
}

/// Whether these can be random bytes: one nonce in a billion has fewer than 16 different ones.
fn may_be_random(nonce: &[u8]) -> bool {
    let mut seen = [0_u64; 4];
    nonce.iter().for_each(|byte| seen[usize::from(byte >> 6)] |= 1 << (byte & 63));
    seen.iter().map(|part| part.count_ones()).sum::<u32>() >= 16
}

/// Reads a text that was cut anywhere.
fn decode(text: &[u8]) -> Vec<u8> {
    let config = general_purpose::NO_PAD.with_decode_allow_trailing_bits(true);
    let text = &text[..text.len() - usize::from(text.len() % 4 == 1)];
    GeneralPurpose::new(&alphabet::URL_SAFE, config).decode(text).unwrap()
}

/// Decrypts nonce and ciphertext without a look at the tag.
fn decrypt(cipher: &XChaCha20Poly1305, bytes: &[u8]) -> Vec<u8> {
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>().unwrap();
    let stream = cipher.encrypt(&XNonce::from(*nonce), vec![0; sealed.len()].as_slice()).unwrap();
    stream.iter().zip(sealed).map(|(one, other)| one ^ other).collect()
}

/// The contents of all files below a directory.
pub fn files(directory: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![std::fs::read(&path).unwrap()] }).collect()
}

/// The tokens of one session that is signed in, renewed, given another token twice because of its age, and ended, in
/// their order. `note` is called after each step.
///
/// The layer's cookie is `sid`, and it replaces tokens after an hour.
pub async fn tokens(layer: &SessionLayer, clock: &ManualClock, mut note: impl AsyncFnMut()) -> Vec<String> {
    let read = |session: &Session| session.contains("a").to_string();
    let mut tokens = vec![begin(layer, |session| session.insert("a", 1)).await];
    note().await;
    let steps: [fn(&Session) -> Result<(), tower_session_layer::Error>; 2] =
        [|session| session.sign_in("ada"), Session::renew];
    for step in steps {
        tokens.push(act(layer, tokens.last().map(String::as_str), step).await.token().unwrap());
        note().await;
    }
    for _ in 0..2 {
        clock.advance(HOUR);
        let old = tokens.last().unwrap().clone();
        let new = act(layer, Some(&old), read).await.token().unwrap();
        note().await;
        // The old token leads on, and writes.
        assert_eq!(act(layer, Some(&old), |session| session.insert("b", 2)).await.token().as_ref(), Some(&new));
        note().await;
        clock.advance(MINUTE / 2);
        tokens.push(new);
    }
    assert!(act(layer, tokens.last().map(String::as_str), Session::destroy).await.removes_cookie());
    note().await;
    tokens
}

/// Asserts that no older token opens a newer one in what was written.
pub fn nothing_leads_on(written: &[Vec<u8>], tokens: &[String], what: &str) {
    let secrets: Vec<_> = tokens.iter().map(|token| secret(token)).collect();
    let mut found = find(written, &secrets, tokens);
    found.retain(|found| found.by.is_none_or(|(by, _)| by < found.token));
    assert_eq!(found, [], "{what}");
}
