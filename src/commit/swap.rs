//! Writing what is there already: compare-and-swap, and a replay on whatever another request stored first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::MutexGuard;

use super::execute::Commit;
use super::retreat::{is_successor, retreat};
use super::{Settled, refusal};
use crate::error::Error;
use crate::event::Operation;
use crate::record::{GRACE, Record, TOMBSTONE, Tombstone, TombstoneKind};
use crate::session::{Base, Live, Reply, blank};
use crate::store::{Change, Deadline, Led, Loaded, SessionStore, Updated, led_on};
use crate::token::SessionToken;

/// What a renewal stored under a token that nobody knows yet.
struct Fresh {
    token: SessionToken,
    record: Arc<Record>,
    /// Whether the store was asked to retire the old record and has not said that it did not.
    is_retiring: bool,
}

impl<'a, S: SessionStore> Commit<'a, S> {
    /// Writes a live session, under a fresh token if it is to be renewed.
    pub(super) async fn change(&mut self, live: Live) -> Result<Settled, Error> {
        let (mut live, mut fresh) = (live, None);
        let result = self.swap(&mut live, &mut fresh).await;
        if self.conflicts > 0 {
            self.shared.events.conflicted(&live.token, self.conflicts);
        }
        if let (Err(_), Some(Fresh { token: fresh, record, is_retiring })) = (&result, fresh) {
            let settled = retreat(self.store, self.shared, &live.token, fresh.clone(), live.record, self.now());
            // Only where the old token may have died is the answer worth waiting for: the client has to be sent the one
            // that lives.
            if is_retiring && settled.wait().await {
                return Ok(Settled::live(fresh, record, true));
            }
        }
        match result {
            // As with a deadline that cannot be moved: nothing was asked for, and the next request tries again.
            Err(error) if self.job.replaces_token && !self.job.intent.is_change() => {
                self.shared.events.failed(Operation::Renew, &error);
                self.leave_unanswered();
                Ok(Settled::unchanged(self.job.base.clone()))
            }
            result => result,
        }
    }

    /// Writes by compare-and-swap, playing the changes again on whatever another request stored first. For a renewal
    /// the new record is durable before the old one becomes a tombstone, by compare-and-swap as well: what others
    /// commit until then is carried over.
    async fn swap(&mut self, live: &mut Live, fresh: &mut Option<Fresh>) -> Result<Settled, Error> {
        let Live { token, record: from, outdated } = live;
        let mut record = Arc::clone(&self.job.draft);
        let mut queue = None;
        loop {
            let is_empty = record.is_empty();
            let asks = self.job.intent.renew.is_some() || self.job.replaces_token;
            let renews = asks && !self.shared.is_sealed() && !is_empty;
            let rule = self.stamp(Arc::make_mut(&mut record), Some(from))?;
            if renews {
                let renewed = self.shared.lifetime.renewed(&record, self.job.now);
                Arc::make_mut(&mut record).renewed = renewed;
            }
            let unchanged = || Base::Live(Live { token: token.clone(), record: Arc::clone(from), outdated: false });
            if renews && !self.job.can_send {
                return self.cannot_send(unchanged());
            }
            // The rare ways are boxed, or every commit would have to move what they might need.
            let is_fresh = renews || fresh.is_some();
            if is_fresh && !Box::pin(self.prepare_fresh(fresh, renews.then_some(&record))).await? {
                // Only the new record was refused. What it was to replace lives on, unless it was the owner's as well.
                return Ok(Settled::refused(unchanged()));
            }
            let change = match fresh.as_mut() {
                Some(fresh) => {
                    let stone = match self.job.intent.renew {
                        Some(_) => self.tombstone(TombstoneKind::Renewed),
                        None => Tombstone::new(TombstoneKind::Forwarded, GRACE + TOMBSTONE, self.now()),
                    };
                    let stone = stone.with_successor(token, &fresh.token, self.shared.random.bytes()?);
                    fresh.is_retiring = true;
                    Change::Retire(stone)
                }
                None if is_empty => Change::Retire(self.tombstone(TombstoneKind::Emptied)),
                None => Change::Replace(Arc::clone(&record), rule),
            };
            if fresh.is_none() && !is_empty {
                self.attempt(token, record.version, rule != Deadline::Keep || *outdated);
            }
            let updated = if let Some(met) = self.met.take() {
                met
            } else {
                let asked = self.wait(self.store.update(token, from.version, &change, self.now())).await;
                asked.map_err(|error| error.naming(&record))?
            };
            self.attempt = None;
            if updated != Updated::Conflict {
                // Whoever hears of the outcome may take its time, and holds nobody up.
                queue = None;
            }
            let found = match updated {
                Updated::Done if is_empty => {
                    self.shared.events.removed(token);
                    return Ok(Settled { reply: Reply::Remove, ..Settled::unchanged(Base::New) });
                }
                Updated::Done => {
                    let is_same = fresh.is_none() && rule == Deadline::Keep && !*outdated;
                    let renewed = fresh.take().map(|fresh| fresh.token);
                    let is_renewed = renewed.is_some();
                    let token = renewed.unwrap_or_else(|| token.clone());
                    self.shared.events.committed(&token, is_renewed);
                    return Ok(Settled::live(token, record, !is_same));
                }
                Updated::Instead(token) => {
                    let is_renewed = self.job.intent.renew.is_some();
                    self.shared.events.committed(&token, is_renewed);
                    return Ok(Settled::live(token, record, true));
                }
                Updated::Conflict => {
                    if let Some(fresh) = fresh {
                        fresh.is_retiring = false;
                    }
                    Box::pin(self.reread(token, &mut queue)).await?
                }
                Updated::Gone => self.wait(self.store.load(token, self.now())).await?,
            };
            match found {
                Loaded::Live(newer) | Loaded::Outdated(newer) => {
                    self.limit.check()?;
                    record = Arc::new(self.replay(&newer)?);
                    *from = newer;
                }
                mut found => {
                    // The store sent the retiring again, since its first answer was lost.
                    if let Some(fresh) = fresh.take_if(|fresh| is_successor(&found, token, &fresh.token)) {
                        return Ok(Settled::live(fresh.token, fresh.record, true));
                    }
                    if let Some(successor) = Box::pin(self.led_on(token, &mut found)).await? {
                        // Another request has replaced the token because of its age: this one goes on with the new one.
                        self.job.replaces_token = false;
                        (*token, *from, *outdated) = (successor.token, successor.record, true);
                        if !self.job.intent.is_change() {
                            Box::pin(self.prepare_fresh(fresh, None)).await?;
                            return Ok(Settled::live(token.clone(), Arc::clone(from), true));
                        }
                        record = Arc::new(self.replay(from)?);
                        continue;
                    }
                    Box::pin(self.prepare_fresh(fresh, None)).await?;
                    return Box::pin(self.begin_anew(token, &found)).await;
                }
            }
        }
    }

