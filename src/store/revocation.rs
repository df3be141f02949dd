//! The revocation of an owner's sessions, and the mark by which it refuses sign-ins that are under way.

use std::time::{Duration, SystemTime};

use crate::clock::{micros, span, time};
use crate::record::{Record, SessionHandle, Tombstone, TombstoneKind};

/// The choice of an owner's sessions to revoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revoke {
    /// The session with this handle.
    One(SessionHandle),
    /// All sessions but the one with this handle.
    Others(SessionHandle),
    /// All sessions.
    All,
}

impl Revoke {
    /// Returns whether the choice includes the session with this handle.
    pub fn includes(self, handle: SessionHandle) -> bool {
        match self {
            Self::One(one) => one == handle,
            Self::Others(kept) => kept != handle,
            Self::All => true,
        }
    }
}

/// The argument of [`SessionStore::revoke`](super::SessionStore::revoke): the sessions to end, and the tombstone that each
/// leaves.
///
/// The time [`at`](Self::at) orders the revocation among the sign-ins of a process. Only the [`RevocationMark`] uses it.
/// The `now` of the call decides which sessions have expired; after the clock has stepped back the two times may be far
/// apart.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_session_layer::store::{Revocation, Revoke, SessionHandle, TombstoneKind};
///
/// let (now, kept) = (SystemTime::UNIX_EPOCH, SessionHandle::from_bytes([1; 16]));
/// let others = Revocation::new(Revoke::Others(kept), now, Duration::from_secs(60));
/// assert!(!others.includes(kept) && others.includes(SessionHandle::from_bytes([2; 16])));
/// assert_eq!((others.which(), others.at()), (Revoke::Others(kept), now));
/// assert_eq!(others.tombstone(now).kind(), TombstoneKind::Revoked);
/// assert!(others.leaves_mark() && !Revocation::new(Revoke::One(kept), now, Duration::ZERO).leaves_mark());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    pub(crate) which: Revoke,
    pub(crate) at: SystemTime,
    lasting: Duration,
}

impl Revocation {
    /// Makes a revocation at the time `at`, whose tombstones last for `lasting`.
    pub fn new(which: Revoke, at: SystemTime, lasting: Duration) -> Self {
        Self { which, at, lasting }
    }

    /// Returns the choice of sessions.
    pub fn which(&self) -> Revoke {
        self.which
    }

    /// Returns whether the revocation includes the session with this handle.
    pub fn includes(&self, handle: SessionHandle) -> bool {
        self.which.includes(handle)
    }

    /// Returns whether the revocation refuses sign-ins that are under way, and so goes into the owner's mark.
    pub fn leaves_mark(&self) -> bool {
        !matches!(self.which, Revoke::One(_))
    }

    /// Returns the time that goes into the mark. The mark refuses every sign-in that began at or before this time.
    pub fn at(&self) -> SystemTime {
        self.at
    }

    /// Makes the tombstone of a session that the revocation ends at `now`.
    pub fn tombstone(&self, now: SystemTime) -> Tombstone {
        Tombstone::new(TombstoneKind::Revoked, self.lasting, now)
    }
}

/// A mark that refuses an owner's sign-ins which began before a revocation, except that of the session it spared.
///
/// A store keeps one mark for each owner whose sessions were revoked. It keeps the mark for
/// [`LIFETIME`](Self::LIFETIME); the layer itself refuses a sign-in that is older than that.
///
/// The 32 bytes of a mark are two times and a handle. The first time is that of the latest revocation, the second is the
/// one up to which the spared session's sign-ins are refused; both are microseconds since the Unix epoch, big-endian. The
/// handle is that of the spared session, zeros if there is none.
///
/// # Examples
///
/// ```
/// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
/// # use hidden::*;
/// # let (_, found) = stored(|session| async move { session.sign_in("ada") });
/// # let (_, record) = found.unwrap();
/// use std::time::{Duration, SystemTime};
/// use tower_session_layer::store::{Revocation, RevocationMark, Revoke};
///
/// let now = SystemTime::now() + Duration::from_secs(1);
/// let mut mark = RevocationMark::default();
/// mark.add(&Revocation::new(Revoke::All, now, Duration::from_secs(60)));
/// assert!(mark.refuses(&record), "it signed in before");
/// assert_eq!(RevocationMark::decode(&mark.encode()), Some(mark));
/// assert!(!mark.is_expired(now) && mark.is_expired(mark.deadline()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RevocationMark {
    before: u64,
    spared: Option<(SessionHandle, u64)>,
}

