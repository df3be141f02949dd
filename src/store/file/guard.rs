//! The check that no other user can write to the store's directories and files: a planted record would be a signed-in
//! session. It is the check of ssh on its files.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fmt, io};

use super::tree::ShardDir;

const ROOT: u32 = 0;
const STICKY: u32 = 0o1000;
/// Write permission of the group and of everybody.
const OTHERS_WRITE: u32 = 0o022;

/// The reason why another user can write to a directory or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It belongs to this user.
    Owner(u32),
    /// Its mode lets others write.
    Mode(u32),
}

impl Fault {
    pub(super) fn of(found: &Metadata) -> Option<Self> {
        Self::judge(found.uid(), found.mode(), rustix::process::geteuid().as_raw())
    }

    fn judge(owner: u32, mode: u32, user: u32) -> Option<Self> {
        match () {
            () if owner != user && owner != ROOT => Some(Self::Owner(owner)),
            () if mode & OTHERS_WRITE != 0 => Some(Self::Mode(mode & 0o7777)),
            () => None,
        }
    }

    /// Judges a directory above the store's. In a sticky one, such as `/tmp`, nobody replaces what is another user's.
    fn judge_above(owner: u32, mode: u32, user: u32) -> Option<Self> {
        let mode = if mode & STICKY == 0 { mode } else { mode & !OTHERS_WRITE };
        Self::judge(owner, mode, user)
    }

    pub(super) fn at(self, path: &Path) -> io::Error {
        io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {self}", path.display()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(owner) => write!(
                f,
                "belongs to the user {owner}, who could plant sessions: give it to this program's user with `chown`, or \
                 name a directory of your own"
            ),
            Self::Mode(mode) => write!(
                f,
                "has mode {mode:04o}, so that other users could plant sessions: run `chmod go-w` on it, or name a \
                 directory of your own"
            ),
        }
    }
}

/// Checks the store's directory, those above it up to the root, and the shards in it.
///
/// The path must not lead through symbolic links.
pub(super) fn check(base: &Path) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    for above in base.ancestors().skip(1) {
        let found = above.metadata()?;
        if let Some(fault) = Fault::judge_above(found.uid(), found.mode(), user) {
            return Err(fault.at(above));
        }
    }
    let inside = ShardDir::all().map(|shard| base.join(shard.path()));
    for path in [base.to_owned(), base.join(ShardDir::OWNERS)].into_iter().chain(inside) {
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => {
                if let Some(fault) = Some(found?).filter(Metadata::is_dir).as_ref().and_then(Fault::of) {
                    return Err(fault.at(&path));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_but_the_user_and_root_may_write() {
        const ME: u32 = 1_000;
        for (owner, mode, fault) in [
            (ME, 0o040_700, None),
            (ME, 0o040_755, None),
            (ROOT, 0o040_755, None),
            (ME, 0o100_600, None),
            (ME, 0o040_775, Some(Fault::Mode(0o775))),
            (ME, 0o040_702, Some(Fault::Mode(0o702))),
            (ROOT, 0o041_777, Some(Fault::Mode(0o1777))),
            (1_001, 0o040_700, Some(Fault::Owner(1_001))),
            (1_001, 0o100_644, Some(Fault::Owner(1_001))),
        ] {
            assert_eq!(Fault::judge(owner, mode, ME), fault, "{owner} {mode:o}");
        }
        assert_eq!(Fault::judge(ME, 0o040_700, ROOT), Some(Fault::Owner(ME)), "root trusts itself alone");
        assert_eq!(Fault::judge_above(ROOT, 0o041_777, ME), None);
        assert_eq!(Fault::judge_above(ROOT, 0o040_777, ME), Some(Fault::Mode(0o777)));
        assert_eq!(Fault::judge_above(1_001, 0o041_777, ME), Some(Fault::Owner(1_001)));
    }
}