    /// Stores what a renewal is to bring under a fresh token, or removes it if there is nothing to renew after all.
    /// `false` if the owner's sessions were revoked meanwhile.
    async fn prepare_fresh(&mut self, fresh: &mut Option<Fresh>, record: Option<&Arc<Record>>) -> Result<bool, Error> {
        match (fresh.as_mut(), record) {
            (None, None) => {}
            (None, Some(record)) => {
                let token = self.insert(record).await?;
                *fresh = token.map(|token| Fresh { token, record: record.clone(), is_retiring: false });
                return Ok(fresh.is_some());
            }
            (Some(Fresh { token, record: stored, .. }), Some(record)) => {
                let change = Change::Replace(Arc::clone(record), Deadline::Set);
                let asked = self.wait(self.store.update(token, stored.version, &change, self.now())).await;
                let updated = asked.map_err(|error| error.naming(record))?;
                *stored = record.clone();
                if updated != Updated::Done {
                    // Nobody else knows the fresh token: only a revocation of its owner can have ended it.
                    refusal::came_too_late();
                    *fresh = None;
                    return Ok(false);
                }
            }
            (Some(Fresh { token, .. }), None) => {
                self.wait(self.store.delete(token, Duration::ZERO, self.now())).await?;
                *fresh = None;
            }
        }
        Ok(true)
    }

    /// What the token of a session that ended under this request leads on to. Where that ended as well, and was left empty,
    /// this is what was `found`.
    async fn led_on(&mut self, token: &SessionToken, found: &mut Loaded) -> Result<Option<Live>, Error> {
        let Loaded::Tombstone(stone) = &*found else { return Ok(None) };
        match self.wait(led_on(&**self.store, stone, token, self.now())).await? {
            Led::To(successor) => {
                self.limit.check()?;
                // What cannot be finished belongs to the new token from here on, which others know.
                self.job.base = Base::Live(successor.clone());
                return Ok(Some(successor));
            }
            Led::ToEmptied(stone) => *found = Loaded::Tombstone(stone),
            Led::Nowhere => {}
        }
        Ok(None)
    }

    /// The session ended under this request. One that renews, or that meets a session another emptied, begins anew with
    /// nothing but its own changes; any other lets them go.
    async fn begin_anew(&mut self, token: &SessionToken, found: &Loaded) -> Result<Settled, Error> {
        let was_emptied = matches!(found, Loaded::Tombstone(stone) if stone.kind() == TombstoneKind::Emptied);
        if was_emptied || self.job.intent.renew.is_some() {
            let own = self.replay(&blank())?;
            if !own.is_empty() {
                return self.create(Arc::new(own)).await;
            }
        }
        if was_emptied {
            return Ok(Settled::unchanged(Base::New));
        }
        self.shared.events.dropped(token);
        Ok(Settled::gone(token.clone()))
    }

    /// Loads after a conflict. From the first one on, commits of one session queue, lest some starve.
    async fn reread(&mut self, token: &SessionToken, queue: &mut Option<MutexGuard<'a, ()>>) -> Result<Loaded, Error> {
        self.conflicts += 1;
        tracing::debug!(name: "session.conflict", key = ?token.key(), "two requests changed one session at once");
        // An immediate store must not wait here: its future is polled once.
        if queue.is_none() && !self.shared.is_immediate {
            let waiting = self.shared.queue(token).lock();
            *queue = Some(self.wait(async { Ok(waiting.await) }).await?);
        }
        self.wait(self.store.load(token, self.now())).await
    }
}
