//! The tombstone that a session leaves when it ends.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::encoding::DecodeError;
use crate::clock::{micros, span, time};
use crate::token::StoreKey;

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
    /// The key of the session under its new token, for a late `destroy` of the old token.
    successor: Option<StoreKey>,
    /// The new token itself, sealed, where the old one leads on to it.
    leading: Option<Box<[u8; LEADING_LEN]>>,
}

/// The time for which the tombstone of a session stands.
pub(crate) const TOMBSTONE: Duration = Duration::from_secs(60);
/// The time for which a token that was replaced because of its age leads on to the new token.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

/// Bytes of a store key.
const KEY_LEN: usize = 32;
/// Bytes of a sealed token: key id, nonce, ciphertext, tag.
pub(crate) const LEADING_LEN: usize = 8 + 24 + crate::token::RANDOM_LEN + 16;

impl Tombstone {
    /// Creates a tombstone that stands for the duration `lasting` from `now` on.
    pub fn new(kind: TombstoneKind, lasting: Duration, now: SystemTime) -> Self {
        Self { kind, until: micros(now).saturating_add(span(lasting)), successor: None, leading: None }
    }

    /// Adds the key under which the session goes on.
    pub(crate) fn with_successor(mut self, successor: StoreKey) -> Self {
        self.successor = Some(successor);
        self
    }

    /// Adds the token to which the old token leads on.
    pub(crate) fn leading_to(mut self, leading: [u8; LEADING_LEN]) -> Self {
        self.leading = Some(Box::new(leading));
        self
    }

    /// Returns the token to which the old token still leads on at `now`, sealed.
    pub(crate) fn leading(&self, now: SystemTime) -> Option<&[u8; LEADING_LEN]> {
        let is_leading = self.forwards_until().is_some_and(|end| micros(now) < end);
        self.leading.as_deref().filter(|_| is_leading)
    }

    /// Returns the time until which the old token leads on, in microseconds. After that time the tombstone stands as
    /// long as any other.
    pub(crate) fn forwards_until(&self) -> Option<u64> {
        (self.kind == TombstoneKind::Forwarded).then(|| self.until.saturating_sub(span(TOMBSTONE)))
    }

    /// Returns the key under which the session goes on, if its token was replaced.
    pub fn successor(&self) -> Option<&StoreKey> {
        self.successor.as_ref()
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
        let successor = self.successor.as_ref().map_or(&[][..], |key| key.as_bytes());
        let leading = self.leading.as_deref().map_or(&[][..], |sealed| sealed);
        [&[kind], successor, leading].concat()
    }

    /// Reads the bytes that [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// The bytes are not exactly a tombstone.
    pub fn decode(until: SystemTime, bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, rest) = bytes.split_first().ok_or(DecodeError::CUT_OFF)?;
        let kind = match kind {
            b'd' => TombstoneKind::Destroyed,
            b'n' => TombstoneKind::Renewed,
            b'f' => TombstoneKind::Forwarded,
            b'r' => TombstoneKind::Revoked,
            b'e' => TombstoneKind::Emptied,
            _ => return Err(DecodeError("unknown tombstone")),
        };
        let (successor, leading) = rest.split_at(rest.len().min(KEY_LEN));
        let successor: Option<[u8; KEY_LEN]> = read(successor)?;
        let leading: Option<[u8; LEADING_LEN]> = read(leading)?;
        Ok(Self {
            kind,
            until: micros(until),
            successor: successor.map(StoreKey::from_bytes),
            leading: leading.map(Box::new),
        })
    }
}

/// Reads a part of a tombstone, which has all its bytes or none.
fn read<const LEN: usize>(bytes: &[u8]) -> Result<Option<[u8; LEN]>, DecodeError> {
    let whole = || bytes.try_into().map_err(|_| DecodeError("tombstone of another length"));
    (!bytes.is_empty()).then(whole).transpose()
}

impl fmt::Debug for Tombstone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tombstone").field("kind", &self.kind).field("until", &self.until()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{SessionToken, TokenScope};

    fn token(byte: u8) -> SessionToken {
        SessionToken::from_random([byte; 24], TokenScope::of("sid"))
    }

    fn stone(kind: TombstoneKind) -> Tombstone {
        let stone = Tombstone::new(kind, GRACE + TOMBSTONE, time(0)).with_successor(token(2).key());
        stone.leading_to([3; LEADING_LEN])
    }

    #[test]
    fn a_token_replaced_by_age_leads_on_for_its_grace_and_is_inert_after_it() {
        let forwarded = stone(TombstoneKind::Forwarded);
        assert!(forwarded.leading(time(0)).is_some() && forwarded.leading(time(59_999_999)).is_some());
        assert!(forwarded.leading(time(0) + GRACE).is_none());
        assert!(stone(TombstoneKind::Renewed).leading(time(0)).is_none());
    }

    #[test]
    fn no_byte_of_the_new_token_is_in_a_tombstone() {
        for kind in [TombstoneKind::Renewed, TombstoneKind::Forwarded] {
            let bytes = stone(kind).encode();
            assert!(!bytes.windows(4).any(|window| window == [2; 4]));
            assert_eq!(Tombstone::decode(stone(kind).until(), &bytes), Ok(stone(kind)));
            for end in (2..bytes.len()).filter(|end| *end != 33) {
                assert!(Tombstone::decode(time(0), &bytes[..end]).is_err(), "cut at {end}");
            }
        }
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
        let renewed = Tombstone::new(TombstoneKind::Renewed, Duration::ZERO, time(0)).with_successor(token(2).key());
        assert_eq!(renewed.encode(), [b"n".as_slice(), token(2).key().as_bytes()].concat());
        assert!(Tombstone::decode(time(0), b"").is_err());
        assert!(Tombstone::decode(time(0), b"x").is_err());
        assert!(Tombstone::decode(time(0), b"nshort").is_err());
    }
}
