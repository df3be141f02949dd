//! An open directory, in which every name is looked up: nothing planted above or beside it redirects a write.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use super::guard::Fault;
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

/// The name of a file that is being written.
///
/// Only the holder of the directory's lock makes such a file, so one name is enough. A file of this name that the holder
/// finds was left by a process that was killed.
pub(super) const NEW: &str = "new";

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIR_MODE: Mode = Mode::RWXU;

/// The failures that a confirmed change survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// A change survives the end of the process at any moment, `kill -9` included.
    ///
    /// A power loss may undo the changes of the last seconds, and then a session that had ended may live again. Nothing
    /// is synced, which makes this the fast choice.
    Process,
    /// A change survives a power loss too: file and directory are synced before the store answers.
    ///
    /// This is the default, since a confirmed logout must stay one.
    #[default]
    System,
}

/// An open directory. Its files are written through [`Locked`] alone.
pub(super) struct Dir {
    file: File,
    durability: Durability,
    place: Place,
}

/// The device and the inode of a directory, which no other has as long as the directory exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64, u64);

/// The result of opening a name as a regular file.
pub(super) enum Lookup {
    Absent,
    File(File),
    /// A regular file that another user can write to.
    Shared(File),
    /// A symbolic link, a directory, a pipe: nothing that the store makes.
    Foreign,
}

impl Dir {
    /// Opens a directory by its path and returns `None` if there is none.
    pub(super) fn open(path: &Path, durability: Durability) -> io::Result<Option<Self>> {
        open_dir(CWD, path, durability)
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Opens a directory in this one and returns `None` if there is none.
    pub(super) fn sub(&self, name: &str) -> io::Result<Option<Self>> {
        open_dir(&self.file, name, self.durability)
    }

    /// Opens a directory in this one and makes it first if need be.
    pub(super) fn make(&self, name: &str) -> io::Result<Self> {
        if let Some(dir) = self.sub(name)? {
            return Ok(dir);
        }
        match mkdirat(&self.file, name, DIR_MODE) {
            Err(Errno::EXIST) => {}
            made => made.map_err(io::Error::from).and_then(|()| self.sync())?,
        }
        Ok(self.sub(name)?.ok_or(io::ErrorKind::NotFound)?)
    }

    /// Opens a regular file for reading.
    pub(super) fn file(&self, name: &str) -> io::Result<Lookup> {
        self.find(name, OFlags::RDONLY)
    }

    fn find(&self, name: &str, access: OFlags) -> io::Result<Lookup> {
        // Without NONBLOCK, opening a pipe would wait for its other end.
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match retry_on_intr(|| openat(&self.file, name, flags, Mode::empty())) {
            Ok(fd) => {
                let file = File::from(fd);
                let found = file.metadata()?;
                Ok(match Fault::of(&found) {
                    _ if !found.is_file() => Lookup::Foreign,
                    Some(_) => Lookup::Shared(file),
                    None => Lookup::File(file),
                })
            }
            Err(Errno::NOENT) => Ok(Lookup::Absent),
            // A symbolic link (FreeBSD answers MLINK), a socket, a directory opened for writing.
            Err(Errno::LOOP | Errno::MLINK | Errno::NXIO | Errno::ISDIR) => Ok(Lookup::Foreign),
            Err(error) => Err(error.into()),
        }
    }

    /// Lists the names in the directory.
    pub(super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<String>> + use<>> {
        let entries = rustix::fs::Dir::read_from(&self.file)?;
        Ok(entries.filter_map(|entry| match entry {
            // The store makes no name that is not UTF-8.
            Ok(entry) => entry.file_name().to_str().ok().map(|name| Ok(name.to_owned())),
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Makes changes to the directory's names survive a power loss, if [`Durability::System`] is set.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.durability == Durability::System { self.file.sync_all() } else { Ok(()) }
    }

    /// Writes and removes a file, to find out whether the directory can be written.
    pub(super) fn probe(&self, name: &str) -> io::Result<()> {
        self.fresh(name)?.write_all(b"?")?;
        // Another process that probes at the same moment may have removed the file already.
        self.unlink(name, AtFlags::empty()).map(drop)
    }

    /// Takes the directory's lock and returns `None` if it is taken.
    pub(super) fn try_lock(self) -> io::Result<Option<Locked<'static>>> {
        match self.file.try_lock() {
            Ok(()) => Ok(Some(Locked { dir: self, above: PhantomData })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Takes the directory's lock, and waits for it.
    pub(super) fn lock(self) -> io::Result<Locked<'static>> {
        self.file.lock()?;
        Ok(Locked { dir: self, above: PhantomData })
    }

    fn unlink(&self, name: &str, flags: AtFlags) -> io::Result<bool> {
        #[cfg(test)]
        super::full::check_writable(&self.file)?;
        match unlinkat(&self.file, name, flags) {
            Err(Errno::NOENT) => Ok(false),
            removed => Ok(removed.map(|()| true)?),
        }
    }

    fn create(&self, name: &str) -> Result<File, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| openat(&self.file, name, flags, FILE_MODE)).map(File::from)
    }

    fn fresh(&self, name: &str) -> io::Result<File> {
        #[cfg(test)]
        super::full::check(&self.file)?;
        match self.create(name) {
            Err(Errno::EXIST) => {
                self.unlink(name, AtFlags::empty())?;
                Ok(self.create(name)?)
            }
            created => Ok(created?),
        }
    }
}

fn open_dir(at: impl AsFd, path: impl AsRef<Path>, durability: Durability) -> io::Result<Option<Dir>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| openat(&at, path.as_ref(), flags, Mode::empty())) {
        Err(Errno::NOENT) => return Ok(None),
        opened => File::from(opened?),
    };
    let found = file.metadata()?;
    match Fault::of(&found) {
        Some(fault) => Err(fault.at(path.as_ref())),
        None => Ok(Some(Dir { file, durability, place: Place(found.dev(), found.ino()) })),
    }
}

/// Returns whether a write failed for want of room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

/// Returns whether an open directory was refused because the name is a symbolic link or no directory.
pub(super) fn is_foreign(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTDIR | Errno::LOOP | Errno::MLINK))
}

