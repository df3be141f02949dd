//! Sessions as files, shared by the processes of one machine.
//!
//! ```text
//! <directory>/ab/<the other 62 hex digits of the StoreKey>     a record or a tombstone
//! <directory>/owners/cd/<the other 62 of the owner's SHA-256>/  an empty file named by each session, and the mark
//! ```
//!
//! Files have mode 0600 and directories 0700, however open the umask is. Symbolic links are never followed. Anything under
//! another name is left alone.
//!
//! A file becomes visible whole, by a rename; only the times at its front are written over in place, under a digest.
//! Loading takes no lock. Every change takes the lock of its shard, one of 256, from the kernel: it ends with the
//! process, even a killed one. The file system must be a local one, on which `flock` locks directories.
//!
//! What stands under a session's name and cannot be read (damaged, cut off, of a newer format, a symbolic link, not
//! ours) is absent, with a warning each time it is loaded, and is never written over. It goes at its deadline if at
//! least the header is whole, otherwise it stays for inspection.

mod dir;
mod format;
mod owners;
mod session;
mod sweep;
mod turns;

use std::collections::HashSet;
use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::dir::Locked;
use self::owners::{Owner, Visit};
use self::session::{Glance, Standing};
use self::sweep::{Cursor, prune};
use self::turns::{Tree, Turns};
use super::log::{entry_left, unreadable};
use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::error::{ConfigError, StoreError};
use crate::record::{Record, Tombstone, TombstoneKind, Version};
use crate::token::{SessionToken, StoreKey, TokenShape};

/// Sessions in files, one each, in a directory that many processes of one machine may use at the same time.
///
/// A clone shares the directory and its queues. All methods of [`SessionStore`] must be called within a Tokio runtime
/// that has its timer enabled; they read and write on its blocking threads, at most 64 at once for each store.
///
/// A session that signs in is written first into its owner's list and then as a record, both under the owner's lock,
/// under which a revocation writes its mark. A process that is killed in between leaves an entry that points nowhere.
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
    turns: Arc<Turns>,
    cursor: Arc<Cursor>,
}

/// What a change that was answered for survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process at any moment, `kill -9` included, but not that of the machine: a power loss may take the
    /// last seconds back, and then a session that had ended may live again. Nothing is synced, so this is the fast one.
    Process,
    /// A power loss too: file and directory are synced before the answer. The default, since a logout that was
    /// confirmed must stay one.
    #[default]
    System,
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
/// assert!(FileStore::builder("/dev/null").build().is_err(), "it is no directory");
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
}

impl FileStoreBuilder {
    /// Sets what a change survives, [`Durability::System`] unless set.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Makes the directory (0700) with those above it unless it is there, and tries whether it can be used.
    ///
    /// The path may lead through symbolic links: they are resolved here, once. Blocks for a few system calls.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Directory`] where it cannot be made, written or locked.
    pub fn build(self) -> Result<FileStore, ConfigError> {
        let Self { directory, durability } = self;
        match open(&directory, durability) {
            Ok(tree) => Ok(FileStore { turns: Arc::new(Turns::new(tree)), cursor: Arc::default() }),
            Err(error) => Err(ConfigError::Directory { path: directory, reason: error.to_string() }),
        }
    }
}

fn open(directory: &Path, durability: Durability) -> io::Result<Tree> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let tree = Tree { base: directory.canonicalize()?, durability };
    tree.probe()?;
    Ok(tree)
}

impl FileStore {
    async fn retired(&self, owner: Option<Owner>, key: StoreKey, now: SystemTime) {
        let Some(owner) = owner else { return };
        if let Err(error) = prune(&self.turns, owner, key, now).await {
            entry_left(&key, error);
        }
    }

    async fn visit(
        &self,
        owner: Owner,
        key: StoreKey,
        end: Option<Revocation>,
        now: SystemTime,
    ) -> Result<Visit, StoreError> {
        let visit =
            move |owners: &Locked<'_>, shard: &Locked<'_>| owners::visit((owners, shard), owner, &key, end, now);
        self.turns.in_both(owner, key, visit).await
    }
}

impl SessionStore for FileStore {
    fn token_shape(&self) -> TokenShape {
        TokenShape::Random
    }

