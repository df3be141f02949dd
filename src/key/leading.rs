//! The token to which a token that was replaced because of its age leads on, sealed.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};

use super::{CookieKey, ID_LEN};
use crate::record::LEADING_LEN;
use crate::token::{RANDOM_LEN, SessionToken, derive};

const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
const _: () = assert!(LEADING_LEN == ID_LEN + NONCE_LEN + RANDOM_LEN + TAG_LEN);

impl CookieKey {
    /// Seals the token `new` under this key and the token `old`: key id, nonce, ciphertext, tag. Returns `None` if `new`
    /// is no random token.
    ///
    /// Neither the key nor the old token opens it alone. So a copy of an old token and of all that the store ever wrote
    /// give no access, and neither do the key and the store.
    pub(crate) fn seal_leading(
        &self,
        old: &SessionToken,
        new: &SessionToken,
        nonce: [u8; NONCE_LEN],
    ) -> Option<[u8; LEADING_LEN]> {
        let (secret, _) = new.random()?;
        let payload = Payload { msg: secret, aad: &self.id };
        let sealed = cipher(self, old).encrypt(&XNonce::from(nonce), payload).ok()?;
        [&self.id[..], &nonce, &sealed].concat().try_into().ok()
    }
}

/// Opens the token to which the token `old` leads on, with the key that the sealed bytes name.
pub(crate) fn open_leading(keys: &[CookieKey], old: &SessionToken, sealed: &[u8; LEADING_LEN]) -> Option<SessionToken> {
    let (id, rest) = sealed.split_first_chunk::<ID_LEN>()?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
    let (_, scope) = old.random()?;
    let key = keys.iter().find(|key| key.id == *id)?;
    let payload = Payload { msg: sealed, aad: id };
    let opened = cipher(key, old).decrypt(&XNonce::from(*nonce), payload).ok()?;
    opened.try_into().ok().map(|secret| SessionToken::from_random(secret, scope))
}

fn cipher(key: &CookieKey, old: &SessionToken) -> XChaCha20Poly1305 {
    let secrets = [&key.aead, old.secret()].concat();
    XChaCha20Poly1305::new(&derive::<32>(&secrets, b"tower-session-layer leading token v1").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenScope;

    fn key(byte: u8) -> CookieKey {
        CookieKey::new(&[byte; 32]).unwrap()
    }

    fn token(byte: u8) -> SessionToken {
        SessionToken::from_random([byte; RANDOM_LEN], TokenScope::of("sid"))
    }

    #[test]
    fn only_the_old_token_and_the_key_together_open_the_new_one() {
        let (old, new) = (token(1), token(2));
        let leading = key(1).seal_leading(&old, &new, [3; NONCE_LEN]).unwrap();
        assert_eq!(open_leading(&[key(2), key(1)], &old, &leading), Some(new.clone()));
        assert_eq!(open_leading(&[key(1)], &new, &leading), None, "another token");
        assert_eq!(open_leading(&[key(2)], &old, &leading), None, "another key");
        assert_eq!(open_leading(&[], &old, &leading), None);
        for at in 0..LEADING_LEN {
            let mut changed = leading;
            changed[at] ^= 1;
            assert_eq!(open_leading(&[key(1)], &old, &changed), None, "byte {at}");
        }
        assert!(!leading.windows(4).any(|window| window == [2; 4]));
    }
}
