//! What stands under an owner's key: the owner's revocation mark and list of sessions, pinned by a test.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `owners`, a zero, and the format's number, 1 |
//! | 8..16 | the start of the SHA-256 of the owner's digest and all bytes from 16 on |
//! | 16..48 | the mark |
//! | then, for each session, 56 | its `StoreKey`, its handle, and a time that its deadline is not after |
//!
//! Numbers are big-endian, times in microseconds since the Unix epoch.

use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::clock::{micros, span, time};
use crate::record::{Record, SessionHandle};
use crate::store::RevocationMark;
use crate::token::StoreKey;

const MAGIC: [u8; 8] = *b"owners\0\x01";
const DIGEST_LEN: usize = 8;
const MARK_LEN: usize = 32;
pub(super) const ENTRY_LEN: usize = 32 + 16 + 8;

/// For so long after its deadline an entry stays, for clocks that step back: then a session outlasts what was foreseen.
const SLACK: Duration = Duration::from_secs(24 * 60 * 60);

/// The mark and the sessions of an owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct List {
    pub(super) mark: RevocationMark,
    pub(super) entries: Vec<Entry>,
}

/// A session that an owner has, or had.
///
/// The handle tells a session from one that stands under its key later, whose entry must not be struck with its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) key: StoreKey,
    pub(super) handle: SessionHandle,
    /// The record's deadline or later, in microseconds.
    pub(super) until: u64,
}

impl Entry {
    pub(super) fn of(key: &StoreKey, record: &Record) -> Self {
        Self { key: *key, handle: record.handle(), until: micros(record.deadline()) }
    }

    /// Whether both are of one session.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.key, self.handle) == (other.key, other.handle)
    }

    fn is_over(&self, now: SystemTime) -> bool {
        self.until.saturating_add(span(SLACK)) <= micros(now)
    }
}

impl List {
    /// Sees to it that a session is listed until its deadline at least; whether that changes anything.
    pub(super) fn enter(&mut self, entry: Entry) -> bool {
        match self.entries.iter_mut().find(|standing| standing.is(&entry)) {
            Some(standing) if standing.until >= entry.until => return false,
            Some(standing) => standing.until = entry.until,
            None => self.entries.push(entry),
        }
        true
    }

    /// Returns what ended long ago by this clock. Another's may differ, so each is looked at before it is struck.
    pub(super) fn over(&self, now: SystemTime) -> impl Iterator<Item = Entry> {
        self.entries.iter().copied().filter(move |entry| entry.is_over(now))
    }

    /// Removes sessions; whether that changes anything.
    pub(super) fn strike(&mut self, ended: &[Entry]) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !ended.iter().any(|ended| ended.is(entry)));
        self.entries.len() < before
    }

    /// When all of it has ended. Whoever is listed may live by another clock than this one.
    pub(super) fn expires(&self, now: SystemTime) -> SystemTime {
        let last = self.entries.iter().map(|entry| entry.until.max(micros(now)).saturating_add(span(SLACK))).max();
        let mark = if self.mark == RevocationMark::default() { 0 } else { micros(self.mark.deadline()) };
        time(last.unwrap_or(0).max(mark))
    }

    pub(super) fn encode(&self, owner: &StoreKey) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + DIGEST_LEN + MARK_LEN + ENTRY_LEN * self.entries.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; DIGEST_LEN]);
        out.extend_from_slice(&self.mark.encode());
        for entry in &self.entries {
            out.extend_from_slice(entry.key.as_bytes());
            out.extend_from_slice(entry.handle.as_bytes());
            out.extend_from_slice(&entry.until.to_be_bytes());
        }
        let (front, rest) = out.split_at_mut(MAGIC.len() + DIGEST_LEN);
        front[MAGIC.len()..].copy_from_slice(&digest(owner, rest));
        out
    }

    /// `None` for anything that is not exactly the list of this owner.
    pub(super) fn decode(owner: &StoreKey, bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (seal, rest) = rest.split_first_chunk::<DIGEST_LEN>()?;
        if *magic != MAGIC || *seal != digest(owner, rest) {
            return None;
        }
        let (mark, rest) = rest.split_first_chunk::<MARK_LEN>()?;
        let (entries, []) = rest.as_chunks::<ENTRY_LEN>() else { return None };
        let entry = |bytes: &[u8; ENTRY_LEN]| {
            let (key, rest) = bytes.split_first_chunk()?;
            let (handle, until) = rest.split_first_chunk()?;
            let until = u64::from_be_bytes(until.try_into().ok()?);
            Some(Entry { key: StoreKey::from_bytes(*key), handle: SessionHandle::from_bytes(*handle), until })
        };
        let entries = entries.iter().map(entry).collect::<Option<_>>()?;
        Some(Self { mark: RevocationMark::decode(mark)?, entries })
    }
}

