//! The bytes of an owner's entry: the owner's revocation mark and list of sessions, pinned by a test.
//!
//! | bytes | contents |
//! |---|---|
//! | 0..8 | `owners`, a zero, and the format's number, 2 |
//! | 8..16 | the start of the SHA-256 of the owner's digest and all bytes from 16 on |
//! | 16..72 | the mark |
//! | then, for each session, 64 | its `StoreKey`, its handle, a time that its deadline is not after, and the moment of its sign-in |
//!
//! Numbers are big-endian, times in microseconds since the Unix epoch.

use std::time::{Duration, SystemTime};

use crate::clock::{micros, span, time};
use crate::record::{Record, SessionHandle};
use crate::store::RevocationMark;
use crate::store::format::digest;
use crate::token::StoreKey;

const MAGIC: [u8; 8] = *b"owners\0\x02";
const MARK_LEN: usize = RevocationMark::LEN;
const SESSION_LEN: usize = 32 + 16 + 8 + 8;

/// The time that a session stays in the list after its deadline: where a clock steps back, it outlives its deadline.
const SLACK: Duration = Duration::from_secs(24 * 60 * 60);
/// The time for which a session stays in the list while its record may not be written yet.
const ARRIVAL: Duration = Duration::from_secs(60 * 60);

/// The times of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// The time by the clock of the map, which orders sign-ins and revocations; the Unix epoch if it has none.
    pub(super) order: SystemTime,
    /// The same, or the layer's time where the map has no clock: it tells what is long past, and orders nothing.
    pub(super) age: SystemTime,
}

/// The mark and the sessions of an owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct OwnerList {
    pub(super) mark: RevocationMark,
    pub(super) sessions: Vec<ListedSession>,
}

/// A session that an owner has, or had.
///
/// The handle tells a session from a later one under the same key, whose entry must not be removed with its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListedSession {
    pub(super) key: StoreKey,
    pub(super) handle: SessionHandle,
    /// The record's deadline or later, in microseconds.
    pub(super) until: u64,
    /// The moment of the sign-in.
    pub(super) sign_in: u64,
}

impl ListedSession {
    pub(super) fn new(key: &StoreKey, record: &Record) -> Self {
        Self { key: *key, handle: record.handle(), until: micros(record.deadline()), sign_in: record.sign_in() }
    }

    /// Returns whether the record may still be on its way: for an hour, or until its deadline where the map has no clock.
    pub(super) fn may_arrive(&self, times: Times) -> bool {
        let arrived = self.sign_in.saturating_add(span(ARRIVAL));
        micros(times.age) < if times.order == times.age { arrived } else { self.until }
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.key, self.handle) == (other.key, other.handle)
    }
}

impl OwnerList {
    /// Returns the moment of the owner's next sign-in or revocation.
    pub(super) fn next_moment(&self, times: Times) -> u64 {
        let latest = self.sessions.iter().map(|session| session.sign_in).max();
        self.mark.next_moment(latest.unwrap_or_default(), times.order)
    }

    /// Returns whether the owner's mark refuses a record.
    pub(super) fn refuses(&self, record: &Record, times: Times) -> bool {
        // No layer's clock tells what expired.
        let is_expired = times.order == times.age && self.mark.is_expired(times.age);
        !is_expired && self.mark.refuses(record, times.order)
    }

    /// Returns the moment that this session was given, if it was listed before.
    pub(super) fn moment_of(&self, session: &ListedSession) -> Option<u64> {
        self.sessions.iter().find(|standing| standing.is_same(session)).map(|standing| standing.sign_in)
    }

    /// Lists a session until its deadline at least. Returns whether that changes anything.
    pub(super) fn enter(&mut self, session: ListedSession) -> bool {
        match self.sessions.iter_mut().find(|standing| standing.is_same(&session)) {
            Some(standing) if standing.until >= session.until => return false,
            Some(standing) => standing.until = session.until,
            None => self.sessions.push(session),
        }
        true
    }

    /// Returns the sessions that ended long ago by this clock. Another clock may differ, so each is read before it is
    /// removed.
    pub(super) fn long_ended(&self, now: SystemTime) -> impl Iterator<Item = ListedSession> {
        let is_over = move |session: &ListedSession| session.until.saturating_add(span(SLACK)) <= micros(now);
        self.sessions.iter().copied().filter(is_over)
    }

