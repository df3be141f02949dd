//! The revocation of an owner's sessions, and the mark by which it refuses sign-ins that are under way.

mod known;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use crate::clock::{micros, span, time};
use crate::record::{Record, SessionHandle, Tombstone, TombstoneKind};

/// The choice of an owner's sessions to revoke.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revoke {
    /// The sessions with these handles.
    These(Vec<SessionHandle>),
    /// All sessions but the one with this handle.
    Others(SessionHandle),
    /// All sessions.
    All,
}

impl Revoke {
    /// Returns whether the choice includes the session with this handle.
    pub fn includes(&self, handle: SessionHandle) -> bool {
        match self {
            Self::These(these) => these.contains(&handle),
            Self::Others(kept) => *kept != handle,
            Self::All => true,
        }
    }
}

/// The argument of [`SessionStore::revoke`](super::SessionStore::revoke): the sessions to end, and the tombstone that
/// each leaves.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_session_layer::store::{Revocation, Revoke, SessionHandle, TombstoneKind};
///
/// let (now, kept) = (SystemTime::UNIX_EPOCH, SessionHandle::from_bytes([1; 16]));
/// let others = Revocation::new(Revoke::Others(kept), Duration::from_secs(60));
/// assert!(!others.includes(kept) && others.includes(SessionHandle::from_bytes([2; 16])));
/// assert_eq!(others.which(), &Revoke::Others(kept));
/// assert_eq!(others.tombstone(now).kind(), TombstoneKind::Revoked);
/// assert!(others.leaves_mark() && !Revocation::new(Revoke::These(vec![kept]), Duration::ZERO).leaves_mark());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    pub(crate) which: Revoke,
    lasting: Duration,
    /// A random number that names the revocation in the mark; zero for none.
    id: u64,
}

impl Revocation {
    /// Makes a revocation whose tombstones last for `lasting`.
    pub fn new(which: Revoke, lasting: Duration) -> Self {
        Self { which, lasting, id: 0 }
    }

    /// Gives the revocation a random name, by which this process knows its mark again.
    pub(crate) fn named(self, id: u64) -> Self {
        Self { id, ..self }
    }

    /// Remembers that the revocation is complete. A sign-in that begins from now on began after it, whatever the clocks
    /// say.
    pub(crate) fn complete(&self) {
        if self.id != 0 && self.leaves_mark() {
            known::note_completed(self.id);
        }
    }

    /// Returns the choice of sessions.
    pub fn which(&self) -> &Revoke {
        &self.which
    }

    /// Returns whether the revocation includes the session with this handle.
    pub fn includes(&self, handle: SessionHandle) -> bool {
        self.which.includes(handle)
    }

    /// Returns whether the revocation refuses sign-ins that are under way, and so goes into the owner's mark.
    pub fn leaves_mark(&self) -> bool {
        !matches!(self.which, Revoke::These(_))
    }

    /// Makes the tombstone of a session that the revocation ends at `now`.
    pub fn tombstone(&self, now: SystemTime) -> Tombstone {
        Tombstone::new(TombstoneKind::Revoked, self.lasting, now)
    }
}

/// A mark that refuses the owner's sign-ins that began before a revocation, except the sign-in of the session that the
/// revocation spared.
///
/// A store keeps one mark for each owner whose sessions were revoked. It keeps the mark for
/// [`LIFETIME`](Self::LIFETIME) at least, by its own clock; the layer itself refuses a sign-in that is older than that.
///
/// # Order
///
/// A store puts the sign-ins and revocations of an owner into one order. Each has a *moment*, which
/// [`next_moment`](Self::next_moment) gives: no clock of a host decides it. A session that has a moment was ended by every
/// revocation after it. A sign-in that is under way has none yet. It began some time ago, by the clocks of its process,
/// and a revocation that is as old or younger, by the clock of the store, came after it. Where the store has no clock, or
/// one that was set back, a revocation counts as younger unless the process knew it before the sign-in began. A process
/// knows the revocations that it has completed, and the marks by which it has refused a sign-in. So it refuses an owner's
/// first sign-in after a revocation of another process, and lets in those that begin after that.
///
/// A process knows at least the last 50,000 revocations that it has completed and the last 50,000 marks that it has
/// refused a sign-in by. It refuses one sign-in more for a mark that it has forgotten, and so does a process that was
/// started anew.
///
/// # Format
///
/// The 56 bytes of a mark are big-endian: the moment of the latest revocation; the time of the revocation by the store's
/// clock, in microseconds since the Unix epoch; the revocation's random name; the handle of the spared session, or zeros;
/// and the moment and time up to which the sign-ins of that session are refused.
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
/// let clock = SystemTime::now(); // the store's own
/// let mut mark = RevocationMark::default();
/// let moment = mark.next_moment(record.sign_in(), clock);
/// mark.add(&Revocation::new(Revoke::All, Duration::from_secs(60)), moment, clock);
/// assert!(mark.refuses(&record, clock), "it signed in before");
/// assert_eq!(RevocationMark::decode(&mark.encode()), Some(mark));
/// assert!(!mark.is_expired(clock) && mark.is_expired(mark.deadline()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RevocationMark {
    latest: Threshold,
    id: u64,
    spared: Option<(SessionHandle, Threshold)>,
}

