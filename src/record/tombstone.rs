//! What is left where a session ended.

use std::fmt;
use std::time::{Duration, SystemTime};

use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};

use super::encoding::{DecodeError, error, take};
use crate::clock::{micros, span, time};
use crate::token::SessionToken;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TombstoneKind {
    /// It was destroyed.
    Destroyed,
    /// Its token was replaced by a new one.
    Renewed,
    /// Its token was replaced because of its age: for a while whoever still holds it is led on to the new one.
    Forwarded,
    /// Its owner's sessions were revoked.
    Revoked,
    /// A request left it empty, and nobody else had written.
    Emptied,
}

/// The inert rest of a session that ended: its token is dead, and whoever still holds it learns why.
///
/// It ends by itself, 60 seconds after the session unless the layer says otherwise.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_session_layer::store::{Tombstone, TombstoneKind};
///
/// let (now, minute) = (SystemTime::UNIX_EPOCH, Duration::from_secs(60));
/// let stone = Tombstone::new(TombstoneKind::Destroyed, minute, now);
/// assert_eq!((stone.kind(), stone.until()), (TombstoneKind::Destroyed, now + minute));
/// assert_eq!(Tombstone::decode(stone.until(), &stone.encode()), Ok(stone));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Tombstone {
    kind: TombstoneKind,
    until: u64,
    /// The new token, sealed under a key derived from the old one, for a `destroy` that comes too late.
    successor: Option<[u8; SUCCESSOR_LEN]>,
}

/// How long the tombstone of a session stands.
pub(crate) const TOMBSTONE: Duration = Duration::from_secs(60);
/// How long a token that was replaced because of its age leads on to the new one.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

const NONCE_LEN: usize = 24;
const SUCCESSOR_LEN: usize = NONCE_LEN + crate::token::RANDOM_LEN + 16;

impl Tombstone {
    /// Makes a tombstone that stands for so long from `now` on.
    pub fn new(kind: TombstoneKind, lasting: Duration, now: SystemTime) -> Self {
        Self { kind, until: micros(now).saturating_add(span(lasting)), successor: None }
    }

    /// Adds the token that took over, sealed so that only who holds the old one can read it.
    pub(crate) fn with_successor(mut self, old: &SessionToken, new: &SessionToken, nonce: [u8; NONCE_LEN]) -> Self {
        // Encryption of 24 bytes cannot fail; were it to, the tombstone would do without its successor.
        self.successor = new
            .random()
            .and_then(|new| successor_cipher(old).encrypt(&XNonce::from(nonce), new.as_slice()).ok())
            .and_then(|sealed| [nonce.as_slice(), &sealed].concat().try_into().ok());
        self
    }

    /// The token that a request with `old` goes on with, while it may.
    pub(crate) fn forwards(&self, old: &SessionToken, now: SystemTime) -> Option<SessionToken> {
        let is_leading = self.forwards_until().is_some_and(|end| micros(now) < end);
        if is_leading { self.successor(old) } else { None }
    }

    /// Until when it leads on, in microseconds. After that it is inert for as long as any other.
    pub(crate) fn forwards_until(&self) -> Option<u64> {
        (self.kind == TombstoneKind::Forwarded).then(|| self.until.saturating_sub(span(TOMBSTONE)))
    }

    /// The token that took over, if `old` is the one that was replaced.
    pub(crate) fn successor(&self, old: &SessionToken) -> Option<SessionToken> {
        let (nonce, sealed) = self.successor.as_ref()?.split_first_chunk::<NONCE_LEN>()?;
        let opened = successor_cipher(old).decrypt(&XNonce::from(*nonce), sealed).ok()?;
        opened.try_into().ok().map(SessionToken::from_random)
    }

    /// Returns why the session ended.
    pub fn kind(&self) -> TombstoneKind {
        self.kind
    }

    /// Returns when the tombstone itself ends.
    pub fn until(&self) -> SystemTime {
        time(self.until)
    }

