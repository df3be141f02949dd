//! The order of work on shards: queues within the process, locks among processes, and a bounded number of threads.
//!
//! Work that needs two shards takes that of an owner first and that of a session second, and no work takes two of one
//! kind. So no two tasks wait for each other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::dir::Locked;
use super::tree::{ShardDir, Tree};
use crate::error::StoreError;

/// The number of blocking calls that may run at once. More would not make a disk faster, and would take threads from the
/// application.
const RUNNING: usize = 64;
/// The time for which another process may keep a lock. The layer's store timeout usually ends the wait before.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(1);

/// The tree, and a queue of this process for each of its shards.
#[derive(Debug)]
pub(super) struct Locks {
    pub(super) tree: Arc<Tree>,
    queues: Vec<Arc<Mutex<()>>>,
    running: Arc<Semaphore>,
}

impl Locks {
    pub(super) fn new(tree: Tree) -> Self {
        let queues = ShardDir::all().map(|_| Arc::default()).collect();
        Self { tree: Arc::new(tree), queues, running: Arc::new(Semaphore::new(RUNNING)) }
    }

    /// Runs work that needs no lock on a thread that may block.
    ///
    /// # Cancel safety
    ///
    /// Work that has begun runs to its end.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tree = Arc::clone(&self.tree);
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(StoreError::new)?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&tree)
        });
        Ok(done.await.map_err(StoreError::new)??)
    }

    /// Runs work under the locks of shards, which are taken in the order given.
    ///
    /// A lock that another process has is tried again and again, from here and not from a blocked thread.
    ///
    /// # Cancel safety
    ///
    /// Work that has begun runs to its end, and keeps its places in the queues until then.
    pub(super) async fn hold<const N: usize, T: Send + 'static>(
        &self,
        shards: [ShardDir; N],
        work: impl Fn([&Locked<'static>; N]) -> io::Result<T> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let mut turns = Vec::with_capacity(N);
        for shard in shards {
            turns.push(Arc::clone(&self.queues[shard.index()]).lock_owned().await);
        }
        let shared = Arc::new((work, turns));
        let give_up = Instant::now() + PATIENCE;
        loop {
            let shared = Arc::clone(&shared);
            let done = self.read(move |tree| {
                let locked =
                    shards.into_iter().map(|shard| tree.lock(shard)).collect::<io::Result<Option<Vec<_>>>>()?;
                locked.map(|locked| shared.0(std::array::from_fn(|index| &locked[index]))).transpose()
            });
            if let Some(done) = done.await? {
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
