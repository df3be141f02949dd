//! The note in the record of a session that is being moved from one store to another.

use std::time::SystemTime;

use super::{Extensions, Record, TOMBSTONE, Tombstone, TombstoneKind, Values, Version};
use crate::token::StoreKey;

/// A part of a session that is being moved. Only `MovingStore` tells whether it is the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moving {
    /// The copy in the store to which the session moves. It becomes the session when the other store, which has the session
    /// at this version and moment, gives it up.
    Copy { version: Version, sign_in: u64 },
    /// The rest of a session that has been given up in favour of the copy at the same version.
    Gone,
}

/// The id of the extension that holds the note. A reader has to know it.
pub(super) const ID: u128 = 0;
/// The first byte of the entry: the id, and that a reader has to know it.
const TAG: u8 = 1;

impl Moving {
    /// Reads the bytes of the extension.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.as_chunks::<8>() {
            ([], []) => Some(Self::Gone),
            ([version, sign_in], []) => {
                let version = Version::new(u64::from_be_bytes(*version))?;
                Some(Self::Copy { version, sign_in: u64::from_be_bytes(*sign_in) })
            }
            _ => None,
        }
    }
}

impl Extensions {
    fn moving(&self) -> Option<(Moving, &[u8])> {
        let (len, rest) = self.bytes().strip_prefix(&[TAG])?.split_first()?;
        let (note, rest) = rest.split_at_checked(usize::from(*len))?;
        Some((Moving::decode(note)?, rest))
    }

    /// Returns the extensions with this note, or without one. It comes first, since its id is the lowest.
    fn with_moving(&self, note: Option<Moving>) -> Self {
        let others = self.moving().map_or(self.bytes(), |(_, others)| others);
        let note = match note {
            Some(Moving::Copy { version, sign_in }) => {
                [&[TAG, 16][..], &version.get().to_be_bytes(), &sign_in.to_be_bytes()].concat()
            }
            Some(Moving::Gone) => vec![TAG, 0],
            None => Vec::new(),
        };
        let bytes = [&note, others].concat();
        Self((!bytes.is_empty()).then(|| bytes.into()))
    }
}

impl Tombstone {
    /// Returns the tombstone of a session that was given up in favour of the copy at this version, where there is no room
    /// for its rest.
    pub(crate) fn given_up_for(copy: Version, now: SystemTime) -> Self {
        Self::new(TombstoneKind::Renewed, TOMBSTONE, now).with_successor(name(copy))
    }

    /// Returns whether the session was given up in favour of a copy.
    pub(crate) fn is_given_up(&self) -> bool {
        self.successor().is_some_and(|key| key.as_bytes().starts_with(&NO_DIGEST))
    }

    /// Returns whether the session was given up in favour of the copy at this version.
    pub(crate) fn names(&self, copy: Version) -> bool {
        self.successor() == Some(&name(copy))
    }
}

/// The start of a key that is no digest of a token, but names a copy by its version.
const NO_DIGEST: [u8; 24] = [0; 24];

fn name(copy: Version) -> StoreKey {
    let mut key = [0; 32];
    key[NO_DIGEST.len()..].copy_from_slice(&copy.get().to_be_bytes());
    StoreKey::from_bytes(key)
}

impl Record {
    /// Returns the note of a session that is being moved; `None` for a session.
    #[inline]
    pub(crate) fn moving(&self) -> Option<Moving> {
        // Every load asks, and hardly any session has an extension.
        if self.extensions.0.is_none() { None } else { self.extensions.moving().map(|(note, _)| note) }
    }

    /// Returns whether this is the rest of the session that was given up in favour of the copy.
    pub(crate) fn is_rest_for(&self, copy: &Self) -> bool {
        self.moving() == Some(Moving::Gone) && self.version == copy.version
    }

    /// Returns the copy of the session under a version of its own.
    pub(crate) fn copy_at(&self, version: Version) -> Self {
        let note = Moving::Copy { version: self.version, sign_in: self.sign_in };
        Self { version, extensions: self.extensions.with_moving(Some(note)), ..self.clone() }
    }

    /// Returns the session whose copy this record is.
    pub(crate) fn settled(&self, version: Version) -> Self {
        Self { version, extensions: self.extensions.with_moving(None), ..self.clone() }
    }

    /// Returns the rest of the session that is left where it was given up in favour of this copy. Nobody has seen it, and
    /// so a list shows it for what it is.
    pub(crate) fn rest(&self, sign_in: u64) -> Self {
        Self {
            sign_in,
            seen: 0,
            csrf: Default::default(),
            csrf_handed_out: false,
            flash: Values::default(),
            values: Values::default(),
            extensions: Extensions::default().with_moving(Some(Moving::Gone)),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(extensions: &[u8]) -> Record {
        let extensions = Extensions::read(extensions).unwrap_or_default();
        Record { version: Version::new(7).unwrap(), sign_in: 9, extensions, ..Record::blank() }
    }

    #[test]
    fn the_notes_are_pinned_and_leave_other_extensions_alone() {
        let at = Version::new(0x0102).unwrap();
        for others in [&[][..], &[2, 1, 9, 4, 0]] {
            let session = record(others);
            let copy = session.copy_at(at);
            let note = [&[1, 16, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9], others].concat();
            assert_eq!((copy.version, copy.extensions.bytes()), (at, &note[..]));
            assert_eq!(copy.moving(), Some(Moving::Copy { version: session.version, sign_in: 9 }));
            assert_eq!(copy.settled(session.version), session);
            assert_eq!(Record::decode(copy.head(), &copy.encode()).as_ref(), Ok(&copy));
            let rest = copy.rest(9);
            assert_eq!((rest.extensions.bytes(), rest.moving()), (&[1, 0][..], Some(Moving::Gone)));
            assert!(rest.is_rest_for(&copy) && !rest.is_rest_for(&session) && !copy.is_rest_for(&copy));
            assert_eq!(Record::decode(rest.head(), &rest.encode()), Ok(rest));
            let stone = Tombstone::given_up_for(at, SystemTime::UNIX_EPOCH);
            assert!(stone.is_given_up() && stone.names(at) && !stone.names(session.version));
            assert_eq!(Tombstone::decode(stone.until(), &stone.encode()), Ok(stone));
        }
        for strange in [&[1, 8, 0, 0, 0, 0, 0, 0, 0, 7][..], &[1, 1, 0], &[&[1, 16][..], &[0; 16]].concat()] {
            assert!(Extensions::read(strange).is_err(), "{strange:?}");
        }
        assert_eq!(record(&[2, 1, 9]).moving(), None);
    }
}
