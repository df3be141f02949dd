//! A shortcut for the most frequent commits to an immediate store: new values in a live session, or a new session. It
//! saves a sixth of the instructions of a write.

use std::sync::Arc;
use std::time::SystemTime;

use super::execute::{waited, warn_of_taken};
use super::undo_renewal::remove_unknown;
use super::{Job, prepare};
use crate::clock::micros;
use crate::error::{Error, StoreError};
use crate::event::Operation;
use crate::record::Version;
use crate::session::{CookieAction, Live, Occasion, ResponseHead, SessionState, Shared, Stored, Work, poll_once};
use crate::store::{Change, Created, Deadline, SessionStore, Updated};
use crate::token::SessionToken;

/// The result of the shortcut.
pub(crate) enum Quick {
    Settled(Result<(), Error>),
    /// The commit is left to [`settle`](super::settle): the change is not simple, a subscriber traces commits, or the
    /// store did not take the write and gave this answer.
    Open(Option<Updated>),
}

/// Commits at the end of a request, if no handler holds the session any more and the change is simple.
pub(crate) fn settle_quickly<S: SessionStore>(
    store: &Arc<S>,
    shared: &Shared,
    state: &mut SessionState,
    occasion: Occasion,
) -> Quick {
    let is_simple = match occasion {
        Occasion::Response { is_server_error, is_not_modified } => {
            !is_not_modified && (!is_server_error || shared.save_on_server_error) && !shared.is_sealed()
        }
        Occasion::Explicit | Occasion::Reload | Occasion::Failed => false,
    };
    if !is_simple || tracing::level_enabled!(tracing::Level::DEBUG) {
        return Quick::Open(None);
    }
    let now = shared.clock.now();
    let at = micros(now);
    let Some(mut next) = Next::take(state, shared, at) else { return Quick::Open(None) };
    let begins = next.from.is_none();
    let mut is_news = begins;
    match next.send(&**store, now) {
        Ok(Updated::Done) => {}
        Ok(Updated::Instead(token)) => {
            next.token = token;
            is_news = true;
        }
        Ok(answer) => {
            state.work = Some(next.work);
            return Quick::Open(Some(answer));
        }
        Err(error) => {
            let error = Error::from(error).naming(&next.work.draft);
            shared.events.failed(Operation::Commit, &error);
            if begins {
                remove_unknown(store, shared, next.token, now);
            }
            state.work = Some(next.work);
            if let Ok(job) = Job::take(state, shared, occasion, true, at) {
                job.give_back(state);
            }
            return Quick::Settled(Err(error));
        }
    }
    if begins {
        shared.events.began(&next.token);
    } else {
        shared.events.committed(&next.token, false);
    }
    let live = Live { token: next.token, record: next.work.draft, outdated: false };
    if is_news {
        state.cookie = CookieAction::set(&live, Some(at));
    }
    (state.stored, state.is_used) = (Stored::Live(live), false);
    Quick::Settled(Ok(()))
}

/// A simple change, ready to be stored.
struct Next {
    token: SessionToken,
    /// The version that the change replaces; `None` if the session begins.
    from: Option<Version>,
    /// The work whose draft is the record to store.
    work: Work,
}

impl Next {
    /// Takes the work out of the session, if the change is simple.
    fn take(state: &mut SessionState, shared: &Shared, now: u64) -> Option<Self> {
        let work = state.work.as_mut().filter(|work| !work.is_stale && work.intent.is_simple())?;
        // Nobody else holds the draft, so it need not be copied.
        let record = Arc::get_mut(&mut work.draft).filter(|record| !record.is_empty())?;
        let (token, from) = match &state.stored {
            Stored::New if state.head == ResponseHead::Open => (shared.random.token(shared.cookie.scope()).ok()?, None),
            Stored::Live(live) if !live.outdated && !shared.lifetime.is_due(record, now) => {
                (live.token.clone(), Some(live.record.version))
            }
            _ => return None,
        };
        prepare(record, from, shared, now).ok()?;
        Some(Self { token, from, work: state.work.take()? })
    }

    fn send<S: SessionStore>(&self, store: &S, now: SystemTime) -> Result<Updated, StoreError> {
        let record = &self.work.draft;
        let answer = match self.from {
            Some(from) => {
                let change = Change::Replace(Arc::clone(record), Deadline::Keep);
                poll_once(store.update(&self.token, from, &change, now))
            }
            None => poll_once(store.create(&self.token, record, now)).map(|created| {
                Ok(match created? {
                    Created::Stored | Created::SignedIn(_) => Updated::Done,
                    Created::Instead(token) => Updated::Instead(token),
                    Created::Taken => {
                        warn_of_taken(&self.token);
                        Updated::Conflict
                    }
                    Created::Revoked => Updated::Conflict,
                })
            }),
        };
        answer.unwrap_or_else(|| Err(waited()))
    }
}
