//! The store calls of a commit, in the order that loses nothing.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::Instrument as _;

use super::span::CommitSpan;
use super::{Job, Outcome, Plan, Settled, Successor, prepare};
use crate::clock::{micros, time};
use crate::error::{Error, Kind, StoreError};
use crate::event::Operation;
use crate::record::{Record, TOMBSTONE, Tombstone, TombstoneKind, Version};
use crate::session::{Attempt, CookieAction, Intent, Live, Occasion, SessionCell, Shared, StoreDeadline, Stored};
use crate::store::{Change, Created, Deadline, Deleted, Loaded, SessionStore, Updated};
use crate::token::SessionToken;

/// The number of fresh tokens that are tried. Tokens have 192 random bits, so eight that are taken mean a broken store.
const MAX_TRIES: usize = 8;

/// Commits a session, or reloads it.
///
/// The caller holds the session's commit lock. `is_alone` says that no handler holds a clone of the session any more,
/// and `met` is the answer to the first write, if that was sent already.
pub(crate) async fn settle<S: SessionStore>(
    store: &Arc<S>,
    cell: &SessionCell,
    occasion: Occasion,
    deadline: StoreDeadline,
    is_alone: bool,
    met: Option<Updated>,
) -> Result<(), Error> {
    let shared = &*cell.shared;
    let now = micros(shared.clock.now());
    if occasion == Occasion::Reload {
        return Box::pin(reload(&**store, cell, deadline, now)).await;
    }
    let job = Job::take(&mut cell.lock(), shared, occasion, is_alone, now)?;
    let span = CommitSpan::of(&job, occasion);
    let traced = span.get();
    let commit =
        Commit { store, shared, deadline, job, met, conflicts: 0, attempt: None, resumed: CookieAction::Leave, span };
    match traced {
        None => commit.carry_out(cell, occasion).await,
        Some(traced) => Box::pin(commit.carry_out(cell, occasion)).instrument(traced).await,
    }
}

/// Makes the error for a store that waits although it promised not to.
pub(crate) fn waited() -> StoreError {
    StoreError::new("a store that is said to be immediate did not answer at once")
}

pub(super) struct Commit<'a, S> {
    pub(super) store: &'a Arc<S>,
    pub(super) shared: &'a Shared,
    pub(super) deadline: StoreDeadline,
    pub(super) job: Job,
    /// The answer to the first write, if that was sent already.
    pub(super) met: Option<Updated>,
    /// The number of writes that conflicted with a write of another request.
    pub(super) conflicts: usize,
    /// The write that was sent to the store and is not answered yet.
    pub(super) attempt: Option<Attempt>,
    /// The instruction for the cookie from an earlier write, which was stored although its answer was lost.
    pub(super) resumed: CookieAction,
    pub(super) span: CommitSpan,
}

