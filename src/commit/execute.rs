//! The store calls of a commit, in the order that loses nothing.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::Instrument as _;

use super::limit::Limit;
use super::stamp::stamp;
use super::watch::{Met, Watch};
use super::{Attempt, Ending, Fate, Job, Plan, Settled, refusal};
use crate::clock::{micros, span, time};
use crate::error::{Error, Kind, StoreError};
use crate::event::Operation;
use crate::layer::Shared;
use crate::record::{Record, TOMBSTONE, Tombstone, TombstoneKind};
use crate::session::{Base, Inner, Intent, Live, Reply, Session, blank};
use crate::store::{Created, Deadline, Deleted, Led, Loaded, RevocationMark, SessionStore, Updated, led_on};
use crate::token::SessionToken;

/// How many fresh tokens are tried. One collision in 2^192 is a wonder, eight are a broken store.
const MAX_TRIES: usize = 8;

/// Commits a session, going on from what its first write has `met` if that was sent already. The caller has closed its
/// gate.
pub(crate) async fn settle<S: SessionStore>(
    store: &Arc<S>,
    session: &Session,
    ending: Ending,
    met: Option<Box<Met>>,
) -> Result<(), Error> {
    let inner = session.inner();
    let shared = &*inner.shared;
    let now = micros(shared.clock.now());
    if ending == Ending::Reload {
        return Box::pin(reload(store, session, now)).await;
    }
    let job = Job::take(&mut inner.lock(), shared, ending, now)?;
    let (met, watch) = match met.map(|met| *met) {
        Some(Met { answer, watch }) => (Some(answer), watch),
        None => (None, Watch::of(&job, ending)),
    };
    let span = watch.span();
    let commit = Commit {
        limit: Limit::new(shared),
        store,
        shared,
        job,
        met,
        conflicts: 0,
        attempt: None,
        resumed: Reply::Leave,
        watch,
    };
    carry_out(commit, inner, ending).instrument(span).await
}

async fn carry_out<S: SessionStore>(mut commit: Commit<'_, S>, inner: &Inner, ending: Ending) -> Result<(), Error> {
    let (shared, now) = (commit.shared, commit.job.now);
    // A closure that panics takes its commit down, and nothing else of the session.
    let mut unwound = Unwound { inner, intent: (ending == Ending::Explicit).then(|| commit.job.intent.clone()) };
    // Asked before, since what an earlier try stored after all is taken out of the log.
    let has_signed_in = commit.job.intent.sign_in_stamp().is_some();
    let mut done = commit.run().await;
    unwound.intent = None;
    let signs_in = commit.job.intent.sign_in_stamp().is_some();
    if has_signed_in
        && shared.max_sessions_per_owner.is_some()
        && let Ok(settled) = done
    {
        done = Ok(Box::pin(commit.end_overflow(settled)).await);
    }
    if let Ok(Settled { base: Base::Live(live), .. }) = &done {
        commit.watch.live(&live.token);
    }
    commit.watch.end(done.as_ref().ok().map(|settled| settled.fate), commit.conflicts);
    match done.map(|settled| commit.with_resumed(settled)) {
        Ok(Settled { base, mut reply, fate }) => {
            match (ending, &mut reply) {
                (Ending::Response { is_not_modified: true, .. }, reply) => *reply = Reply::Leave,
                (Ending::Response { .. }, Reply::Set { as_of, .. }) => *as_of = Some(now),
                _ => {}
            }
            inner.rebase(base, reply);
            match fate {
                Fate::Stored => Ok(()),
                // A late write may be dropped in silence; an answer that says "welcome" without a session may not.
                Fate::Refused if signs_in => Err(Kind::Refused.into()),
                _ if ending == Ending::Explicit => Err(Kind::Gone.into()),
                _ => {
                    inner.lock().dropped = true;
                    Ok(())
                }
            }
        }
        Err(error) => {
            report(shared, &error);
            commit.leave_unanswered();
            let resumed = std::mem::take(&mut commit.resumed);
            let mut state = inner.lock();
            state.reply = resumed.or_keep(std::mem::take(&mut state.reply));
            commit.job.give_back(&mut state, ending);
            Err(error)
        }
    }
}

/// A collision that chance does not explain: the randomness or the store is broken.
pub(super) fn warn_of_taken(fresh: &SessionToken) {
    tracing::warn!(name: "session.token.taken", key = ?fresh.key(), "a fresh session token was taken");
}

