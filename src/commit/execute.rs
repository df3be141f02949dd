//! The store calls of a commit, in the order that loses nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::MutexGuard;

use super::limit::Limit;
use super::retreat::{is_successor, retreat};
use super::{Attempt, Ending, Job, Plan, Settled, refusal};
use crate::clock::{micros, span, time};
use crate::error::{Error, Kind, StoreError};
use crate::layer::Shared;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::session::{Base, Inner, Intent, Live, Reply, Session, blank, fits};
use crate::store::{Change, Created, Deadline, Deleted, Loaded, RevocationMark, SessionStore, Updated};
use crate::token::SessionToken;

/// How long the tombstone of a session stands.
pub(crate) const TOMBSTONE: Duration = Duration::from_secs(60);
/// How many fresh tokens are tried. One collision in 2^192 is a wonder, eight are a broken store.
const MAX_TRIES: usize = 8;

/// Commits a session. The caller holds its gate.
pub(crate) async fn settle<S: SessionStore>(store: &Arc<S>, session: &Session, ending: Ending) -> Result<(), Error> {
    let inner = session.inner();
    let shared = &*inner.shared;
    let now = micros(shared.clock.now());
    if ending == Ending::Reload {
        return reload(store, session, now).await;
    }
    let job = Job::take(&mut inner.lock(), shared, ending, now)?;
    let mut commit = Commit { limit: Limit::new(shared), store, shared, job, attempt: None, resumed: Reply::Leave };
    // A closure that panics takes its commit down, and nothing else of the session.
    let mut unwound = Unwound { inner, intent: (ending == Ending::Explicit).then(|| commit.job.intent.clone()) };
    let done = commit.run().await;
    unwound.intent = None;
    let signs_in = commit.job.intent.sign_in_stamp().is_some();
    // A late write may be dropped in silence; an answer that says "welcome" without a session may not.
    let done = match done {
        Ok(Settled { gone: true, .. }) if signs_in && ending != Ending::Explicit => Err(Kind::Refused.into()),
        done => done,
    };
    match done.map(|settled| commit.with_resumed(settled)) {
        Ok(Settled { base, mut reply, gone }) => {
            match (ending, &mut reply) {
                (Ending::Response { is_not_modified: true, .. }, reply) => *reply = Reply::Leave,
                (Ending::Response { .. }, Reply::Set { as_of, .. }) => *as_of = Some(now),
                _ => {}
            }
            inner.rebase(base, reply);
            match gone && ending == Ending::Explicit {
                true if signs_in => Err(Kind::Refused.into()),
                true => Err(Kind::Gone.into()),
                false => Ok(()),
            }
        }
        Err(error) => {
            // A refusal was reported where it was met.
            if !error.is_gone() {
                let source = std::error::Error::source(&error);
                tracing::error!(%error, source, "a session could not be committed");
            }
            commit.leave_unanswered();
            let resumed = std::mem::take(&mut commit.resumed);
            let mut state = inner.lock();
            state.reply = resumed.or_keep(std::mem::take(&mut state.reply));
            commit.job.give_back(&mut state, ending);
            Err(error)
        }
    }
}

async fn reload<S: SessionStore>(store: &Arc<S>, session: &Session, now: u64) -> Result<(), Error> {
    let inner = session.inner();
    let shared = &*inner.shared;
    let base = {
        let mut state = inner.lock();
        // Whether the session is still there is an answer too.
        state.accessed = true;
        state.base.clone()
    };
    let Base::Live(live) = base else {
        return Ok(());
    };
    if shared.is_sealed() {
        return Ok(());
    }
    let base = match Limit::new(shared).wait(store.load(&live.token, time(now))).await? {
        Loaded::Live(record) => Base::Live(Live { record, ..live }),
        Loaded::Outdated(record) => Base::Live(Live { record, outdated: true, ..live }),
        Loaded::Tombstone(stone) if stone.kind() == TombstoneKind::Emptied => Base::New,
        Loaded::Tombstone(_) | Loaded::Absent => Base::Retired(Some(live.token)),
    };
    let is_gone = matches!(base, Base::Retired(_));
    inner.rebase(base, Reply::Leave);
    if is_gone { Err(Kind::Gone.into()) } else { Ok(()) }
}

/// Gives the changes back where a closure of the program panics while they are played again.
struct Unwound<'a> {
    inner: &'a Inner,
    intent: Option<Intent>,
}

impl Drop for Unwound<'_> {
    fn drop(&mut self) {
        if let (Some(intent), Some(work)) = (self.intent.take(), &mut self.inner.lock().work) {
            work.intent.prepend(intent);
            work.is_stale = true;
        }
    }
}

