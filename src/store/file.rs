//! Sessions as files, shared by the processes of one machine.
//!
//! ```text
//! <directory>/ab/<the other 62 hex digits of the StoreKey>     a record or a tombstone
//! <directory>/owners/cd/<the other 62 of the owner's SHA-256>/  an empty file for each session, and the mark
//! <directory>/owners/cd/last                                    the latest moment of a sign-in or revocation
//! <directory>/.tower-session-layer                              16 random bytes, by which a copy of the directory is known
//! ```
//!
//! Files have mode 0600 and directories 0700, whatever the umask allows. A directory that another user can write to is
//! an error. Symbolic links are never followed. Files under other names are left alone.
//!
//! A file becomes visible whole, by a rename. Only the times at its front are written over in place, under a digest.
//! Loading takes no lock. Every change takes the lock of its shard, one of 256, from the kernel, so the lock ends with
//! the process, even a killed one. The file system must be a local one, on which `flock` locks directories.
//!
//! A file under a session's name that cannot be read (damaged, cut off, of a newer format, a symbolic link, another
//! user's, writable by others) counts as absent, with a warning each time it is loaded, and is never written over. It is removed at its deadline if
//! its header is whole, and otherwise stays for inspection.

mod dir;
mod format;
mod guard;
mod locks;
mod mark;
mod owned;
mod owners;
mod revoke;
mod session;
mod sweep;
mod tree;
// A full disk, for tests.
#[cfg(test)]
mod full;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fmt, io};

pub use self::dir::Durability;
use self::locks::Locks;
use self::owners::{Entry, OwnerDigest, OwnerList};
use self::session::{OnDisk, SessionFile};
use self::sweep::Cursor;
use self::tree::{ShardDir, Tree};
use super::log::{entry_left, unreadable};
use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::error::{ConfigError, StoreError};
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// A store of sessions as files, one each, in a directory that many processes of one machine may use at the same time.
///
/// A clone shares the directory and its queues. All methods of [`SessionStore`] must be called within a Tokio runtime
/// that has its timer enabled. They read and write on the runtime's blocking threads, at most 64 at once for each store.
///
/// Anybody who can write to the directory can sign in as anybody. So the directory, those above it and the files in it must
/// be writable by the user of this process and by root alone. A directory above may be sticky instead, as `/tmp` is.
///
/// # Owners
///
/// A sign-in writes the session into its owner's list first and its record second, both under the owner's lock. A
/// revocation writes its mark under the same lock. A process that is killed in between leaves an entry without a record.
/// Sign-ins and revocations of an owner are in one order, by the machine's clock; if the
/// clock is set back, the order goes on.
///
/// Loading a signed-in session reads its owner's mark too, which is one system call where there is none. So
/// revoking all sessions of an owner, or all but one, takes effect with the mark, however many there are. Of up to 256
/// sessions the call also replaces the files; the files of more are removed by the sweep. Counting an owner's sessions
/// reads the names of their files alone.
///
/// # A directory that is gone
///
/// The directory is made when the store is built, and never later. If it is moved away or its file system unmounted, each
/// call is an error, which the layer answers with 503 and without touching a cookie, until the directory is back. It is
/// known by its device and inode, or by the marker file that was in it when the store was built. So a copy with that marker,
/// such as a backup, may be put in its place under a running program. Any other directory, such as the empty mount point, is an error until the program is started again.
/// Build the store after its file system is mounted.
///
/// # A read-only file system
///
/// Live sessions are read, and each change is an error. An expired session is absent as ever. Its file waits for the first
/// sweep that can remove it, and each load of it logs the warning `session.expired.kept`. A store cannot be built there.
///
/// # A full disk
///
/// Live sessions are read. A new session or a write is an error that leaves the stored session as it was, until there is room
/// again. A session ends on a full disk too: where there is no room for a tombstone, its file is removed, with the warning
/// `session.tombstone.given_up`. A revocation that finds no room for its mark ends the sessions first and then tries again;
/// if there is still no room, it is an error, since a sign-in that was under way may survive.
///
/// # What it rests on
///
/// [`Durability`] says what a power loss may undo; with the default it is nothing, if the disk keeps what it has synced. A
/// mark under `owners/` may be all that ends revoked sessions, so keep, copy and restore the directory as a whole.
///
/// # Examples
///
/// ```
/// use tower_session_layer::FileStore;
///
/// # let temporary = tempfile::tempdir()?;
/// # let directory = temporary.path().join("sessions");
/// let store = FileStore::new(&directory)?;
/// assert!(directory.is_dir());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FileStore {
    locks: Arc<Locks>,
    cursor: Arc<Cursor>,
}

/// Settings of a [`FileStore`].
///
/// # Examples
///
/// ```
/// use tower_session_layer::{Durability, FileStore};
///
/// # let temporary = tempfile::tempdir()?;
/// # let directory = temporary.path().join("sessions");
/// let fast = FileStore::builder(&directory).durability(Durability::Process).build()?;
/// # drop(fast);
/// assert!(FileStore::builder("/dev/null").build().is_err(), "not a directory");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FileStoreBuilder {
    directory: PathBuf,
    durability: Durability,
}

impl FileStore {
    /// Opens a directory with the default settings, as [`FileStoreBuilder::build`] does.
    pub fn new(directory: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::builder(directory).build()
    }

