//! The store's directory, its 512 shards, and the names in them.
//!
//! A directory may be moved away or unmounted under a running program. Its sessions are then out of reach and have not
//! ended, so each call opens the directory anew and fails unless it is the one that the store was built on. The
//! directory is never made again.

use std::fs::DirBuilder;
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::dir::{Dir, Durability, Locked, Lookup, Place};
use super::guard;
use crate::random::Random;
use crate::token::StoreKey;

const PROBE: &str = ".tower-session-layer-probe";
/// The file of 16 random bytes that goes with the directory wherever it is moved or copied.
const MARKER: &str = ".tower-session-layer";

/// The store's directory.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) base: PathBuf,
    pub(super) durability: Durability,
    place: Place,
    marker: [u8; 16],
}

/// The directory of the sessions, or of the owners, whose digest begins with this byte.
#[derive(Debug, Clone, Copy)]
pub(super) enum ShardDir {
    Sessions(u8),
    Owners(u8),
}

impl ShardDir {
    pub(super) const OWNERS: &str = "owners";

    /// Returns the shard of a session.
    pub(super) fn of(key: &StoreKey) -> Self {
        Self::Sessions(key.as_bytes()[0])
    }

    /// Lists the 512 shards, those of sessions first, in the order of [`index`](Self::index).
    pub(super) fn all() -> impl Iterator<Item = Self> + Clone {
        (0..=u8::MAX).map(Self::Sessions).chain((0..=u8::MAX).map(Self::Owners))
    }

    /// Returns the path of the shard in the store's directory.
    pub(super) fn path(self) -> PathBuf {
        match self {
            Self::Sessions(byte) => hex(byte).into(),
            Self::Owners(byte) => Path::new(Self::OWNERS).join(hex(byte)),
        }
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::Sessions(byte) => byte.into(),
            Self::Owners(byte) => 256 + usize::from(byte),
        }
    }
}

impl Tree {
    /// Opens the store's directory, which is made if need be, and tries whether it can be written and locked, and by
    /// this user alone.
    pub(super) fn open(path: &Path, durability: Durability) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let base = path.canonicalize()?;
        guard::check(&base)?;
        let dir = Dir::open(&base, durability)?.ok_or(io::ErrorKind::NotFound)?;
        dir.probe(PROBE)?;
        let place = dir.place();
        // Of several processes that open a new directory at once, one makes the marker.
        let marker = marker_in(&dir.lock()?)?;
        Ok(Self { base, durability, place, marker })
    }

    /// Opens a shard and returns `None` if there is none yet.
    pub(super) fn find(&self, shard: ShardDir) -> io::Result<Option<Dir>> {
        let base = self.base()?;
        match shard {
            ShardDir::Sessions(byte) => base.sub(&hex(byte)),
            ShardDir::Owners(byte) => base.sub(ShardDir::OWNERS)?.map_or(Ok(None), |owners| owners.sub(&hex(byte))),
        }
    }

    /// Takes the lock of a shard, which is made if need be, and returns `None` if the lock is taken.
    pub(super) fn lock(&self, shard: ShardDir) -> io::Result<Option<Locked<'static>>> {
        let base = self.base()?;
        match shard {
            ShardDir::Sessions(byte) => base.make(&hex(byte))?.try_lock(),
            ShardDir::Owners(byte) => base.make(ShardDir::OWNERS)?.make(&hex(byte))?.try_lock(),
        }
    }

    /// Opens the store's directory.
    ///
    /// The marker is read only where the place is another: while the directory exists, no other has its place.
    fn base(&self) -> io::Result<Dir> {
        let path = self.base.display();
        let Some(base) = Dir::open(&self.base, self.durability)? else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("the directory of the sessions, {path}, is gone"),
            ));
        };
        if base.place() != self.place && read_marker(&base)? != Some(self.marker) {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "{path} is not the directory of the sessions any more: put that one back, or restart the program to \
                     begin with this one"
                ),
            ));
        }
        Ok(base)
    }
}

/// Returns the marker of a directory, which is made if need be.
fn marker_in(base: &Locked<'_>) -> io::Result<[u8; 16]> {
    if let Some(marker) = read_marker(base)? {
        return Ok(marker);
    }
    let marker = Random::default().bytes().map_err(io::Error::other)?;
    base.replace(MARKER, &marker)?;
    Ok(marker)
}

fn read_marker(base: &Dir) -> io::Result<Option<[u8; 16]>> {
    let Lookup::File(mut file) = base.file(MARKER)? else { return Ok(None) };
    let mut marker = [0; 16];
    match file.read_exact(&mut marker) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| Some(marker)),
    }
}

fn hex(byte: u8) -> String {
    format!("{byte:02x}")
}

/// Returns the name of a digest in its shard: 62 hex digits, all but those of the first byte.
pub(super) fn name(digest: &StoreKey) -> String {
    digest.hex().split_off(2)
}

/// Reads what [`name`] wrote in a shard, and returns `None` for any other name.
pub(super) fn parse_name(shard: u8, name: &str) -> Option<StoreKey> {
    parse_hex(&(hex(shard) + name))
}

/// Reads 64 lower-case hex digits, the only form in which the store writes a digest.
pub(super) fn parse_hex(digits: &str) -> Option<StoreKey> {
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    let digest = StoreKey::from_bytes(bytes);
    // Excludes signs, capitals and further digits.
    (digest.hex() == digits).then_some(digest)
}