/// What a renewal stored under a token that nobody knows yet.
struct Fresh {
    token: SessionToken,
    record: Record,
    /// Whether the store was asked to retire the old record and has not said that it did not.
    is_retiring: bool,
}

pub(super) struct Commit<'a, S> {
    pub(super) store: &'a Arc<S>,
    pub(super) shared: &'a Shared,
    limit: Limit,
    pub(super) job: Job,
    /// What the store was asked and has not answered.
    pub(super) attempt: Option<Attempt>,
    /// What an earlier try has to tell the client.
    pub(super) resumed: Reply,
}

impl<'a, S: SessionStore> Commit<'a, S> {
    async fn run(&mut self) -> Result<Settled, Error> {
        if let Some(stamp) = self.job.intent.sign_in_stamp() {
            // A store keeps the mark of a revocation only so long.
            if self.job.now.saturating_sub(stamp) >= span(RevocationMark::LIFETIME) {
                return Err(Kind::Stale.into());
            }
        }
        if let Some(earlier) = self.job.intent.pending.take()
            && let Some(settled) = self.resume(*earlier).await?
        {
            return Ok(settled);
        }
        if self.job.is_stale {
            let on = self.job.base.record().filter(|_| !self.job.intent.destroy).cloned();
            self.job.draft = self.replay(&on.unwrap_or_else(blank))?;
        }
        let live = match &self.job.base {
            Base::Live(live) => Some(live.clone()),
            _ => None,
        };
        if let (Plan::Destroy, Base::Retired(Some(token))) = (self.job.plan, &self.job.base) {
            self.destroy(token.clone()).await?;
            return Ok(Settled::unchanged(Base::New));
        }
        match (self.job.plan, live) {
            (Plan::Destroy, Some(live)) => {
                self.destroy(live.token).await?;
                Ok(Settled { base: Base::New, reply: Reply::Remove, gone: false })
            }
            (Plan::Create, Some(live)) => {
                self.destroy(live.token).await?;
                let created = self.create(self.job.draft.clone()).await?;
                Ok(Settled { reply: created.reply.or_keep(Reply::Remove), ..created })
            }
            (Plan::Create, None) => self.create(self.job.draft.clone()).await,
            (Plan::Write, Some(live)) => self.change(live).await,
            (Plan::Touch(deadline), Some(live)) => Ok(self.touch(live, deadline).await),
            (Plan::Refuse, _) => {
                tracing::debug!("changes to a session that has ended are dropped");
                Ok(Settled { gone: true, ..Settled::unchanged(self.job.base.clone()) })
            }
            _ => Ok(Settled::unchanged(self.job.base.clone())),
        }
    }

    /// Begins a session under a token that the client has never seen.
    async fn create(&mut self, record: Record) -> Result<Settled, Error> {
        if !self.job.can_send {
            return self.cannot_send(Base::New);
        }
        let (record, _) = self.stamp(record, None)?;
        Ok(match self.insert(&record).await? {
            Some(token) => {
                tracing::debug!(key = ?token.key(), "a session began");
                Settled::live(token, record, true)
            }
            None => Settled::gone(None),
        })
    }

    /// A new token is needed where no cookie can be sent: an error for who can handle it, a warning at the end.
    fn cannot_send(&self, base: Base) -> Result<Settled, Error> {
        if !self.job.is_last {
            return Err(Kind::ResponseSent.into());
        }
        tracing::warn!(
            "a response that carries no session cookie cannot begin or renew a session: changes are dropped"
        );
        Ok(Settled::unchanged(base))
    }

    /// Stores a record under a fresh token; `None` if its owner's sessions were revoked meanwhile.
    async fn insert(&mut self, record: &Record) -> Result<Option<SessionToken>, Error> {
        for _ in 0..MAX_TRIES {
            let fresh = self.shared.random.token()?;
            self.attempt(&fresh, record.version, true);
            let created = self.wait(self.store.create(&fresh, record, self.now())).await?;
            self.attempt = None;
            match created {
                Created::Stored => return Ok(Some(fresh)),
                Created::Instead(token) => return Ok(Some(token)),
                Created::Taken => tracing::warn!(key = ?fresh.key(), "a fresh session token was taken"),
                Created::Revoked(mark) => {
                    refusal::heed(self.shared, &mark, self.job.now);
                    return Ok(None);
                }
            }
        }
        Err(StoreError::new("every fresh token is taken").into())
    }

