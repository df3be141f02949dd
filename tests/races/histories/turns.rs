//! Whose turn it is: every step of a history asks here before it goes on.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use super::chance::Chance;

/// Lets one step go on at a time, chosen by chance among all that wait, once nothing else can run. With paused time
/// that is exact: the clock of the runtime moves only when no task is ready, so a seed is always the same history.
/// On an engine, whose answers come when they come, a step lets some others go first.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    chance: Chance,
    /// How many calls are under way.
    busy: Arc<AtomicUsize>,
    conducted: Option<Arc<Conducted>>,
    _conductor: Option<Arc<Conductor>>,
}

#[derive(Debug, Default)]
struct Conducted {
    waiting: Mutex<Vec<oneshot::Sender<()>>>,
    came: Notify,
}

#[derive(Debug)]
struct Conductor(AbortHandle);

impl Drop for Conductor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Turns {
    pub(crate) fn free(chance: Chance) -> Self {
        Self { chance, busy: Arc::default(), conducted: None, _conductor: None }
    }

    /// Needs a runtime whose time is paused.
    pub(crate) fn conducted(chance: Chance) -> Self {
        let conducted = Arc::<Conducted>::default();
        let task = tokio::spawn(conduct(Arc::clone(&conducted), chance.clone()));
        let conductor = Arc::new(Conductor(task.abort_handle()));
        Self { chance, busy: Arc::default(), conducted: Some(conducted), _conductor: Some(conductor) }
    }

    /// Says that a call is under way until it is dropped.
    pub(crate) fn busy(&self) -> Busy {
        self.busy.fetch_add(1, Relaxed);
        Busy(Arc::clone(&self.busy))
    }

    /// Waits for its turn.
    pub(crate) async fn take(&self) {
        let Some(conducted) = &self.conducted else {
            for _ in 0..self.chance.below(4) {
                tokio::task::yield_now().await;
            }
            return;
        };
        let (go, turn) = oneshot::channel();
        conducted.waiting.lock().unwrap().push(go);
        conducted.came.notify_one();
        let _ = turn.await;
    }

    /// Lets what runs in the background, as the retreat from a renewal, come to its end.
    pub(crate) async fn settle(&self) {
        if self.conducted.is_some() {
            return tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let mut quiet = 0;
        while quiet < 100 {
            tokio::task::yield_now().await;
            quiet = if self.busy.load(Relaxed) == 0 { quiet + 1 } else { 0 };
        }
    }
}

async fn conduct(conducted: Arc<Conducted>, chance: Chance) {
    loop {
        // Virtual, and over at once when nothing else can run.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let next = {
            let mut waiting = conducted.waiting.lock().unwrap();
            (!waiting.is_empty()).then(|| {
                let at = chance.below(waiting.len());
                waiting.remove(at)
            })
        };
        match next {
            Some(next) => drop(next.send(())),
            None => conducted.came.notified().await,
        }
    }
}