    /// Starts with the default settings.
    pub fn builder(directory: impl AsRef<Path>) -> FileStoreBuilder {
        FileStoreBuilder { directory: directory.as_ref().to_owned(), durability: Durability::default() }
    }

    /// Works on the file of a session under the lock of its shard.
    async fn with<T: Send + 'static>(
        &self,
        key: StoreKey,
        now: SystemTime,
        work: impl Fn(&SessionFile<'_>) -> io::Result<T> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        self.locks.hold([ShardDir::of(&key)], move |[shard]| work(&SessionFile::new(shard, &key, now))).await
    }

    /// Removes a session that has ended from its owner's list.
    async fn strike(&self, ended: Option<Arc<Record>>, key: StoreKey, now: SystemTime) {
        let Some((record, owner)) = ended.as_ref().and_then(|record| Some((record, record.owner()?))) else { return };
        if let Err(error) = owned::prune(&self.locks, OwnerDigest::of(owner), Entry::of(&key, record), now).await {
            entry_left(&key, error);
        }
    }
}

impl FileStoreBuilder {
    /// Sets which failures a change survives, [`Durability::System`] unless set.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Makes the directory (0700) with those above it unless it is there, tries whether it can be used, and puts the marker
    /// file in it.
    ///
    /// The path may lead through symbolic links, which are resolved here, once. Blocks for some hundred system calls.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Directory`] if the directory cannot be made, written or locked, or if another user can write to
    /// it, to a directory in it, or to one above it that is not sticky. The error names the path, its mode or owner,
    /// and the remedy.
    pub fn build(self) -> Result<FileStore, ConfigError> {
        let Self { directory, durability } = self;
        match Tree::open(&directory, durability) {
            Ok(tree) => Ok(FileStore { locks: Arc::new(Locks::new(tree)), cursor: Arc::default() }),
            Err(error) => Err(ConfigError::Directory { path: directory, reason: error.to_string() }),
        }
    }
}

impl SessionStore for FileStore {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    /// Returns ten minutes: a round opens every file once, and an expired session is absent anyway.
    fn sweep_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(10 * 60))
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        let key = token.key();
        let mut found = self.locks.read(move |tree| session::find(tree, &key, now)).await?;
        // An expired file is to be removed, and an unreadable one may have been read in the middle of a touch.
        if matches!(found, OnDisk::Expired | OnDisk::Unreadable(_)) {
            let settle = move |[shard]: [&_; 1]| SessionFile::new(shard, &key, now).settle();
            found = self.locks.hold([ShardDir::of(&key)], settle).await?;
        }
        if let OnDisk::Unreadable(why) = found {
            unreadable(&key, why);
        }
        Ok(found.into())
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        let (key, record) = (fresh.key(), record.clone());
        let Some(owner) = record.owner().map(OwnerDigest::of) else {
            return self.with(key, now, move |session| session.create(&record)).await;
        };
        let shards = [owner.shard(), ShardDir::of(&key)];
        self.locks.hold(shards, move |shards| owned::create(shards, owner, &key, &record, now)).await
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let (key, change) = (token.key(), change.clone());
        let (updated, ended) = self.with(key, now, move |session| session.update(from, &change)).await?;
        self.strike(ended, key, now).await;
        Ok(updated)
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        self.with(token.key(), now, move |session| session.touch(version, deadline)).await
    }

    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        let (key, tombstone) = (*key, Tombstone::new(TombstoneKind::Destroyed, tombstone, now));
        let (deleted, ended) = self.with(key, now, move |session| session.delete(&tombstone)).await?;
        self.strike(ended, key, now).await;
        Ok(deleted)
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        let owner = OwnerDigest::of(owner);
        let listed = self.locks.read(move |tree| owned::list(tree, owner, now)).await?;
        let mut sessions = Vec::with_capacity(listed.len());
        for (entry, session) in listed {
            sessions.extend(match session {
                None => owned::prune(&self.locks, owner, entry, now).await?,
                session => session,
            });
        }
        Ok(sessions)
    }

    /// Counts an owner's sessions by their names in the owner's directory. All sessions cannot be counted so.
    async fn count(&self, owner: Option<&str>, _: SystemTime) -> Result<usize, StoreError> {
        let owner = OwnerDigest::of(owner.ok_or_else(StoreError::unsupported)?);
        self.locks.read(move |tree| Ok(OwnerList::find(tree, owner)?.standing().count())).await
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        revoke::revoke(&self.locks, OwnerDigest::of(owner), revocation, now).await
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        self.cursor.sweep(&self.locks, limit, now).await
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tree { base, durability, .. } = &*self.locks.tree;
        f.debug_struct("FileStore").field("directory", base).field("durability", durability).finish_non_exhaustive()
    }
}

/// The bytes of a file, for the fuzz targets; in no other build.
#[cfg(any(test, fuzzing))]
#[allow(missing_docs, reason = "no user of the crate sees it")]
pub mod bytes {
    use std::time::SystemTime;

    use crate::store::{Loaded, RecordHead};
    use crate::token::StoreKey;

    pub fn encode(key: &StoreKey, head: &RecordHead, body: &[u8]) -> Vec<u8> {
        super::format::encode(key, head, body)
    }

    pub fn decode(key: &StoreKey, mut file: &[u8], now: SystemTime) -> Loaded {
        super::session::read(&mut file, key, now).map_or(Loaded::Absent, Loaded::from)
    }
}
