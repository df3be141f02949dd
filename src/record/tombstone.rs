//! The tombstone that a session leaves when it ends.

use std::fmt;
use std::time::{Duration, SystemTime};

use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};

use super::encoding::DecodeError;
use crate::clock::{micros, span, time};
use crate::token::SessionToken;

/// The reason why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TombstoneKind {
    /// The program destroyed it.
    Destroyed,
    /// A renewal or a sign-in replaced its token.
    Renewed,
    /// The layer replaced its token because of the token's age. For 60 seconds a request with the old token is given
    /// the session and the new token.
    Forwarded,
    /// A revocation ended sessions of its owner.
    Revoked,
    /// A request left it empty, and no other request had written to it.
    Emptied,
}

/// The entry that replaces the record of a session that has ended. It says why the token is dead.
///
/// A tombstone ends by itself, 60 seconds after the session unless the layer demands another time.
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
    /// The new token, sealed under a key derived from the old token, for a late `destroy` of the old token.
    successor: Option<[u8; SUCCESSOR_LEN]>,
}

/// The time for which the tombstone of a session stands.
pub(crate) const TOMBSTONE: Duration = Duration::from_secs(60);
/// The time for which a token that was replaced because of its age leads on to the new token.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

const NONCE_LEN: usize = 24;
const SUCCESSOR_LEN: usize = NONCE_LEN + crate::token::RANDOM_LEN + 16;

impl Tombstone {
    /// Creates a tombstone that stands for the duration `lasting` from `now` on.
    pub fn new(kind: TombstoneKind, lasting: Duration, now: SystemTime) -> Self {
        Self { kind, until: micros(now).saturating_add(span(lasting)), successor: None }
    }

    /// Adds the token `new`, sealed so that only a holder of the token `old` can read it.
    pub(crate) fn with_successor(mut self, old: &SessionToken, new: &SessionToken, nonce: [u8; NONCE_LEN]) -> Self {
        // The encryption of 24 bytes cannot fail. If it did, the tombstone would have no successor.
        self.successor = new
            .random()
            .and_then(|new| successor_cipher(old).encrypt(&XNonce::from(nonce), new.as_slice()).ok())
            .and_then(|sealed| [nonce.as_slice(), &sealed].concat().try_into().ok());
        self
    }

    /// Returns the new token if `old` still leads on to it at `now`.
    pub(crate) fn forwards(&self, old: &SessionToken, now: SystemTime) -> Option<SessionToken> {
        let is_leading = self.forwards_until().is_some_and(|end| micros(now) < end);
        if is_leading { self.successor(old) } else { None }
    }

    /// Returns the time until which the old token leads on, in microseconds. After that time the tombstone stands as
    /// long as any other.
    pub(crate) fn forwards_until(&self) -> Option<u64> {
        (self.kind == TombstoneKind::Forwarded).then(|| self.until.saturating_sub(span(TOMBSTONE)))
    }

    /// Returns the new token if `old` is the token that it replaced.
    pub(crate) fn successor(&self, old: &SessionToken) -> Option<SessionToken> {
        let (nonce, sealed) = self.successor.as_ref()?.split_first_chunk::<NONCE_LEN>()?;
        let opened = successor_cipher(old).decrypt(&XNonce::from(*nonce), sealed).ok()?;
        opened.try_into().ok().map(SessionToken::from_random)
    }

    /// Returns the reason why the session ended.
    pub fn kind(&self) -> TombstoneKind {
        self.kind
    }

    /// Returns the time at which the tombstone itself ends.
    pub fn until(&self) -> SystemTime {
        time(self.until)
    }

    /// Writes everything but [`until`](Self::until) as bytes. A store keeps that time beside them, as it keeps a
    /// record's deadline.
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

    /// Reads the bytes that [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// The bytes are not exactly a tombstone.
    pub fn decode(until: SystemTime, bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, successor) = bytes.split_first().ok_or(DecodeError::CUT_OFF)?;
        let kind = match kind {
            b'd' => TombstoneKind::Destroyed,
            b'n' => TombstoneKind::Renewed,
            b'f' => TombstoneKind::Forwarded,
            b'r' => TombstoneKind::Revoked,
            b'e' => TombstoneKind::Emptied,
            _ => return Err(DecodeError("unknown tombstone")),
        };
        let successor = match successor {
            [] => None,
            sealed => Some(sealed.try_into().map_err(|_| DecodeError("tombstone of another length"))?),
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
