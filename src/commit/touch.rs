//! Moves the deadline of a session that is used and not changed.

use std::sync::Arc;

use super::Settled;
use super::execute::Commit;
use crate::clock::time;
use crate::error::Error;
use crate::event::Operation;
use crate::session::{Live, Stored};
use crate::store::{Loaded, SessionStore, Updated};

impl<S: SessionStore> Commit<'_, S> {
    /// Moves the deadline. A failure only lets the session end a little earlier.
    pub(super) async fn touch(&self, mut live: Live, mut deadline: u64) -> Settled {
        let mut answer = self.ask_touch(&live, deadline).await;
        // After the response's head, another request may have written long ago. Before it, the session was loaded just
        // now, and the write that came between has moved the deadline.
        if !self.job.is_last && !self.job.can_send && matches!(answer, Ok(Updated::Conflict)) {
            let found = self.wait(self.store.load(&live.token, self.now())).await;
            if let Ok(Loaded::Live(newer) | Loaded::Outdated(newer)) = found {
                live.record = newer;
                let Some(later) = self.shared.lifetime.refresh(&live.record, self.job.now) else {
                    return Settled::unchanged(Stored::Live(live));
                };
                deadline = later;
                answer = self.ask_touch(&live, deadline).await;
            }
        }
        let (token, is_news) = match answer {
            Ok(Updated::Done) => (live.token, live.outdated),
            Ok(Updated::Instead(token)) => (token, true),
            Ok(Updated::Conflict | Updated::Gone) => return Settled::unchanged(Stored::Live(live)),
            Err(error) => {
                self.shared.events.failed(Operation::Touch, &error);
                return Settled::unchanged(Stored::Live(live));
            }
        };
        self.shared.events.refreshed(&token);
        let mut record = live.record;
        Arc::make_mut(&mut record).touch(time(deadline), self.now());
        Settled::live(token, record, is_news)
    }

    async fn ask_touch(&self, live: &Live, deadline: u64) -> Result<Updated, Error> {
        self.wait(self.store.touch(&live.token, live.record.version, time(deadline), self.now())).await
    }
}