impl<S: SessionStore> Commit<'_, S> {
    async fn carry_out(mut self, cell: &SessionCell, occasion: Occasion) -> Result<(), Error> {
        // If a closure panics, its commit fails and the rest of the session stays as it was.
        let mut unwound = Unwound { cell, intent: (occasion == Occasion::Explicit).then(|| self.job.intent.clone()) };
        // Read before `run`, which removes from the change log the changes that an earlier try stored after all.
        let has_signed_in = self.job.intent.sign_in().is_some();
        let mut done = self.run().await;
        unwound.intent = None;
        let signs_in = self.job.intent.sign_in().is_some();
        if has_signed_in
            && self.shared.max_sessions_per_owner.is_some()
            && let Ok(settled) = done
        {
            done = Ok(Box::pin(self.end_overflow(settled)).await);
        }
        if let Ok(Settled { stored: Stored::Live(live), .. }) = &done {
            self.span.name_session(&live.token);
        }
        self.span.end(done.as_ref().ok().map(|settled| settled.outcome), self.conflicts);
        match done.map(|settled| self.with_resumed(settled)) {
            Ok(Settled { stored, mut cookie, outcome }) => {
                match (occasion, &mut cookie) {
                    (Occasion::Response { is_not_modified: true, .. }, cookie) => *cookie = CookieAction::Leave,
                    (Occasion::Response { .. }, CookieAction::Set { as_of, .. }) => *as_of = Some(self.job.now),
                    _ => {}
                }
                cell.rebase(stored, cookie);
                match outcome {
                    Outcome::Stored => Ok(()),
                    // A late write may be dropped in silence, but no response may say "welcome" without a session.
                    Outcome::Refused if signs_in => Err(Kind::Refused.into()),
                    _ if occasion == Occasion::Explicit => Err(Kind::Gone.into()),
                    _ => {
                        cell.lock().dropped = true;
                        Ok(())
                    }
                }
            }
            Err(error) => {
                // A refusal was reported where it was found.
                if !error.is_gone() {
                    self.shared.events.failed(Operation::Commit, &error);
                }
                self.leave_unanswered();
                let resumed = std::mem::take(&mut self.resumed);
                let mut state = cell.lock();
                state.cookie = resumed.or_keep(std::mem::take(&mut state.cookie));
                self.job.give_back(&mut state);
                Err(error)
            }
        }
    }

    async fn run(&mut self) -> Result<Settled, Error> {
        if self.job.intent.sign_in().is_some_and(|sign_in| sign_in.is_stale(self.job.now)) {
            return Err(Kind::Stale.into());
        }
        if let Some(earlier) = self.job.intent.pending.clone()
            && let Some(settled) = Box::pin(self.resume(*earlier)).await?
        {
            return Ok(settled);
        }
        if self.job.is_stale {
            let on = self.job.stored.record().filter(|_| !self.job.intent.destroy).cloned();
            self.replay(&on.unwrap_or_else(Record::blank))?;
        }
        if let Stored::EndedMeanwhile(Some(token)) = &self.job.stored
            && self.job.intent.destroy
        {
            Box::pin(self.destroy(token.clone(), None, Stored::EndedMeanwhile(None))).await?;
            if self.job.plan == Plan::Destroy {
                let outcome = if self.job.intent.edited { Outcome::Gone } else { Outcome::Stored };
                return Ok(Settled { outcome, ..Settled::unchanged(Stored::EndedMeanwhile(None)) });
            }
        }
        let live = match &self.job.stored {
            Stored::Live(live) => Some(live.clone()),
            _ => None,
        };
        match (self.job.plan, live) {
            (Plan::Write, Some(live)) => self.write(live).await,
            (Plan::Create, None) => self.create().await,
            (Plan::Create, Some(live)) => {
                let cookie = Box::pin(self.destroy(live.token, Some(live.record.version), Stored::New)).await?;
                let created = self.create().await?;
                Ok(Settled { cookie: created.cookie.or_keep(cookie), ..created })
            }
            (Plan::Destroy, Some(live)) => {
                let cookie = Box::pin(self.destroy(live.token, Some(live.record.version), Stored::New)).await?;
                Ok(Settled { cookie, ..Settled::unchanged(Stored::New) })
            }
            (Plan::Touch(deadline), Some(live)) => Ok(Box::pin(self.touch(live, deadline)).await),
            (Plan::Refuse, _) => {
                tracing::debug!(name: "session.changes.refused", "changes to a session that has ended are dropped");
                Ok(Settled { outcome: Outcome::Gone, ..Settled::unchanged(self.job.stored.clone()) })
            }
            _ => Ok(Settled::unchanged(self.job.stored.clone())),
        }
    }

    /// Begins a session under a token that the client has never seen.
    pub(super) async fn create(&mut self) -> Result<Settled, Error> {
        if !self.job.can_send {
            return self.cannot_send(self.job.stored.clone());
        }
        self.prepare(None)?;
        Ok(match self.insert().await? {
            Some(token) => {
                self.shared.events.began(&token);
                Settled::live(token, Arc::clone(&self.job.draft), true)
            }
            None => Settled::refused(self.job.stored.clone()),
        })
    }

    /// Drops changes that need a new token if no cookie can be sent. A handler gets an error; at the end of the request
    /// there is a warning.
    pub(super) fn cannot_send(&self, stored: Stored) -> Result<Settled, Error> {
        if !self.job.is_last {
            return Err(Kind::ResponseSent.into());
        }
        tracing::warn!(
            name: "session.changes.unsent",
            "a response that carries no session cookie cannot begin or renew a session: changes are dropped"
        );
        Ok(Settled { outcome: Outcome::Unsent, ..Settled::unchanged(stored) })
    }

    /// Stores the draft under a fresh token; `None` if its owner's sessions were revoked meanwhile.
    pub(super) async fn insert(&mut self) -> Result<Option<SessionToken>, Error> {
        // If the shortcut has sent a write, it has tried one token already.
        let tried = usize::from(self.met.take().is_some());
        for _ in tried..MAX_TRIES {
            let fresh = self.shared.random.token(self.shared.cookie.scope())?;
            // A client-side store makes another token of it.
            if !self.shared.is_sealed() {
                self.span.name_new(&fresh);
            }
            self.attempt(&fresh, true);
            let asked = self.wait(self.store.create(&fresh, &self.job.draft, self.now())).await;
            let created = asked.map_err(|error| error.naming(&self.job.draft))?;
            self.attempt = None;
            match created {
                Created::Stored => return Ok(Some(fresh)),
                Created::SignedIn(moment) => {
                    Arc::make_mut(&mut self.job.draft).sign_in = moment;
                    return Ok(Some(fresh));
                }
                Created::Instead(token) => return Ok(Some(token)),
                Created::Taken => warn_of_taken(&fresh),
                Created::Revoked => {
                    came_too_late();
                    return Ok(None);
                }
            }
        }
        Err(StoreError::new("every fresh token is taken").into())
    }

    /// Ends a session, and any session that it was renewed to meanwhile.
    ///
    /// If another request has ended the session already, the client's cookie is left alone, since the cookie may belong
    /// to a later sign-in.
    async fn destroy(
        &mut self,
        token: SessionToken,
        version: Option<Version>,
        left: Stored,
    ) -> Result<CookieAction, Error> {
        let own = self.tombstone(TombstoneKind::Destroyed);
        let mut key = token.key();
        let has_ended = if self.shared.is_sealed() {
            // Only the token itself names such a session.
            let change = Change::Retire(own);
            match version {
                Some(version) => {
                    self.wait(self.store.update(&token, version, &change, self.now())).await? == Updated::Done
                }
                None => false,
            }
        } else {
            loop {
                let found = self.wait(self.store.delete(&key, TOMBSTONE, self.now())).await?;
                let Deleted::Retired(stone) = found else { break found == Deleted::Done };
                let Some(successor) = stone.successor() else {
                    // This call's own tombstone: the store sent the call twice.
                    break stone == own;
                };
                key = *successor;
            }
        };
        self.shared.events.destroyed(key, has_ended);
        self.job.intent.destroy = false;
        self.job.stored = left;
        Ok(if has_ended || self.shared.is_sealed() { CookieAction::Remove } else { CookieAction::Leave })
    }

    /// Makes the draft anew, by replaying the change log on another record.
    pub(super) fn replay(&mut self, on: &Record) -> Result<(), Error> {
        let (record, _) = self.job.intent.replay(on, self.shared.max_record_len)?;
        self.job.draft = Arc::new(record);
        Ok(())
    }

    /// Prepares the draft for the store, and returns the change to the stored deadline.
    pub(super) fn prepare(&mut self, before: Option<&Record>) -> Result<Deadline, Error> {
        let (lifetime, now) = (&self.shared.lifetime, self.job.now);
        let draft = Arc::make_mut(&mut self.job.draft);
        if prepare(draft, before.map(Record::version), self.shared, now)? {
            return Ok(Deadline::Set);
        }
        if self.job.intent.idle().is_some() {
            draft.deadline = lifetime.deadline(draft, now);
            return Ok(Deadline::Set);
        }
        let refresh = lifetime.refresh(draft, now).filter(|_| self.job.may_refresh);
        draft.deadline = refresh.unwrap_or(draft.deadline);
        Ok(if refresh.is_some() { Deadline::Extend } else { Deadline::Keep })
    }

    pub(super) fn tombstone(&self, kind: TombstoneKind) -> Tombstone {
        Tombstone::new(kind, TOMBSTONE, self.now())
    }

    pub(super) fn now(&self) -> SystemTime {
        time(self.job.now)
    }

    pub(super) async fn wait<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, Error> {
        self.deadline.wait(asked).await
    }
}