    /// Writes the tombstone as bytes; `until` stands beside them, as a record's deadline does.
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            TombstoneKind::Destroyed => b'd',
            TombstoneKind::Renewed => b'n',
            TombstoneKind::Forwarded => b'f',
            TombstoneKind::Revoked => b'r',
            TombstoneKind::Emptied => b'e',
        };
        let successor = self.successor.as_ref().map_or(&[][..], |sealed| sealed.as_slice());
        [&[kind], successor].concat()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// Bytes that are not exactly a tombstone.
    pub fn decode(until: SystemTime, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = bytes;
        let kind = match take(&mut rest)? {
            [b'd'] => TombstoneKind::Destroyed,
            [b'n'] => TombstoneKind::Renewed,
            [b'f'] => TombstoneKind::Forwarded,
            [b'r'] => TombstoneKind::Revoked,
            [b'e'] => TombstoneKind::Emptied,
            _ => return Err(error("unknown tombstone")),
        };
        let successor = match rest {
            [] => None,
            sealed => Some(sealed.try_into().map_err(|_| error("tombstone of another length"))?),
        };
        Ok(Self { kind, until: micros(until), successor })
    }
}

impl fmt::Debug for Tombstone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tombstone").field("kind", &self.kind).field("until", &self.until()).finish_non_exhaustive()
    }
}

fn successor_cipher(old: &SessionToken) -> XChaCha20Poly1305 {
    let key: [u8; 32] = old.derive(b"tower-session-layer successor v1");
    XChaCha20Poly1305::new(&key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_old_token_opens_the_successor() {
        let (old, new) = (SessionToken::from_random([1; 24]), SessionToken::from_random([2; 24]));
        let stone = Tombstone::new(TombstoneKind::Renewed, Duration::from_secs(60), time(0));
        let stone = stone.with_successor(&old, &new, [3; NONCE_LEN]);
        assert_eq!(stone.successor(&old), Some(new.clone()));
        assert_eq!(stone.successor(&new), None);
        let again = Tombstone::decode(stone.until(), &stone.encode());
        assert_eq!(again.as_ref(), Ok(&stone));
        assert!(!stone.encode().windows(24).any(|window| window == [2; 24]));
    }

    #[test]
    fn a_token_replaced_by_age_leads_on_for_its_grace_and_is_inert_after_it() {
        let (old, new) = (SessionToken::from_random([1; 24]), SessionToken::from_random([2; 24]));
        let stone = |kind| Tombstone::new(kind, GRACE + TOMBSTONE, time(0)).with_successor(&old, &new, [3; NONCE_LEN]);
        let forwarded = stone(TombstoneKind::Forwarded);
        assert_eq!(forwarded.forwards(&old, time(0)), Some(new.clone()));
        assert_eq!(forwarded.forwards(&old, time(59_999_999)), Some(new.clone()));
        assert_eq!(forwarded.forwards(&old, time(0) + GRACE), None);
        assert_eq!(stone(TombstoneKind::Renewed).forwards(&old, time(0)), None);
    }

    #[test]
    fn the_format_is_pinned() {
        for (kind, byte) in [
            (TombstoneKind::Destroyed, b'd'),
            (TombstoneKind::Renewed, b'n'),
            (TombstoneKind::Forwarded, b'f'),
            (TombstoneKind::Revoked, b'r'),
            (TombstoneKind::Emptied, b'e'),
        ] {
            let stone = Tombstone::new(kind, Duration::from_secs(60), time(0));
            assert_eq!(stone.encode(), [byte]);
            assert_eq!(Tombstone::decode(time(60_000_000), &[byte]), Ok(stone));
        }
        assert!(Tombstone::decode(time(0), b"").is_err());
        assert!(Tombstone::decode(time(0), b"x").is_err());
        assert!(Tombstone::decode(time(0), b"nshort").is_err());
    }
}
