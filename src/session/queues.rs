//! The queues in which the commits of one session wait for each other after a conflict.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::token::StoreKey;

/// The queues of the sessions whose commits have met a conflict.
///
/// Each session has a queue of its own, since closures of the program run in a turn and may take long.
#[derive(Debug, Default)]
pub(crate) struct Queues(Mutex<HashMap<StoreKey, Arc<tokio::sync::Mutex<()>>>>);

/// A place in the queue of a session, given up when it is dropped.
pub(crate) struct Turn<'a> {
    queues: &'a Queues,
    key: StoreKey,
    queue: Arc<tokio::sync::Mutex<()>>,
    /// `None` while others are before this one.
    held: Option<OwnedMutexGuard<()>>,
}

impl Queues {
    /// Waits for the turn in the queue of a session.
    pub(crate) async fn turn(&self, key: StoreKey) -> Turn<'_> {
        let queue = Arc::clone(self.lock().entry(key).or_default());
        let mut turn = Turn { queues: self, key, queue, held: None };
        turn.held = Some(Arc::clone(&turn.queue).lock_owned().await);
        turn
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StoreKey, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut queues = self.queues.lock();
        // The map's and this one: nobody else waits, and nobody can join without the lock.
        if Arc::strong_count(&self.queue) == 2 {
            queues.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::session::poll_once;

    #[test]
    fn session_waits_for_its_own_turns_alone_and_no_queue_is_left() {
        let (queues, [ada, bob]) = (Queues::default(), [1, 2].map(|n| StoreKey::from_bytes([n; 32])));
        let first = poll_once(queues.turn(ada)).expect("nobody is before it");
        assert!(poll_once(queues.turn(bob)).is_some());
        let mut waiting = pin!(queues.turn(ada));
        assert!(poll_once(waiting.as_mut()).is_none());
        assert!(poll_once(queues.turn(ada)).is_none(), "dropped while it waits");
        drop(first);
        let second = poll_once(waiting).expect("its turn has come");
        assert_eq!(queues.lock().len(), 1);
        drop(second);
        assert!(queues.lock().is_empty());
    }
}