    /// Writes a live session, under a fresh token if it is to be renewed.
    async fn change(&mut self, live: Live) -> Result<Settled, Error> {
        let Live { token, record: mut from, .. } = live;
        let mut fresh = None;
        let result = self.swap(&token, &mut from, &mut fresh).await;
        if let (Err(_), Some(Fresh { token: fresh, record, is_retiring })) = (&result, fresh) {
            let settled = retreat(self.store, self.shared, &token, fresh.clone(), from, self.now());
            // Only where the old token may have died is the answer worth waiting for: the client has to be sent the one
            // that lives.
            if is_retiring && settled.wait().await {
                return Ok(Settled::live(fresh, record, true));
            }
        }
        result
    }

    /// Writes by compare-and-swap, playing the changes again on whatever another request stored first. For a renewal
    /// the new record is durable before the old one becomes a tombstone, by compare-and-swap as well: what others
    /// commit until then is carried over.
    async fn swap(
        &mut self,
        token: &SessionToken,
        from: &mut Record,
        fresh: &mut Option<Fresh>,
    ) -> Result<Settled, Error> {
        let mut next = self.job.draft.clone();
        let mut queue = None;
        loop {
            self.limit.check()?;
            let is_empty = next.is_empty();
            let renews = self.job.intent.renew.is_some() && !self.shared.is_sealed() && !is_empty;
            let (record, rule) = self.stamp(next, Some(from))?;
            if renews && !self.job.can_send {
                return self.cannot_send(Base::Live(Live {
                    token: token.clone(),
                    record: from.clone(),
                    outdated: false,
                }));
            }
            if !self.prepare_fresh(fresh, renews.then_some(&record)).await? {
                return Ok(Settled::gone(Some(token.clone())));
            }
            let change = match fresh.as_mut() {
                Some(fresh) => {
                    let stone = self.tombstone(TombstoneKind::Renewed);
                    let stone = stone.with_successor(token, &fresh.token, self.shared.random.bytes()?);
                    fresh.is_retiring = true;
                    Change::Retire(stone)
                }
                None if is_empty => Change::Retire(self.tombstone(TombstoneKind::Emptied)),
                None => Change::Replace(record.clone(), rule),
            };
            if fresh.is_none() && !is_empty {
                self.attempt(token, record.version, rule != Deadline::Keep);
            }
            let updated = self.wait(self.store.update(token, from.version, &change, self.now())).await?;
            self.attempt = None;
            let found = match updated {
                Updated::Done if is_empty => {
                    tracing::debug!(key = ?token.key(), "a session that was left empty was removed");
                    return Ok(Settled { base: Base::New, reply: Reply::Remove, gone: false });
                }
                Updated::Done => {
                    let is_same = fresh.is_none() && rule == Deadline::Keep;
                    let renewed = fresh.take().map(|fresh| fresh.token);
                    let is_renewed = renewed.is_some();
                    let token = renewed.unwrap_or_else(|| token.clone());
                    tracing::debug!(key = ?token.key(), is_renewed, "a session was committed");
                    return Ok(Settled::live(token, record, !is_same));
                }
                Updated::Instead(token) => {
                    tracing::debug!(key = ?token.key(), "a session was committed");
                    return Ok(Settled::live(token, record, true));
                }
                Updated::Conflict => {
                    if let Some(fresh) = fresh {
                        fresh.is_retiring = false;
                    }
                    self.reread(token, &mut queue).await?
                }
                Updated::Gone => self.wait(self.store.load(token, self.now())).await?,
            };
            match found {
                Loaded::Live(newer) | Loaded::Outdated(newer) => {
                    next = self.replay(&newer)?;
                    *from = newer;
                }
                found => {
                    // The store sent the retiring again, since its first answer was lost.
                    if let Some(fresh) = fresh.take_if(|fresh| is_successor(&found, token, &fresh.token)) {
                        return Ok(Settled::live(fresh.token, fresh.record, true));
                    }
                    self.prepare_fresh(fresh, None).await?;
                    return self.begin_anew(token, &found).await;
                }
            }
        }
    }