impl RevocationMark {
    /// The time for which a store must keep a mark after the last revocation.
    pub const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

    /// Adds a revocation. [`Revoke::One`] adds nothing.
    pub fn add(&mut self, revocation: &Revocation) {
        let spared = match revocation.which {
            Revoke::One(_) => return,
            Revoke::All => None,
            // Earlier revocations still count for the spared session.
            Revoke::Others(handle) => Some((handle, self.threshold(handle))),
        };
        *self = Self { before: self.before.max(micros(revocation.at)), spared };
    }

    /// Returns whether the owner's sessions were revoked after the sign-in of this record began.
    pub fn refuses(&self, record: &Record) -> bool {
        record.signed_in <= self.threshold(record.handle)
    }

    /// Returns the time up to which sign-ins are refused, in microseconds.
    pub(crate) fn before(&self) -> u64 {
        self.before
    }

    /// Returns whether a store may remove the mark.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.before.saturating_add(span(Self::LIFETIME)) <= micros(now)
    }

    /// Returns the time from which on a store may remove the mark.
    pub fn deadline(&self) -> SystemTime {
        time(self.before.saturating_add(span(Self::LIFETIME)))
    }

    /// Writes the mark as bytes.
    pub fn encode(&self) -> [u8; 32] {
        let (handle, before) = self.spared.map_or(([0; 16], 0), |(handle, before)| (*handle.as_bytes(), before));
        let mut out = [0; 32];
        out[..8].copy_from_slice(&self.before.to_be_bytes());
        out[8..16].copy_from_slice(&before.to_be_bytes());
        out[16..].copy_from_slice(&handle);
        out
    }

    /// Reads the bytes that [`encode`](Self::encode) wrote. Returns `None` for bytes of another length.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (before, rest) = bytes.split_first_chunk()?;
        let (spared_before, handle) = rest.split_first_chunk()?;
        let handle: [u8; 16] = handle.try_into().ok()?;
        let spared = (SessionHandle::from_bytes(handle), u64::from_be_bytes(*spared_before));
        Some(Self { before: u64::from_be_bytes(*before), spared: (handle != [0; 16]).then_some(spared) })
    }

    fn threshold(&self, handle: SessionHandle) -> u64 {
        match self.spared {
            Some((spared, before)) if spared == handle => before,
            _ => self.before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    fn signed_in(handle: u8, at: u64) -> Record {
        Record {
            signed_in: at,
            handle: SessionHandle::from_bytes([handle; 16]),
            owner: Some("ada".into()),
            ..Record::blank()
        }
    }

    #[test]
    fn a_mark_refuses_what_began_before_it_and_spares_one_session() {
        let revocation = |which, at| Revocation::new(which, time(at), Duration::ZERO);
        let mut mark = RevocationMark::default();
        assert!(!mark.refuses(&signed_in(1, 5)));
        mark.add(&revocation(Revoke::Others(SessionHandle::from_bytes([1; 16])), 10));
        assert!(!mark.refuses(&signed_in(1, 5)), "the spared one");
        assert!(mark.refuses(&signed_in(2, 5)) && mark.refuses(&signed_in(2, 10)));
        assert!(!mark.refuses(&signed_in(2, 11)), "signed in afterwards");
        mark.add(&revocation(Revoke::Others(SessionHandle::from_bytes([2; 16])), 20));
        assert!(mark.refuses(&signed_in(1, 15)), "spared by an earlier one only");
        assert!(mark.refuses(&signed_in(2, 9)), "revoked earlier, spared later");
        assert!(!mark.refuses(&signed_in(2, 15)));
        assert_eq!(RevocationMark::decode(&mark.encode()), Some(mark));
        mark.add(&revocation(Revoke::All, 30));
        assert!(mark.refuses(&signed_in(2, 30)) && mark.refuses(&signed_in(1, 30)));
        assert_eq!(RevocationMark::decode(&mark.encode()), Some(mark));
        assert_eq!(RevocationMark::decode(b"short"), None);
    }
}
