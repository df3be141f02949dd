//! Who may work on what: turns within the process, locks among processes, and a bounded number of threads.
//!
//! There are two kinds of locks, 256 each: of an owner's shard and of a session's shard. Whoever needs both takes the
//! owner's first; nobody ever holds two of one kind. So there is no cycle to wait in.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tokio::time::Instant;

use super::Durability;
use super::dir::{Dir, Locked};
use super::owners::Owner;
use crate::error::StoreError;
use crate::token::StoreKey;

/// Blocking calls under way at once. More would not make a disk faster, and would take threads from the application.
const RUNNING: usize = 64;
/// How long another process may keep a lock. The layer's own timeout usually ends the wait before.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(1);
const SHARDS: usize = 256;
const PROBE: &str = ".tower-session-layer-probe";
const OWNERS: &str = "owners";

/// Where the files are.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) base: PathBuf,
    pub(super) durability: Durability,
}

impl Tree {
    /// Opens the directory of the sessions whose digest begins with this byte, `None` if there is none.
    pub(super) fn shard(&self, shard: u8) -> io::Result<Option<Dir>> {
        self.base()?.map_or(Ok(None), |base| base.sub(&shard_name(shard)))
    }

    /// Opens the directory of the owners whose digest begins with this byte, `None` if there is none.
    pub(super) fn owners(&self, shard: u8) -> io::Result<Option<Dir>> {
        let owners = self.base()?.map_or(Ok(None), |base| base.sub(OWNERS))?;
        owners.map_or(Ok(None), |owners| owners.sub(&shard_name(shard)))
    }

    fn lock_shard(&self, shard: u8) -> io::Result<Option<Locked<'static>>> {
        self.make_base()?.make(&shard_name(shard))?.try_lock()
    }

    fn lock_owners(&self, shard: u8) -> io::Result<Option<Locked<'static>>> {
        self.make_base()?.make(OWNERS)?.make(&shard_name(shard))?.try_lock()
    }

    fn base(&self) -> io::Result<Option<Dir>> {
        Dir::open(&self.base, self.durability)
    }

    /// Tries whether the directory can be written and locked.
    pub(super) fn probe(&self) -> io::Result<()> {
        let base = self.make_base()?;
        base.probe(PROBE)?;
        // Somebody else's lock is an answer too.
        base.try_lock().map(drop)
    }

    /// Opens the store's own directory, which may have been removed under a running program.
    fn make_base(&self) -> io::Result<Dir> {
        if let Some(base) = self.base()? {
            return Ok(base);
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.base)?;
        Ok(self.base()?.ok_or(io::ErrorKind::NotFound)?)
    }
}

fn shard_name(shard: u8) -> String {
    format!("{shard:02x}")
}

/// The tree, and who waits for what in this process.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) tree: Arc<Tree>,
    shards: Vec<Arc<Mutex<()>>>,
    owners: Vec<Arc<Mutex<()>>>,
    running: Arc<Semaphore>,
}

impl Turns {
    pub(super) fn new(tree: Tree) -> Self {
        let mutexes = || (0..SHARDS).map(|_| Arc::default()).collect();
        Self { tree: Arc::new(tree), shards: mutexes(), owners: mutexes(), running: Arc::new(Semaphore::new(RUNNING)) }
    }

    /// Runs what needs no lock on a thread that may block.
    ///
    /// # Cancel safety
    ///
    /// What has begun runs to its end.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tree = Arc::clone(&self.tree);
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(StoreError::new)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&tree);
            drop(permit);
            done
        });
        Ok(done.await.map_err(StoreError::new)??)
    }

    /// Runs `work` under the lock of a session's shard.
    pub(super) async fn in_shard<T: Send + 'static>(
        &self,
        shard: u8,
        work: impl Fn(&Locked<'_>) -> io::Result<T> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turn_in_shard(shard).await;
        self.locked(turn, move |tree| tree.lock_shard(shard)?.map(|shard| work(&shard)).transpose()).await
    }

    /// Runs `work` under the lock of an owner's shard.
    pub(super) async fn in_owners<T: Send + 'static>(
        &self,
        owner: Owner,
        work: impl Fn(&Locked<'_>) -> io::Result<T> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turn_in_owners(owner).await;
        self.locked(turn, move |tree| tree.lock_owners(owner.shard())?.map(|owners| work(&owners)).transpose()).await
    }

    /// Runs `work` under the locks of an owner's shard and of a session's.
    pub(super) async fn in_both<T: Send + 'static>(
        &self,
        owner: Owner,
        key: StoreKey,
        work: impl Fn(&Locked<'_>, &Locked<'_>) -> io::Result<T> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let shard = key.as_bytes()[0];
        let turns = (self.turn_in_owners(owner).await, self.turn_in_shard(shard).await);
        self.locked(turns, move |tree| {
            let Some(owners) = tree.lock_owners(owner.shard())? else { return Ok(None) };
            tree.lock_shard(shard)?.map(|shard| work(&owners, &shard)).transpose()
        })
        .await
    }

    async fn turn_in_shard(&self, shard: u8) -> OwnedMutexGuard<()> {
        Arc::clone(&self.shards[usize::from(shard)]).lock_owned().await
    }

    async fn turn_in_owners(&self, owner: Owner) -> OwnedMutexGuard<()> {
        Arc::clone(&self.owners[usize::from(owner.shard())]).lock_owned().await
    }

    /// Repeats `work` until it gets its locks. The turns are over when both this future and the last call have ended,
    /// so a dropped future lets nobody in beside a call that still runs.
    ///
    /// Within the process the turns are in order. A lock that another process has is tried again and again, from here
    /// and not from a blocked thread.
    async fn locked<T: Send + 'static>(
        &self,
        turns: impl Send + Sync + 'static,
        work: impl Fn(&Tree) -> io::Result<Option<T>> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::new((work, turns));
        let give_up = Instant::now() + PATIENCE;
        loop {
            let call = Arc::clone(&shared);
            if let Some(done) = self.read(move |tree| (call.0)(tree)).await? {
                return Ok(done);
            }
            if Instant::now() >= give_up {
                let busy = format!("another process kept a lock on the session directory for {PATIENCE:?}");
                return Err(StoreError::new(busy));
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