/// Reports a collision. Chance does not explain it: the randomness or the store is broken.
pub(super) fn warn_of_taken(fresh: &SessionToken) {
    tracing::warn!(name: "session.token.taken", key = ?fresh.key(), "a fresh session token was taken");
}

/// Reports a sign-in that was refused because its owner's sessions were revoked meanwhile.
pub(super) fn came_too_late() {
    tracing::info!(
        name: "session.sign_in.revoked",
        "a sign-in came too late: its owner's sessions were revoked meanwhile"
    );
}

async fn reload(store: &impl SessionStore, cell: &SessionCell, deadline: StoreDeadline, now: u64) -> Result<(), Error> {
    let shared = &*cell.shared;
    let stored = {
        let mut state = cell.lock();
        // The answer reveals whether the session is still there.
        state.access();
        state.stored.clone()
    };
    let live = match stored {
        Stored::Live(live) => live,
        Stored::New => return Ok(()),
        Stored::Dead(_) | Stored::EndedMeanwhile(_) => return Err(Kind::Gone.into()),
        Stored::Unavailable => return Err(Kind::Unavailable.into()),
    };
    let report = |error: &Error| shared.events.failed(Operation::Load, error);
    let stored = match deadline.wait(store.load(&live.token, time(now))).await.inspect_err(report)? {
        Loaded::Live(record) => Stored::Live(Live { record, ..live }),
        Loaded::Outdated(record) => Stored::Live(Live { record, outdated: true, ..live }),
        Loaded::Tombstone(stone) if stone.kind() == TombstoneKind::Emptied => Stored::New,
        Loaded::Tombstone(stone) => {
            let finding = Successor::find(store, &shared.renewal_keys, &stone, &live.token, time(now));
            match deadline.wait(finding).await.inspect_err(report)? {
                Successor::Live(successor) => Stored::Live(successor),
                Successor::Emptied(_) => Stored::New,
                Successor::None => Stored::EndedMeanwhile(Some(live.token)),
            }
        }
        Loaded::Absent => Stored::EndedMeanwhile(Some(live.token)),
    };
    let is_gone = stored.is_over();
    cell.rebase(stored, CookieAction::Leave);
    if is_gone { Err(Kind::Gone.into()) } else { Ok(()) }
}

/// Gives the changes back if a closure of the program panics while they are replayed.
struct Unwound<'a> {
    cell: &'a SessionCell,
    intent: Option<Intent>,
}

impl Drop for Unwound<'_> {
    fn drop(&mut self) {
        if let Some(intent) = self.intent.take()
            && let Some(work) = &mut self.cell.lock().work
        {
            work.intent.prepend(intent);
            work.is_stale = true;
        }
    }
}
