//! The sealing of sessions for the one cookie that the store is bound to.

use std::fmt;

use super::plain;
use super::seal::{NONCE_LEN, Sealer, max_plaintext_len, open};
use crate::cookie::SessionCookie;
use crate::error::StoreError;
use crate::key::CookieKey;
use crate::record::Record;
use crate::token::{SessionToken, TokenScope};

/// The cookie that the store is bound to, with the limits that follow from it.
pub(super) struct BoundCookie {
    name: String,
    pub(super) scope: TokenScope,
    pub(super) max_text_len: usize,
    pub(super) max_record_len: usize,
    /// The keys, in their order.
    pub(super) ring: Vec<Sealer>,
}

impl BoundCookie {
    pub(super) fn new(keys: &[CookieKey], cookie: &SessionCookie, audience: &str, max_chunks: u8) -> Self {
        let max_text_len = cookie.capacity(max_chunks);
        Self {
            name: cookie.name().into(),
            scope: cookie.scope(),
            max_text_len,
            max_record_len: plain::max_record_len(max_plaintext_len(max_text_len)),
            ring: keys.iter().map(|key| Sealer::new(key, cookie.name(), audience)).collect(),
        }
    }

    /// Opens the record in a token, expired or not. Returns whether the first key sealed it, too.
    pub(super) fn open(&self, token: &SessionToken) -> Option<(Record, bool)> {
        let text = token.secret();
        if text.len() > self.max_text_len {
            return None;
        }
        let (at, plaintext) = open(&self.ring, text)?;
        let record = plain::read(&plaintext).inspect_err(|error| {
            tracing::warn!(
                name: "session.cookie.unreadable",
                key = ?token.key(), %error, "an authentic cookie holds no session"
            );
        });
        Some((record.ok()?, at == 0))
    }

    /// Seals a record with the first key.
    pub(super) fn seal(&self, record: &Record) -> Result<SessionToken, StoreError> {
        let (actual, allowed) = (record.encoded_len(), self.max_record_len);
        let plaintext = (actual <= allowed).then(|| plain::write(record)).flatten();
        let plaintext = plaintext.ok_or_else(|| StoreError::too_large(actual, allowed))?;
        let mut nonce = [0; NONCE_LEN];
        crate::random::fill(&mut nonce)?;
        let text = self.ring.first().and_then(|sealer| sealer.seal(nonce, &plaintext));
        let text = text.ok_or_else(|| StoreError::new("the session could not be sealed"))?;
        SessionToken::from_sealed(text).map_err(|_| StoreError::new("a sealed session is not base64url"))
    }
}

impl fmt::Debug for BoundCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundCookie").field("name", &self.name).finish_non_exhaustive()
    }
}