/// A directory under its own lock, or under the lock of the directory above it.
///
/// The kernel keeps the lock on the directory itself. So there is no lock file that could be unlinked or planted, and the
/// lock ends with the process.
pub(super) struct Locked<'above> {
    dir: Dir,
    above: PhantomData<&'above ()>,
}

impl Locked<'_> {
    /// Opens a directory that this one's lock guards too, and returns `None` if there is none.
    pub(super) fn sub_locked(&self, name: &str) -> io::Result<Option<Locked<'_>>> {
        Ok(self.sub(name)?.map(|dir| Locked { dir, above: PhantomData }))
    }

    /// Opens a directory that this one's lock guards too, and makes it first if need be.
    pub(super) fn make_locked(&self, name: &str) -> io::Result<Locked<'_>> {
        self.make(name).map(|dir| Locked { dir, above: PhantomData })
    }

    /// Puts a file under a name, whole or not at all, in place of the file that has the name.
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.put(name, content)?;
        self.sync()
    }

    /// Puts a file under a name as [`replace`](Self::replace) does. The new name survives a power loss after [`Dir::sync`].
    pub(super) fn put(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut file = self.fresh(NEW)?;
        let mut put = || {
            file.write_all(content)?;
            if self.durability == Durability::System {
                file.sync_all()?;
            }
            Ok(renameat(&self.file, NEW, &self.file, name)?)
        };
        if let Err(error) = put() {
            // A full disk gets the space back at once. If this fails too, the sweep removes the file.
            let _ = self.remove(NEW);
            return Err(error);
        }
        Ok(())
    }

    /// Opens a file of one number, which is made if need be, and reads it; zero if there is none.
    pub(super) fn number(&self, name: &str) -> io::Result<(File, u64)> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(retry_on_intr(|| openat(&self.file, name, flags, FILE_MODE))?);
        let mut number = [0; 8];
        match file.read_exact_at(&mut number, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok((file, 0)),
            read => read.map(|()| (file, u64::from_be_bytes(number))),
        }
    }

    /// Puts an empty file under a name, unless the name is taken.
    pub(super) fn note(&self, name: &str) -> io::Result<()> {
        match self.create(name) {
            Err(Errno::EXIST) => Ok(()),
            created => created.map_err(io::Error::from).and_then(|_| self.sync()),
        }
    }

    /// Writes over a few bytes within the first sector of a file.
    pub(super) fn amend(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Lookup::File(file) = self.find(name, OFlags::WRONLY)? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        file.write_all_at(bytes, offset)?;
        if self.durability == Durability::System { file.sync_data() } else { Ok(()) }
    }

    /// Removes a file and returns whether there was one. The removal survives a power loss after [`Dir::sync`].
    pub(super) fn remove(&self, name: &str) -> io::Result<bool> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes a directory in this one if it is empty.
    pub(super) fn remove_empty(&self, name: &str) -> io::Result<()> {
        match self.unlink(name, AtFlags::REMOVEDIR) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            done => done.map(drop),
        }
    }
}

impl Deref for Locked<'_> {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a child that was forked meanwhile, until it executes another program.
        let _ = self.dir.file.unlock();
    }
}