fn digest(owner: &StoreKey, rest: &[u8]) -> [u8; DIGEST_LEN] {
    let hash = Sha256::new().chain_update(owner.as_bytes()).chain_update(rest).finalize();
    std::array::from_fn(|index| hash[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Revocation, Revoke};

    fn owner() -> StoreKey {
        StoreKey::from_bytes([7; 32])
    }

    fn entry(byte: u8, until: u64) -> Entry {
        Entry { key: StoreKey::from_bytes([byte; 32]), handle: SessionHandle::from_bytes([byte + 1; 16]), until }
    }

    fn sample() -> List {
        let mut mark = RevocationMark::default();
        mark.add(&Revocation::new(Revoke::Others(SessionHandle::from_bytes([9; 16])), time(5), Duration::ZERO));
        List { mark, entries: vec![entry(1, 0x0102), entry(3, 0x03)] }
    }

    #[test]
    fn the_format_is_pinned() {
        let mut golden = b"owners\0\x01".to_vec();
        golden.extend([38, 82, 255, 12, 154, 147, 244, 202]);
        golden.extend(sample().mark.encode());
        golden.extend([[1; 32].as_slice(), &[2; 16], &[0, 0, 0, 0, 0, 0, 1, 2]].concat());
        golden.extend([[3; 32].as_slice(), &[4; 16], &[0, 0, 0, 0, 0, 0, 0, 3]].concat());
        assert_eq!(sample().encode(&owner()), golden);
        assert_eq!(List::decode(&owner(), &golden), Some(sample()));
        assert_eq!(List::decode(&owner(), &List::default().encode(&owner())), Some(List::default()));
    }

    #[test]
    fn what_is_not_exactly_the_list_of_this_owner_is_none() {
        let whole = sample().encode(&owner());
        for at in 0..whole.len() {
            assert_eq!(List::decode(&owner(), &whole[..at]), None, "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert_eq!(List::decode(&owner(), &flipped), None, "flipped at {at}");
        }
        assert_eq!(List::decode(&owner(), &[&whole[..], b"x"].concat()), None);
        assert_eq!(List::decode(&StoreKey::from_bytes([8; 32]), &whole), None, "another owner's");
    }

    #[test]
    fn a_session_is_listed_until_its_deadline_and_a_day() {
        let day = span(SLACK);
        let mut list = List::default();
        assert_eq!(list.expires(time(5)), time(0));
        assert!(list.enter(entry(1, 10)) && list.enter(entry(2, 20)));
        assert!(!list.enter(entry(1, 10)), "it is listed already");
        assert!(!list.enter(entry(1, 9)), "its time never moves back");
        assert_eq!(list.expires(time(5)), time(day + 20));
        assert_eq!(list.expires(time(25)), time(day + 25), "a clock by which nobody lives");
        assert!(list.enter(entry(1, 30)), "a deadline that has moved");
        assert_eq!(list.entries, [entry(1, 30), entry(2, 20)]);
        assert_eq!(list.over(time(day + 19)).next(), None);
        assert_eq!(list.over(time(day + 20)).collect::<Vec<_>>(), [entry(2, 20)]);
        let other = Entry { handle: SessionHandle::from_bytes([99; 16]), ..entry(2, 20) };
        assert!(!list.strike(&[other]), "another session under this key");
        assert!(list.strike(&[other, entry(2, 0)]));
        assert_eq!(list.entries, [entry(1, 30)]);
        list.mark = sample().mark;
        assert_eq!(list.expires(time(5)), time(day + 30));
        assert!(list.strike(&[entry(1, 30)]));
        assert_eq!(list.expires(time(5)), list.mark.deadline());
    }
}
