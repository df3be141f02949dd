//! The file of a database.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The file of an SQLite database, which may be moved away or replaced under the connections that have it open.
///
/// SQLite goes on in the file that it has open, whose changes then reach nobody. It would also apply the log of that file
/// to another one of its name, so only the program may open that one, once it has closed its connections.
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// The device and inode of the file; none before it is made, and for a database in memory.
    open: Mutex<Option<(u64, u64)>>,
}

impl DatabaseFile {
    /// Remembers which file is at this path, at which new connections will look for theirs: a relative one begins at the
    /// working directory of that moment.
    pub(super) fn at(path: PathBuf) -> Self {
        let file = Self { path, open: Mutex::default() };
        let _ = file.check();
        file
    }

    /// Returns an error if the path leads to another file than before.
    pub(super) fn check(&self) -> io::Result<()> {
        let found = id(&self.path);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        *open = open.or(found);
        if *open == found {
            return Ok(());
        }
        let path = self.path.display();
        Err(io::Error::other(if found.is_none() {
            format!("`{path}` was moved away or removed while it was open")
        } else {
            format!(
                "`{path}` was replaced while it was open: stop the program, remove `{path}-wal` and `{path}-shm`, which \
                 belong to the old file, and start it again"
            )
        }))
    }
}

#[cfg(unix)]
fn id(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;

    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Windows lets nobody move or remove a file that is open.
#[cfg(not(unix))]
fn id(_: &Path) -> Option<(u64, u64)> {
    None
}
