//! The store's directory, its 512 shards, and the names in them.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::dir::{Dir, Durability, Locked};
use super::guard;
use crate::token::StoreKey;

const PROBE: &str = ".tower-session-layer-probe";

/// The store's directory.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) base: PathBuf,
    pub(super) durability: Durability,
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
        make_path(path)?;
        let tree = Self { base: path.canonicalize()?, durability };
        guard::check(&tree.base)?;
        let base = tree.make_base()?;
        base.probe(PROBE)?;
        // A lock that another process has shows that locks work.
        base.try_lock()?;
        Ok(tree)
    }

    /// Opens a shard and returns `None` if there is none yet.
    pub(super) fn find(&self, shard: ShardDir) -> io::Result<Option<Dir>> {
        let Some(base) = Dir::open(&self.base, self.durability)? else { return Ok(None) };
        match shard {
            ShardDir::Sessions(byte) => base.sub(&hex(byte)),
            ShardDir::Owners(byte) => base.sub(ShardDir::OWNERS)?.map_or(Ok(None), |owners| owners.sub(&hex(byte))),
        }
    }

    /// Takes the lock of a shard, which is made if need be, and returns `None` if the lock is taken.
    pub(super) fn lock(&self, shard: ShardDir) -> io::Result<Option<Locked<'static>>> {
        let base = self.make_base()?;
        match shard {
            ShardDir::Sessions(byte) => base.make(&hex(byte))?.try_lock(),
            ShardDir::Owners(byte) => base.make(ShardDir::OWNERS)?.make(&hex(byte))?.try_lock(),
        }
    }

    /// Opens the store's directory, which may have been removed under a running program.
    fn make_base(&self) -> io::Result<Dir> {
        if let Some(base) = Dir::open(&self.base, self.durability)? {
            return Ok(base);
        }
        make_path(&self.base)?;
        Ok(Dir::open(&self.base, self.durability)?.ok_or(io::ErrorKind::NotFound)?)
    }
}

fn make_path(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
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
