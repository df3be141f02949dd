//! The file of an owner's mark.
//!
//! It holds the 56 bytes of the [`RevocationMark`] and the time at which the tombstones of the latest revocation end, in
//! microseconds since the Unix epoch, big-endian.

use std::io::{self, Read as _};
use std::time::{Duration, SystemTime};

use super::dir::{Dir, Lookup};
use super::owners::Entry;
use crate::clock::{micros, time};
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::store::{Revocation, RevocationMark};

const LEN: usize = RevocationMark::LEN + 8;

/// An owner's mark.
///
/// Beyond what a mark does in every store, it ends sessions: one whose sign-in it refuses has ended, although its record
/// still stands in its file. So a revocation takes effect at once, however many sessions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct OwnerMark {
    pub(super) mark: RevocationMark,
    /// The end of the latest revocation's tombstones, in microseconds.
    until: u64,
}

impl OwnerMark {
    /// Reads a mark; an empty one if there is no readable one.
    ///
    /// Only a power loss tears a mark, where nothing was synced.
    pub(super) fn read(dir: &Dir, name: &str) -> io::Result<Self> {
        // A mark only ends sessions, so one that another user can write to counts as well.
        let (Lookup::File(file) | Lookup::Shared(file)) = dir.file(name)? else { return Ok(Self::default()) };
        let mut bytes = Vec::new();
        // One byte more than a mark has, so that a longer file is refused.
        file.take(LEN as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Self::decode(&bytes).unwrap_or_default())
    }

    /// Adds a revocation of this moment.
    pub(super) fn add(&mut self, revocation: &Revocation, moment: u64, clock: SystemTime, now: SystemTime) {
        self.mark.add(revocation, moment, clock);
        self.until = micros(revocation.tombstone(now).until());
    }

    /// Returns the tombstone of a session that the mark has ended.
    pub(super) fn end_of(&self, record: &Record) -> Option<Tombstone> {
        self.mark.ends(record.handle(), record.sign_in()).then(|| self.tombstone())
    }

    /// Returns whether the mark has ended a listed session.
    pub(super) fn ends(&self, entry: &Entry) -> bool {
        self.mark.ends(entry.handle, entry.sign_in)
    }

    /// Returns the tombstone of each session that the mark has ended.
    pub(super) fn tombstone(&self) -> Tombstone {
        Tombstone::new(TombstoneKind::Revoked, Duration::ZERO, time(self.until))
    }

    pub(super) fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..RevocationMark::LEN].copy_from_slice(&self.mark.encode());
        out[RevocationMark::LEN..].copy_from_slice(&self.until.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (mark, until) = bytes.split_last_chunk()?;
        Some(Self { mark: RevocationMark::decode(mark)?, until: u64::from_be_bytes(*until) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Revoke;

    #[test]
    fn the_format_is_pinned() {
        let mut mark = OwnerMark::default();
        mark.add(&Revocation::new(Revoke::All, Duration::from_micros(3)), 1, time(2), time(4));
        let golden = [&mark.mark.encode()[..], &[0, 0, 0, 0, 0, 0, 0, 7]].concat();
        assert_eq!((mark.encode().to_vec(), golden.len()), (golden.clone(), 64));
        assert_eq!(OwnerMark::decode(&golden), Some(mark));
        for torn in [&golden[..0], &golden[..63], &[&golden[..], b"x"].concat()] {
            assert_eq!(OwnerMark::decode(torn), None, "{torn:?}");
        }
    }
}