    /// Stores what a renewal is to bring under a fresh token, or removes it if there is nothing to renew after all.
    /// `false` if the owner's sessions were revoked meanwhile.
    async fn prepare_fresh(&mut self, fresh: &mut Option<Fresh>, record: Option<&Record>) -> Result<bool, Error> {
        match (fresh.as_mut(), record) {
            (None, None) => {}
            (None, Some(record)) => {
                let token = self.insert(record).await?;
                *fresh = token.map(|token| Fresh { token, record: record.clone(), is_retiring: false });
                return Ok(fresh.is_some());
            }
            (Some(Fresh { token, record: stored, .. }), Some(record)) => {
                let change = Change::Replace(record.clone(), Deadline::Set);
                let updated = self.wait(self.store.update(token, stored.version, &change, self.now())).await?;
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

    /// Moves the deadline. A failure costs the client nothing but a little of its time.
    async fn touch(&self, live: Live, deadline: u64) -> Settled {
        let asked = self.store.touch(&live.token, live.record.version, time(deadline), self.now());
        let token = match self.wait(asked).await {
            Ok(Updated::Done) => live.token,
            Ok(Updated::Instead(token)) => token,
            Ok(Updated::Conflict | Updated::Gone) => return Settled::unchanged(Base::Live(live)),
            Err(error) => {
                let source = std::error::Error::source(&error);
                tracing::warn!(%error, source, "a session's deadline could not be moved");
                return Settled::unchanged(Base::Live(live));
            }
        };
        tracing::debug!(key = ?token.key(), "a session's deadline was moved");
        let mut record = live.record;
        record.touch(time(deadline), self.now());
        Settled::live(token, record, true)
    }

    /// Ends a session, and whatever it was renewed to meanwhile.
    async fn destroy(&mut self, mut token: SessionToken) -> Result<(), Error> {
        loop {
            let found = self.wait(self.store.delete(&token, TOMBSTONE, self.now())).await?;
            let Deleted::Retired(stone) = found else { break };
            let Some(successor) = stone.successor(&token) else { break };
            token = successor;
        }
        tracing::debug!(key = ?token.key(), "a session was destroyed");
        self.job.intent.destroy = false;
        self.job.base = Base::New;
        Ok(())
    }

    /// The session ended under this request. One that renews, or that meets a session another emptied, begins anew with
    /// nothing but its own changes; any other lets them go.
    async fn begin_anew(&mut self, token: &SessionToken, found: &Loaded) -> Result<Settled, Error> {
        let was_emptied = matches!(found, Loaded::Tombstone(stone) if stone.kind() == TombstoneKind::Emptied);
        if was_emptied || self.job.intent.renew.is_some() {
            let own = self.replay(&blank())?;
            if !own.is_empty() {
                return self.create(own).await;
            }
        }
        if was_emptied {
            return Ok(Settled::unchanged(Base::New));
        }
        tracing::debug!(key = ?token.key(), "a session ended while a request held it, whose changes are dropped");
        Ok(Settled::gone(Some(token.clone())))
    }

    pub(super) fn replay(&self, on: &Record) -> Result<Record, Error> {
        self.job.intent.replay(on, self.shared.max_record_len).map(|(record, _)| record)
    }

    /// Gives a record that is about to be stored its version and times, and what a new session lacks.
    fn stamp(&self, mut record: Record, before: Option<&Record>) -> Result<(Record, Deadline), Error> {
        let (Shared { random, lifetime, .. }, now) = (self.shared, self.job.now);
        record.version = random.version(before.map(Record::version))?;
        record.seen = record.seen.max(now);
        if record.handle == blank().handle {
            record.handle = random.handle()?;
        }
        if record.csrf == blank().csrf {
            record.csrf = random.bytes()?;
        }
        fits(&record, self.shared.max_record_len)?;
        let begins = record.created == 0;
        if begins {
            // Zero is what a session has that did not begin yet, and also what a clock shows that was never set.
            record.created = now.max(1);
            record.absolute = lifetime.absolute_deadline(now);
        }
        if begins || self.job.intent.sets_idle() {
            record.deadline = lifetime.deadline(&record, now);
            return Ok((record, Deadline::Set));
        }
        let refresh = lifetime.refresh(&record, now).filter(|_| self.job.may_refresh);
        record.deadline = refresh.unwrap_or(record.deadline);
        Ok((record, if refresh.is_some() { Deadline::Extend } else { Deadline::Keep }))
    }

    fn tombstone(&self, kind: TombstoneKind) -> Tombstone {
        Tombstone::new(kind, TOMBSTONE, self.now())
    }

    pub(super) fn now(&self) -> SystemTime {
        time(self.job.now)
    }

    /// Loads after a conflict. From the first one on, commits of one session queue, lest some starve.
    async fn reread(&self, token: &SessionToken, queue: &mut Option<MutexGuard<'a, ()>>) -> Result<Loaded, Error> {
        tracing::debug!(key = ?token.key(), "two requests changed one session at once");
        self.limit.check()?;
        // An immediate store must not wait here: its future is polled once.
        if queue.is_none() && !self.shared.is_immediate {
            let waiting = self.shared.queue(token).lock();
            *queue = Some(self.wait(async { Ok(waiting.await) }).await?);
        }
        self.wait(self.store.load(token, self.now())).await
    }

    pub(super) async fn wait<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, Error> {
        self.limit.wait(asked).await
    }
}