/// A revocation in the order of the store, and by its clock in microseconds; zeros for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Threshold {
    moment: u64,
    at: u64,
}

impl RevocationMark {
    /// The time for which a store must keep a mark after the last revocation.
    pub const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

    /// The length of the encoded mark.
    pub(crate) const LEN: usize = 56;

    /// Returns the moment of the owner's next sign-in or revocation: the store's clock, or the moment that follows the
    /// mark and `last`, the latest moment of the owner's sessions.
    pub fn next_moment(&self, last: u64, clock: SystemTime) -> u64 {
        micros(clock).max(last.max(self.latest.moment).saturating_add(1))
    }

    /// Adds a revocation of this moment, at this time by the store's clock. [`Revoke::These`] adds nothing.
    pub fn add(&mut self, revocation: &Revocation, moment: u64, clock: SystemTime) {
        if !revocation.leaves_mark() {
            return;
        }
        // A program that asks the store itself gives no name. Without randomness the mark has none.
        let id = if revocation.id == 0 { crate::random::number().unwrap_or_default() } else { revocation.id };
        let spared = if let Revoke::Others(handle) = revocation.which {
            // Earlier revocations still count for the spared session.
            let before = self.threshold(handle);
            if self.id != 0 && id != 0 {
                known::pass_on((self.id, before.moment), before == self.latest, id);
            }
            Some((handle, before))
        } else {
            None
        };
        *self = Self { latest: Threshold { moment, at: micros(clock) }, id, spared };
    }

    /// Returns whether the mark refuses this record: its owner's sessions were revoked after its sign-in began.
    ///
    /// `clock` is the store's clock, read together with the mark or later; the Unix epoch if the store has none.
    pub fn refuses(&self, record: &Record, clock: SystemTime) -> bool {
        let threshold = self.threshold(record.handle);
        if threshold == Threshold::default() || record.sign_in > 0 {
            return self.ends(record.handle, record.sign_in);
        }
        let Some(began) = record.began.get() else { return true };
        if began.is_elsewhere {
            return false;
        }
        // Read after the store's clock, so that the way of the answer makes no sign-in look younger.
        // Both are cut to microseconds.
        let is_older = span(began.elapsed()) + 2 < micros(clock).saturating_sub(threshold.at);
        let (is_named, is_latest) = (self.id != 0, threshold == self.latest);
        if is_older || is_named && known::is_known(self.id, threshold.moment, is_latest, began.at) {
            return false;
        }
        if is_named {
            known::note_seen(self.id, threshold.moment);
        }
        true
    }

    /// Returns whether the mark refuses the session of this handle, which signed in at this moment.
    pub(crate) fn ends(&self, handle: SessionHandle, sign_in: u64) -> bool {
        let threshold = self.threshold(handle);
        threshold != Threshold::default() && sign_in <= threshold.moment
    }

    /// Returns the moment of the latest revocation.
    pub fn moment(&self) -> u64 {
        self.latest.moment
    }

    /// Returns whether a store may remove the mark, by its own clock.
    pub fn is_expired(&self, clock: SystemTime) -> bool {
        self.deadline() <= clock
    }

    /// Returns the time by the store's clock from which on the store may remove the mark.
    pub fn deadline(&self) -> SystemTime {
        time(self.latest.at.saturating_add(span(Self::LIFETIME)))
    }

    /// Writes the mark as bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let (handle, before) = self.spared.unwrap_or((SessionHandle::NONE, Threshold::default()));
        let mut out = [0; Self::LEN];
        let (numbers, rest) = out.split_at_mut(24);
        for (field, number) in numbers.chunks_exact_mut(8).zip([self.latest.moment, self.latest.at, self.id]) {
            field.copy_from_slice(&number.to_be_bytes());
        }
        rest[..16].copy_from_slice(handle.as_bytes());
        rest[16..24].copy_from_slice(&before.moment.to_be_bytes());
        rest[24..].copy_from_slice(&before.at.to_be_bytes());
        out
    }

    /// Reads the bytes that [`encode`](Self::encode) wrote. Returns `None` for bytes of another length.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let ([moment, at, id, h1, h2, before_moment, before_at], []) = bytes.as_chunks::<8>() else { return None };
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        let mut handle = [0; 16];
        handle[..8].copy_from_slice(h1);
        handle[8..].copy_from_slice(h2);
        let handle = SessionHandle::from_bytes(handle);
        let before = Threshold { moment: number(before_moment), at: number(before_at) };
        Some(Self {
            latest: Threshold { moment: number(moment), at: number(at) },
            id: number(id),
            spared: (handle != SessionHandle::NONE).then_some((handle, before)),
        })
    }

    fn threshold(&self, handle: SessionHandle) -> Threshold {
        match self.spared {
            Some((spared, before)) if spared == handle => before,
            _ => self.latest,
        }
    }
}