    /// Removes sessions. Returns whether that changes anything.
    pub(super) fn strike(&mut self, ended: &[ListedSession]) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|session| !ended.iter().any(|ended| ended.is_same(session)));
        self.sessions.len() < before
    }

    /// Returns when the mark and all sessions have ended. A listed session may live by another clock than this one.
    pub(super) fn expires(&self, now: SystemTime) -> SystemTime {
        let ends = self.sessions.iter().map(|session| session.until.max(micros(now)).saturating_add(span(SLACK)));
        // By the layer's clock, which the map removes entries by, whatever the clock is that the mark goes by. A layer
        // whose clock is behind must not shorten it.
        let lifetime = micros(now).saturating_add(span(RevocationMark::LIFETIME)).max(micros(self.mark.deadline()));
        let mark = if self.mark == RevocationMark::default() { 0 } else { lifetime };
        time(ends.max().unwrap_or(0).max(mark))
    }

    pub(super) fn encode(&self, owner: &StoreKey) -> Vec<u8> {
        let mut rest = Vec::with_capacity(MARK_LEN + SESSION_LEN * self.sessions.len());
        rest.extend_from_slice(&self.mark.encode());
        for ListedSession { key, handle, until, sign_in } in &self.sessions {
            rest.extend_from_slice(key.as_bytes());
            rest.extend_from_slice(handle.as_bytes());
            rest.extend_from_slice(&until.to_be_bytes());
            rest.extend_from_slice(&sign_in.to_be_bytes());
        }
        [&MAGIC[..], &digest(&[owner.as_bytes(), &rest]), &rest].concat()
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything that is not exactly the list of this owner.
    pub(super) fn decode(owner: &StoreKey, bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (expected, rest) = rest.split_first_chunk()?;
        if *magic != MAGIC || *expected != digest(&[owner.as_bytes(), rest]) {
            return None;
        }
        let (mark, rest) = rest.split_first_chunk::<MARK_LEN>()?;
        let (sessions, []) = rest.as_chunks::<SESSION_LEN>() else { return None };
        let session = |bytes: &[u8; SESSION_LEN]| {
            let (key, rest) = bytes.split_first_chunk()?;
            let (handle, rest) = rest.split_first_chunk()?;
            let (until, sign_in) = rest.split_first_chunk()?;
            let [until, sign_in] = [*until, sign_in.try_into().ok()?].map(u64::from_be_bytes);
            let (key, handle) = (StoreKey::from_bytes(*key), SessionHandle::from_bytes(*handle));
            Some(ListedSession { key, handle, until, sign_in })
        };
        let sessions = sessions.iter().map(session).collect::<Option<_>>()?;
        Some(Self { mark: RevocationMark::decode(mark)?, sessions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Revocation, Revoke};

    fn owner() -> StoreKey {
        StoreKey::from_bytes([7; 32])
    }

    fn session(byte: u8, until: u64) -> ListedSession {
        ListedSession {
            key: StoreKey::from_bytes([byte; 32]),
            handle: SessionHandle::from_bytes([byte + 1; 16]),
            until,
            sign_in: 7,
        }
    }

    fn sample() -> OwnerList {
        let mut mark = RevocationMark::default();
        let others = Revoke::Others(SessionHandle::from_bytes([9; 16]));
        mark.add(&Revocation::new(others, Duration::ZERO).named(1), 6, time(5));
        OwnerList { mark, sessions: vec![session(1, 0x0102), session(3, 0x03)] }
    }

    #[test]
    fn the_format_is_pinned() {
        let mut golden = b"owners\0\x02".to_vec();
        golden.extend([250, 121, 59, 183, 82, 8, 50, 189]);
        golden.extend(sample().mark.encode());
        golden.extend([[1; 32].as_slice(), &[2; 16], &[0, 0, 0, 0, 0, 0, 1, 2], &[0, 0, 0, 0, 0, 0, 0, 7]].concat());
        golden.extend([[3; 32].as_slice(), &[4; 16], &[0, 0, 0, 0, 0, 0, 0, 3], &[0, 0, 0, 0, 0, 0, 0, 7]].concat());
        assert_eq!(sample().encode(&owner()), golden);
        assert_eq!(OwnerList::decode(&owner(), &golden), Some(sample()));
        assert_eq!(OwnerList::decode(&owner(), &OwnerList::default().encode(&owner())), Some(OwnerList::default()));
    }

    #[test]
    fn what_is_not_exactly_the_list_of_this_owner_is_none() {
        let whole = sample().encode(&owner());
        for at in 0..whole.len() {
            assert_eq!(OwnerList::decode(&owner(), &whole[..at]), None, "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert_eq!(OwnerList::decode(&owner(), &flipped), None, "flipped at {at}");
        }
        assert_eq!(OwnerList::decode(&owner(), &[&whole[..], b"x"].concat()), None);
        assert_eq!(OwnerList::decode(&StoreKey::from_bytes([8; 32]), &whole), None, "another owner's");
    }

    #[test]
    fn a_session_is_listed_until_its_deadline_and_a_day() {
        let day = span(SLACK);
        let mut list = OwnerList::default();
        assert_eq!(list.expires(time(5)), time(0));
        assert!(list.enter(session(1, 10)) && list.enter(session(2, 20)));
        assert!(!list.enter(session(1, 10)), "it is listed already");
        assert!(!list.enter(session(1, 9)), "its time never moves back");
        assert_eq!(list.expires(time(5)), time(day + 20));
        assert_eq!(list.expires(time(25)), time(day + 25), "a clock by which nobody lives");
        assert!(list.enter(session(1, 30)), "a deadline that has moved");
        assert_eq!(list.sessions, [session(1, 30), session(2, 20)]);
        assert_eq!(list.long_ended(time(day + 19)).next(), None);
        assert_eq!(list.long_ended(time(day + 20)).collect::<Vec<_>>(), [session(2, 20)]);
        let other = ListedSession { handle: SessionHandle::from_bytes([99; 16]), ..session(2, 20) };
        assert!(!list.strike(&[other]), "another session under this key");
        assert!(list.strike(&[other, session(2, 0)]));
        assert_eq!(list.sessions, [session(1, 30)]);
        list.mark = sample().mark;
        assert_eq!(list.expires(time(5)), time(day + 30));
        assert!(list.strike(&[session(1, 30)]));
        assert_eq!(list.expires(time(5)), list.mark.deadline());
    }
}
