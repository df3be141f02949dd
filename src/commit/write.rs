//! Writes a live session by compare-and-swap. After a conflict it replays the changes on the record that another
//! request stored first.

use std::sync::Arc;

use super::execute::Commit;
use super::renewal::Fresh;
use super::undo_renewal::{is_successor, undo_renewal};
use super::{Settled, Successor, brings_max_age};
use crate::error::Error;
use crate::event::Operation;
use crate::record::{Record, TombstoneKind};
use crate::session::{CookieAction, Live, Stored, Turn};
use crate::store::{Change, Loaded, SessionStore, Updated};

/// A write under way.
struct Writing<'a> {
    /// The session as it was last found in the store.
    live: Live,
    /// The new record of a renewal, under a token that nobody knows yet.
    fresh: Option<Fresh>,
    /// The commit's turn in the session's queue, held from the first conflict on.
    queue: Option<Turn<'a>>,
}

impl<'a, S: SessionStore> Commit<'a, S> {
    /// Writes a live session, under a fresh token if it is to be renewed.
    pub(super) async fn write(&mut self, live: Live) -> Result<Settled, Error> {
        let mut writing = Writing { live, fresh: None, queue: None };
        let result = self.swap(&mut writing).await;
        let Writing { live, fresh, queue } = writing;
        // What follows may be slow, and other commits must not wait for it.
        drop(queue);
        if self.conflicts > 0 {
            self.shared.events.conflicted(&live.token, self.conflicts);
        }
        if let (Err(_), Some(Fresh { token: fresh, record, is_retiring })) = (&result, fresh) {
            let undoing = undo_renewal(self.store, self.shared, &live.token, fresh.clone(), live.record, self.now());
            // The answer matters only if the old token may be dead: the client then needs the new one.
            if is_retiring && undoing.wait().await {
                return Ok(Settled::live(fresh, record, true));
            }
        }
        match result {
            // A failed renewal by age changes nothing for the client, and the next request tries again.
            Err(error) if self.job.replaces_token && !self.job.intent.is_change() => {
                self.shared.events.failed(Operation::Renew, &error);
                self.leave_unanswered();
                Ok(Settled::unchanged(self.job.stored.clone()))
            }
            result => result,
        }
    }

    /// Writes by compare-and-swap until the draft is stored or the session has ended.
    ///
    /// For a renewal the new record is durable before the old one becomes a tombstone, by compare-and-swap as well:
    /// changes that others commit until then are carried over.
    async fn swap(&mut self, writing: &mut Writing<'a>) -> Result<Settled, Error> {
        loop {
            let rule = self.prepare(Some(&writing.live.record))?;
            // The rare branches are boxed. Otherwise every commit would move the space that they need.
            if (self.renews() || writing.fresh.is_some())
                && let Some(settled) = Box::pin(self.prepare_renewal(&writing.live, &mut writing.fresh)).await?
            {
                return Ok(settled);
            }
            let change = match &mut writing.fresh {
                Some(fresh) => self.retire(&writing.live.token, fresh)?,
                None if self.job.draft.is_empty() => Change::Retire(self.tombstone(TombstoneKind::Emptied)),
                None => {
                    self.attempt(&writing.live.token, self.is_news(&writing.live));
                    Change::Replace(Arc::clone(&self.job.draft), rule)
                }
            };
            let Live { token, record: from, .. } = &writing.live;
            let updated = if let Some(met) = self.met.take() {
                met
            } else {
                let asked = self.wait(self.store.update(token, from.version, &change, self.now())).await;
                asked.map_err(|error| error.naming(&self.job.draft))?
            };
            self.attempt = None;
            if updated != Updated::Conflict {
                // The load below may be slow, and other commits must not wait for it.
                writing.queue = None;
            }
            let found = match updated {
                Updated::Done => return Ok(self.done(writing)),
                Updated::Instead(token) => {
                    self.shared.events.committed(&token, self.job.intent.renew.is_some());
                    return Ok(Settled::live(token, Arc::clone(&self.job.draft), true));
                }
                Updated::Conflict => Box::pin(self.reread(writing)).await?,
                Updated::Gone => self.wait(self.store.load(token, self.now())).await?,
            };
            if let Some(settled) = Box::pin(self.go_on_from(found, writing)).await? {
                return Ok(settled);
            }
        }
    }

