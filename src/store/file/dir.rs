//! A directory held open: every name is looked up in it, so nothing planted above or beside it redirects a write.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::Durability;

/// The name of a file that is being written. Only who holds the directory's lock makes one, so one name does, and
/// whoever finds it while holding the lock has found what a killed process left.
pub(super) const NEW: &str = "new";

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIR_MODE: Mode = Mode::RWXU;

/// An open directory. Its files are written through [`Locked`] alone.
pub(super) struct Dir {
    file: File,
    durability: Durability,
}

/// What an exact name stands for.
pub(super) enum Found {
    Nothing,
    File(File),
    /// A symbolic link, a directory, a pipe: nothing that we made.
    Foreign,
}

impl Dir {
    /// Opens a directory by its path, `None` if there is none.
    pub(super) fn open(path: &Path, durability: Durability) -> io::Result<Option<Self>> {
        open_dir(CWD, path, durability)
    }

    /// Opens a directory in this one, `None` if there is none.
    pub(super) fn sub(&self, name: &str) -> io::Result<Option<Self>> {
        open_dir(&self.file, name, self.durability)
    }

    /// Opens a directory in this one and makes it first if need be.
    pub(super) fn make(&self, name: &str) -> io::Result<Self> {
        if let Some(dir) = self.sub(name)? {
            return Ok(dir);
        }
        match mkdirat(&self.file, name, DIR_MODE) {
            Ok(()) => self.sync()?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.sub(name)?.ok_or(io::ErrorKind::NotFound)?)
    }

    /// Opens a regular file for reading.
    pub(super) fn file(&self, name: &str) -> io::Result<Found> {
        self.find(name, OFlags::RDONLY)
    }

    fn find(&self, name: &str, access: OFlags) -> io::Result<Found> {
        // Non-blocking, or opening a pipe would wait for its other end.
        let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match retry_on_intr(|| openat(&self.file, name, flags, Mode::empty())) {
            Ok(fd) => {
                let file = File::from(fd);
                Ok(if file.metadata()?.is_file() { Found::File(file) } else { Found::Foreign })
            }
            Err(Errno::NOENT) => Ok(Found::Nothing),
            // A symbolic link (FreeBSD says MLINK), a socket, a directory opened for writing.
            Err(Errno::LOOP | Errno::MLINK | Errno::NXIO | Errno::ISDIR) => Ok(Found::Foreign),
            Err(error) => Err(error.into()),
        }
    }

    /// Lists the names in the directory.
    pub(super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<String>> + use<>> {
        let entries = rustix::fs::Dir::read_from(&self.file)?;
        Ok(entries.filter_map(|entry| match entry {
            // What is no UTF-8 is none of ours.
            Ok(entry) => entry.file_name().to_str().ok().map(|name| Ok(name.to_owned())),
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Makes the names in the directory survive a power loss, where that is asked for.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self.durability {
            Durability::System => self.file.sync_all(),
            Durability::Process => Ok(()),
        }
    }

    /// Writes and removes a file.
    pub(super) fn probe(&self, name: &str) -> io::Result<()> {
        self.fresh(name)?.write_all(b"?")?;
        // Whoever tries at the same moment may have removed it already.
        self.unlink(name, AtFlags::empty()).map(drop)
    }

    fn unlink(&self, name: &str, flags: AtFlags) -> io::Result<bool> {
        match unlinkat(&self.file, name, flags) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn fresh(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || retry_on_intr(|| openat(&self.file, name, flags, FILE_MODE));
        match create() {
            Err(Errno::EXIST) => {
                self.unlink(name, AtFlags::empty())?;
                Ok(create()?.into())
            }
            created => Ok(created?.into()),
        }
    }

    /// Takes the directory's lock, `None` if somebody else has it.
    pub(super) fn try_lock(self) -> io::Result<Option<Locked<'static>>> {
        match self.file.try_lock() {
            Ok(()) => Ok(Some(Locked { dir: self, above: PhantomData })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn open_dir(at: impl rustix::fd::AsFd, path: impl AsRef<Path>, durability: Durability) -> io::Result<Option<Dir>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match retry_on_intr(|| openat(&at, path.as_ref(), flags, Mode::empty())) {
        Ok(fd) => Ok(Some(Dir { file: File::from(fd), durability })),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a directory could not be opened because it is none, or a symbolic link.
pub(super) fn is_foreign(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOTDIR | Errno::LOOP | Errno::MLINK))
}

/// A directory under its lock, its own or that of the one above it.
///
/// The lock is the kernel's, on the directory itself: there is no lock file that could be unlinked or planted, and it
/// ends with the process.
pub(super) struct Locked<'above> {
    dir: Dir,
    above: PhantomData<&'above ()>,
}

impl Locked<'_> {
    /// Opens a directory that this one's lock guards too, `None` if there is none.
    pub(super) fn sub_locked(&self, name: &str) -> io::Result<Option<Locked<'_>>> {
        Ok(self.sub(name)?.map(|dir| Locked { dir, above: PhantomData }))
    }

    /// Opens a directory that this one's lock guards too and makes it first if need be.
    pub(super) fn make_locked(&self, name: &str) -> io::Result<Locked<'_>> {
        self.make(name).map(|dir| Locked { dir, above: PhantomData })
    }

    /// Puts a file under a name, whole or not at all, in place of what stands there.
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut file = self.fresh(NEW)?;
        let mut put = || {
            file.write_all(content)?;
            if self.durability == Durability::System {
                file.sync_all()?;
            }
            Ok(renameat(&self.file, NEW, &self.file, name)?)
        };
        let done: io::Result<()> = put();
        if done.is_err() {
            // A full disk gets the space back at once; whatever stays is swept.
            let _ = self.remove(NEW);
        }
        done?;
        self.sync()
    }

    /// Puts an empty file under a name, unless something stands there.
    pub(super) fn note(&self, name: &str) -> io::Result<()> {
        match self.file(name)? {
            Found::Nothing => self.fresh(name).and_then(|_| self.sync()),
            Found::File(_) | Found::Foreign => Ok(()),
        }
    }

    /// Writes over a few bytes within the first sector of a file.
    pub(super) fn amend(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Found::File(file) = self.find(name, OFlags::WRONLY)? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        file.write_all_at(bytes, offset)?;
        match self.durability {
            Durability::System => file.sync_data(),
            Durability::Process => Ok(()),
        }
    }

    /// Removes a file and returns whether there was one. It survives a power loss after [`Dir::sync`].
    pub(super) fn remove(&self, name: &str) -> io::Result<bool> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes a directory in this one if nothing is in it.
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
