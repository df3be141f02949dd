//! The sign-ins that wait until their owner has no more sessions than the limit allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::record::SessionHandle;

/// The sign-ins of each owner that wait for a run, which ends the owner's surplus sessions.
///
/// One run serves all sign-ins that were stored before it began. So a burst of sign-ins costs a few runs, not one for
/// each.
#[derive(Debug, Default)]
pub(crate) struct Overflows(Mutex<HashMap<Arc<str>, Vec<Waiting>>>);

/// A sign-in that waits for a run.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) handle: SessionHandle,
    /// Receives whether the run ended the session of the sign-in itself.
    pub(crate) answer: oneshot::Sender<Result<bool, StoreError>>,
}

impl Overflows {
    /// Adds a sign-in whose session is stored. Returns the answer to wait for, and whether the caller has to start the
    /// runs of this owner.
    pub(crate) fn join(
        &self,
        owner: &Arc<str>,
        handle: SessionHandle,
    ) -> (oneshot::Receiver<Result<bool, StoreError>>, bool) {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { handle, answer };
        let mut owners = self.lock();
        let others = owners.get_mut(owner);
        let is_first = others.is_none();
        match others {
            Some(others) => others.push(waiting),
            None => drop(owners.insert(Arc::clone(owner), vec![waiting])),
        }
        (answered, is_first)
    }

    /// Takes the sign-ins for the next run. Once there are none, the runs of this owner have ended.
    pub(crate) fn take(&self, owner: &str) -> Vec<Waiting> {
        let mut owners = self.lock();
        let waiting = owners.get_mut(owner).map(std::mem::take).unwrap_or_default();
        if waiting.is_empty() {
            owners.remove(owner);
        }
        waiting
    }

    /// Ends the runs of this owner. Sign-ins that still wait get no answer.
    pub(crate) fn end(&self, owner: &str) {
        self.lock().remove(owner);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_serves_all_that_wait_and_the_next_one_those_that_came_since() {
        let (overflows, ada) = (Overflows::default(), Arc::from("ada"));
        let handle = |n| SessionHandle::from_bytes([n; 16]);
        let mut joined = [1, 2].map(|n| overflows.join(&ada, handle(n)));
        assert_eq!([joined[0].1, joined[1].1], [true, false]);
        let run = overflows.take("ada");
        assert_eq!(run.iter().map(|waiting| waiting.handle).collect::<Vec<_>>(), [handle(1), handle(2)]);
        assert!(!overflows.join(&ada, handle(3)).1, "the runs go on");
        run.into_iter().for_each(|waiting| waiting.answer.send(Ok(waiting.handle == handle(2))).unwrap());
        let mut answers = joined.iter_mut().map(|(answer, _)| answer.try_recv().unwrap().unwrap());
        assert_eq!([answers.next(), answers.next()], [Some(false), Some(true)]);
        assert_eq!(overflows.take("ada").len(), 1);
        assert!(overflows.take("ada").is_empty());
        assert!(overflows.join(&ada, handle(4)).1, "they have ended");
        overflows.end("ada");
        assert!(overflows.join(&ada, handle(5)).1);
    }
}