    /// Every ten minutes: a round opens every file once, and what has expired is absent anyway.
    fn sweep_interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(10 * 60))
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        let key = token.key();
        let shard = key.as_bytes()[0];
        let glance = self.turns.read(move |tree| session::glance(tree.shard(shard)?.as_ref(), &key, now)).await?;
        let standing = match glance {
            Glance::Sure(standing) => standing,
            Glance::Unsure => self.turns.in_shard(shard, move |shard| session::settle(shard, &key, now)).await?,
        };
        if let Standing::Unreadable(why) = &standing {
            unreadable(&key, &**why);
        }
        Ok(standing.into())
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        let (key, record) = (fresh.key(), record.clone());
        let Some(owner) = record.owner().map(Owner::of) else {
            let create = move |shard: &Locked<'_>| session::create((None, shard), &key, &record, now);
            return self.turns.in_shard(key.as_bytes()[0], create).await;
        };
        let create =
            move |owners: &Locked<'_>, shard: &Locked<'_>| session::create((Some(owners), shard), &key, &record, now);
        self.turns.in_both(owner, key, create).await
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let (key, change) = (token.key(), change.clone());
        let update = move |shard: &Locked<'_>| session::update(shard, &key, from, &change, now);
        let (updated, owner) = self.turns.in_shard(key.as_bytes()[0], update).await?;
        self.retired(owner, key, now).await;
        Ok(updated)
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let key = token.key();
        let touch = move |shard: &Locked<'_>| session::touch(shard, &key, version, deadline, now);
        self.turns.in_shard(key.as_bytes()[0], touch).await
    }

    async fn delete(&self, token: &SessionToken, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        let key = token.key();
        let tombstone = Tombstone::new(TombstoneKind::Destroyed, tombstone, now);
        let delete = move |shard: &Locked<'_>| session::delete(shard, &key, &tombstone, now);
        let (deleted, owner) = self.turns.in_shard(key.as_bytes()[0], delete).await?;
        self.retired(owner, key, now).await;
        Ok(deleted)
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        let owner = Owner::of(owner);
        let listed = self.turns.read(move |tree| owners::list(tree, owner, now)).await?;
        let mut sessions = Vec::with_capacity(listed.len());
        for (key, session) in listed {
            match session {
                Some(session) => sessions.push(session),
                None => {
                    if let Visit::Lives(session) = self.visit(owner, key, None, now).await? {
                        sessions.push(session);
                    }
                }
            }
        }
        Ok(sessions)
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        let (owner, revocation) = (Owner::of(owner), *revocation);
        if revocation.leaves_mark() {
            self.turns.in_owners(owner, move |owners| owners::add_mark(owners, owner, &revocation)).await?;
        }
        let (mut ended, mut visited) = (0, HashSet::new());
        loop {
            let known = visited.len();
            for (key, session) in self.turns.read(move |tree| owners::list(tree, owner, now)).await? {
                if visited.insert(key) && session.is_none_or(|session| revocation.includes(session.handle)) {
                    let visit = self.visit(owner, key, Some(revocation), now).await?;
                    ended += usize::from(matches!(visit, Visit::Ended));
                }
            }
            // A renewal lists its new record before the old one ends: one that ended first shows in the next list.
            if visited.len() == known {
                return Ok(ended);
            }
        }
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        self.cursor.sweep(&self.turns, limit, now).await
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tree { base, durability } = &*self.turns.tree;
        f.debug_struct("FileStore").field("directory", base).field("durability", durability).finish_non_exhaustive()
    }
}

/// What a file holds, for the fuzz targets; in no other build.
#[cfg(any(test, fuzzing))]
#[allow(missing_docs, reason = "nobody sees it")]
pub mod bytes {
    use std::time::SystemTime;

    use crate::store::{Head, Loaded};
    use crate::token::StoreKey;

    pub fn encode(key: &StoreKey, head: &Head, body: &[u8]) -> Vec<u8> {
        super::format::encode(key, head, body)
    }

    pub fn decode(key: &StoreKey, mut file: &[u8], now: SystemTime) -> Loaded {
        super::session::read(&mut file, key, now).ok().flatten().map_or(Loaded::Absent, Loaded::from)
    }
}