pub(super) fn report(shared: &Shared, error: &Error) {
    // A refusal was reported where it was met.
    if !error.is_gone() {
        shared.events.failed(Operation::Commit, error);
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
    let live = match base {
        Base::Live(live) => live,
        Base::New => return Ok(()),
        Base::Dead(_) | Base::Retired(_) => return Err(Kind::Gone.into()),
        Base::Unavailable => return Err(Kind::Unavailable.into()),
    };
    let limit = Limit::new(shared);
    let told = |error: &Error| shared.events.failed(Operation::Load, error);
    let base = match limit.wait(store.load(&live.token, time(now))).await.inspect_err(told)? {
        Loaded::Live(record) => Base::Live(Live { record, ..live }),
        Loaded::Outdated(record) => Base::Live(Live { record, outdated: true, ..live }),
        Loaded::Tombstone(stone) if stone.kind() == TombstoneKind::Emptied => Base::New,
        Loaded::Tombstone(stone) => {
            match limit.wait(led_on(&**store, &stone, &live.token, time(now))).await.inspect_err(told)? {
                Led::To(successor) => Base::Live(successor),
                Led::ToEmptied(_) => Base::New,
                Led::Nowhere => Base::Retired(Some(live.token)),
            }
        }
        Loaded::Absent => Base::Retired(Some(live.token)),
    };
    let is_gone = base.is_over();
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

pub(super) struct Commit<'a, S> {
    pub(super) store: &'a Arc<S>,
    pub(super) shared: &'a Shared,
    pub(super) limit: Limit,
    pub(super) job: Job,
    /// The answer to the first write, if it was sent already.
    pub(super) met: Option<Updated>,
    /// How many writes came too late.
    pub(super) conflicts: usize,
    /// What the store was asked and has not answered.
    pub(super) attempt: Option<Attempt>,
    /// What an earlier try has to tell the client.
    pub(super) resumed: Reply,
    pub(super) watch: Watch,
}

impl<S: SessionStore> Commit<'_, S> {
    async fn run(&mut self) -> Result<Settled, Error> {
        if let Some(stamp) = self.job.intent.sign_in_stamp() {
            // A store keeps the mark of a revocation only so long.
            if self.job.now.saturating_sub(stamp) >= span(RevocationMark::LIFETIME) {
                return Err(Kind::Stale.into());
            }
        }
        if let Some(earlier) = self.job.intent.pending.clone()
            && let Some(settled) = Box::pin(self.resume(*earlier)).await?
        {
            return Ok(settled);
        }
        if self.job.is_stale {
            let on = self.job.base.record().filter(|_| !self.job.intent.destroy).cloned();
            self.job.draft = Arc::new(self.replay(&on.unwrap_or_else(blank))?);
        }
        let live = match &self.job.base {
            Base::Live(live) => Some(live.clone()),
            _ => None,
        };
        if let Base::Retired(Some(token)) = &self.job.base
            && self.job.intent.destroy
        {
            Box::pin(self.destroy(token.clone(), Base::Retired(None))).await?;
            if self.job.plan == Plan::Destroy {
                let fate = if self.job.intent.edited { Fate::Gone } else { Fate::Stored };
                return Ok(Settled { fate, ..Settled::unchanged(Base::Retired(None)) });
            }
        }
        match (self.job.plan, live) {
            (Plan::Destroy, Some(live)) => {
                let reply = Box::pin(self.destroy(live.token, Base::New)).await?;
                Ok(Settled { reply, ..Settled::unchanged(Base::New) })
            }
            (Plan::Create, Some(live)) => {
                let reply = Box::pin(self.destroy(live.token, Base::New)).await?;
                let created = self.create(Arc::clone(&self.job.draft)).await?;
                Ok(Settled { reply: created.reply.or_keep(reply), ..created })
            }
            (Plan::Create, None) => self.create(Arc::clone(&self.job.draft)).await,
            (Plan::Write, Some(live)) => self.change(live).await,
            (Plan::Touch(deadline), Some(live)) => Ok(Box::pin(self.touch(live, deadline)).await),
            (Plan::Refuse, _) => {
                tracing::debug!(name: "session.changes.refused", "changes to a session that has ended are dropped");
                Ok(Settled { fate: Fate::Gone, ..Settled::unchanged(self.job.base.clone()) })
            }
            _ => Ok(Settled::unchanged(self.job.base.clone())),
        }
    }

    /// Begins a session under a token that the client has never seen.
    pub(super) async fn create(&mut self, mut record: Arc<Record>) -> Result<Settled, Error> {
        if !self.job.can_send {
            return self.cannot_send(self.job.base.clone());
        }
        self.stamp(Arc::make_mut(&mut record), None)?;
        Ok(match self.insert(&record).await? {
            Some(token) => {
                self.shared.events.began(&token);
                Settled::live(token, record, true)
            }
            None => Settled::refused(self.job.base.clone()),
        })
    }

    /// A new token is needed where no cookie can be sent: an error for who can handle it, a warning at the end.
    pub(super) fn cannot_send(&self, base: Base) -> Result<Settled, Error> {
        if !self.job.is_last {
            return Err(Kind::ResponseSent.into());
        }
        tracing::warn!(
            name: "session.changes.unsent",
            "a response that carries no session cookie cannot begin or renew a session: changes are dropped"
        );
        Ok(Settled { fate: Fate::Unsent, ..Settled::unchanged(base) })
    }

    /// Stores a record under a fresh token; `None` if its owner's sessions were revoked meanwhile.
    pub(super) async fn insert(&mut self, record: &Arc<Record>) -> Result<Option<SessionToken>, Error> {
        // One that was tried already, and taken, is among them.
        let tried = usize::from(self.met.take().is_some());
        for _ in tried..MAX_TRIES {
            let fresh = self.shared.random.token()?;
            self.attempt(&fresh, record.version, true);
            let asked = self.wait(self.store.create(&fresh, record, self.now())).await;
            let created = asked.map_err(|error| error.naming(record))?;
            self.attempt = None;
            match created {
                Created::Stored => return Ok(Some(fresh)),
                Created::Instead(token) => return Ok(Some(token)),
                Created::Taken => warn_of_taken(&fresh),
                Created::Revoked(mark) => {
                    refusal::heed(self.shared, &mark, self.job.now);
                    return Ok(None);
                }
            }
        }
        Err(StoreError::new("every fresh token is taken").into())
    }

    /// Moves the deadline. A failure costs the client nothing but a little of its time.
    async fn touch(&self, live: Live, deadline: u64) -> Settled {
        let asked = self.store.touch(&live.token, live.record.version, time(deadline), self.now());
        let token = match self.wait(asked).await {
            Ok(Updated::Done) => live.token,
            Ok(Updated::Instead(token)) => token,
            Ok(Updated::Conflict | Updated::Gone) => return Settled::unchanged(Base::Live(live)),
            Err(error) => {
                self.shared.events.failed(Operation::Touch, &error);
                return Settled::unchanged(Base::Live(live));
            }
        };
        self.shared.events.refreshed(&token);
        let mut record = live.record;
        Arc::make_mut(&mut record).touch(time(deadline), self.now());
        Settled::live(token, record, true)
    }

    /// Ends a session, and whatever it was renewed to meanwhile.
    ///
    /// Where another request had ended it already, the client's cookie is left alone: it may be that of a sign-in since.
    async fn destroy(&mut self, mut token: SessionToken, left: Base) -> Result<Reply, Error> {
        let has_ended = loop {
            let found = self.wait(self.store.delete(&token, TOMBSTONE, self.now())).await?;
            let Deleted::Retired(stone) = found else { break found == Deleted::Done };
            let Some(successor) = stone.successor(&token) else {
                // Its own tombstone, where the store sent the call again.
                break stone == self.tombstone(TombstoneKind::Destroyed);
            };
            token = successor;
        };
        self.shared.events.destroyed(&token, has_ended);
        self.job.intent.destroy = false;
        self.job.base = left;
        Ok(if has_ended || self.shared.is_sealed() { Reply::Remove } else { Reply::Leave })
    }

    pub(super) fn replay(&self, on: &Record) -> Result<Record, Error> {
        self.job.intent.replay(on, self.shared.max_record_len).map(|(record, _)| record)
    }

    /// Gives a record that is about to be stored what it needs, and says what becomes of the stored deadline.
    pub(super) fn stamp(&self, record: &mut Record, before: Option<&Record>) -> Result<Deadline, Error> {
        let (lifetime, now) = (&self.shared.lifetime, self.job.now);
        if stamp(record, before.map(Record::version), self.shared, now)? {
            return Ok(Deadline::Set);
        }
        if self.job.intent.sets_idle() {
            record.deadline = lifetime.deadline(record, now);
            return Ok(Deadline::Set);
        }
        let refresh = lifetime.refresh(record, now).filter(|_| self.job.may_refresh);
        record.deadline = refresh.unwrap_or(record.deadline);
        Ok(if refresh.is_some() { Deadline::Extend } else { Deadline::Keep })
    }

    pub(super) fn tombstone(&self, kind: TombstoneKind) -> Tombstone {
        Tombstone::new(kind, TOMBSTONE, self.now())
    }

    pub(super) fn now(&self) -> SystemTime {
        time(self.job.now)
    }

    pub(super) async fn wait<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, Error> {
        self.limit.wait(asked).await
    }
}