    fn done(&self, writing: &mut Writing<'_>) -> Settled {
        let live = &writing.live;
        if self.job.draft.is_empty() {
            self.shared.events.removed(&live.token);
            return Settled { cookie: CookieAction::Remove, ..Settled::unchanged(Stored::New) };
        }
        let is_news = writing.fresh.is_some() || self.is_news(live);
        let renewed = writing.fresh.take().map(|fresh| fresh.token);
        let is_renewed = renewed.is_some();
        let token = renewed.unwrap_or_else(|| live.token.clone());
        self.shared.events.committed(&token, is_renewed);
        Settled::live(token, Arc::clone(&self.job.draft), is_news)
    }

    /// Returns whether the client is sent the cookie although the session keeps its token.
    fn is_news(&self, live: &Live) -> bool {
        live.outdated || brings_max_age(&self.job.intent, self.shared)
    }

    /// Loads the record after a conflict. From the first conflict on, the commits of one session queue, so that none
    /// starves.
    async fn reread(&mut self, writing: &mut Writing<'a>) -> Result<Loaded, Error> {
        let token = &writing.live.token;
        self.conflicts += 1;
        tracing::debug!(name: "session.conflict", key = ?token.key(), "two requests changed one session at once");
        if let Some(fresh) = &mut writing.fresh {
            fresh.is_retiring = false;
        }
        // An immediate store must not wait here: its future is polled once.
        if writing.queue.is_none() && !self.shared.is_immediate {
            let waiting = self.shared.queues.turn(token.key());
            writing.queue = Some(self.wait(async { Ok(waiting.await) }).await?);
        }
        self.wait(self.store.load(token, self.now())).await
    }

    /// Continues from the record that another request stored, or from the end of the session. Returns `None` if the
    /// write is to be tried again.
    async fn go_on_from(&mut self, found: Loaded, writing: &mut Writing<'a>) -> Result<Option<Settled>, Error> {
        let mut found = match found {
            Loaded::Live(newer) | Loaded::Outdated(newer) => {
                self.deadline.check()?;
                self.replay(&newer)?;
                writing.live.record = newer;
                return Ok(None);
            }
            found => found,
        };
        // The store sent the change twice because its first answer was lost, and finds the tombstone of this very
        // commit.
        if let Some(fresh) = writing.fresh.take_if(|fresh| is_successor(&found, &fresh.token)) {
            return Ok(Some(Settled::live(fresh.token, fresh.record, true)));
        }
        if let Some(successor) = self.follow(writing, &mut found).await? {
            // Another request has replaced the token because of its age. This request goes on with the new token.
            self.job.replaces_token = false;
            writing.live = successor;
            if !self.job.intent.is_change() {
                self.drop_fresh(&mut writing.fresh).await?;
                return Ok(Some(Settled::live(writing.live.token.clone(), Arc::clone(&writing.live.record), true)));
            }
            self.replay(&writing.live.record)?;
            return Ok(None);
        }
        self.drop_fresh(&mut writing.fresh).await?;
        self.begin_anew(&writing.live, &found).await.map(Some)
    }

    /// Finds the session that the token of an ended session leads on to. If that session was left empty, its tombstone
    /// replaces `found`.
    async fn follow(&mut self, writing: &Writing<'a>, found: &mut Loaded) -> Result<Option<Live>, Error> {
        let Loaded::Tombstone(stone) = &*found else { return Ok(None) };
        let finding = Successor::find(&**self.store, &self.shared.renewal_keys, stone, &writing.live.token, self.now());
        match self.wait(finding).await? {
            Successor::Live(successor) => {
                self.deadline.check()?;
                // If this commit fails from here on, its changes belong to the new token, which others know.
                self.job.stored = Stored::Live(successor.clone());
                return Ok(Some(successor));
            }
            Successor::Emptied(stone) => *found = Loaded::Tombstone(stone),
            Successor::None => {}
        }
        Ok(None)
    }

    /// Concludes a commit whose session ended meanwhile. If the request renews, or if another request left the session
    /// empty, a new session begins with this request's changes alone. Otherwise the changes are dropped.
    async fn begin_anew(&mut self, ended: &Live, found: &Loaded) -> Result<Settled, Error> {
        let was_emptied = matches!(found, Loaded::Tombstone(stone) if stone.kind() == TombstoneKind::Emptied);
        if was_emptied || self.job.intent.renew.is_some() {
            self.replay(&Record::blank())?;
            if !self.job.draft.is_empty() {
                return self.create().await;
            }
        }
        if was_emptied {
            return Ok(Settled::unchanged(Stored::New));
        }
        self.shared.events.dropped(&ended.token);
        Ok(Settled::gone(ended.token.clone()))
    }
}
