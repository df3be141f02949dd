//! What nearly every commit is, done without what the others need: a session that begins, or other values for one that
//! lives on, in a store that answers at once.

use std::sync::Arc;
use std::time::SystemTime;

use super::execute::{report, settle_at};
use super::retreat::abandon;
use super::stamp::stamp;
use super::{Ending, Job};
use crate::clock::micros;
use crate::error::{Error, StoreError};
use crate::layer::Shared;
use crate::session::{Base, Head, Live, Reply, Session, State, Work};
use crate::store::{Change, Created, Deadline, SessionStore, Updated, poll_once};

/// Commits a session to a store that answers at once. The caller has closed its gate.
pub(crate) fn settle_at_once<S: SessionStore>(store: &Arc<S>, session: &Session, ending: Ending) -> Result<(), Error> {
    let shared = &*session.inner().shared;
    let now = shared.clock.now();
    let met = match plainly(store, session, ending, now) {
        Outcome::Settled(settled) => return settled,
        Outcome::Open(met) => met,
    };
    poll_once(settle_at(store, session, ending, micros(now), met)).unwrap_or_else(|| Err(waited().into()))
}

/// The error of a store that promised not to wait.
pub(crate) fn waited() -> StoreError {
    StoreError::new("a store that is said to be immediate did not answer at once")
}

enum Outcome {
    Settled(Result<(), Error>),
    /// Still to be done, after this answer to the first write, if it was sent.
    Open(Option<Updated>),
}

/// A commit on its way, already in place for whoever reads the session meanwhile.
struct Plain {
    before: Base,
    work: Work,
    live: Live,
}

fn plainly<S: SessionStore>(store: &Arc<S>, session: &Session, ending: Ending, now: SystemTime) -> Outcome {
    let inner = session.inner();
    let (shared, at) = (&*inner.shared, micros(now));
    // A source of randomness may be the program's, whose code never runs under the lock.
    let is_plain = !shared.random.is_custom()
        && match ending {
            Ending::Response { is_server_error, is_not_modified } => {
                !is_not_modified && (!is_server_error || shared.save_on_server_error) && !shared.is_sealed()
            }
            Ending::Explicit | Ending::Reload | Ending::Failed => false,
        };
    let taken = if is_plain { Plain::take(&mut inner.lock(), shared, at) } else { None };
    let Some(mut plain) = taken else { return Outcome::Open(None) };
    let Live { token, record, .. } = &plain.live;
    let answer = match &plain.before {
        Base::Live(before) => {
            let change = Change::Replace(Arc::clone(record), Deadline::Keep);
            poll_once(store.update(token, before.record.version, &change, now))
        }
        _ => poll_once(store.create(token, record, now)).map(|created| {
            Ok(match created? {
                Created::Stored => Updated::Done,
                Created::Instead(token) => Updated::Instead(token),
                Created::Taken | Created::Revoked(_) => Updated::Conflict,
            })
        }),
    };
    match answer.unwrap_or_else(|| Err(waited())) {
        Ok(Updated::Done) => {}
        Ok(Updated::Instead(token)) => plain.live.token = token,
        Ok(met) => {
            let begins = !matches!(plain.before, Base::Live(_));
            plain.undo(&mut inner.lock());
            return Outcome::Open((!begins).then_some(met));
        }
        Err(error) => {
            let error = Error::from(error);
            report(&error);
            if !matches!(plain.before, Base::Live(_)) {
                abandon(store, shared, plain.live.token.clone(), now);
            }
            let mut state = inner.lock();
            plain.undo(&mut state);
            if let Ok(job) = Job::take(&mut state, shared, ending, at) {
                job.give_back(&mut state, ending);
            }
            return Outcome::Settled(Err(error));
        }
    }
    if matches!(plain.before, Base::Live(_)) {
        tracing::debug!(key = ?plain.live.token.key(), is_renewed = false, "a session was committed");
    } else {
        tracing::debug!(key = ?plain.live.token.key(), "a session began");
        inner.lock().reply = Reply::set_at(&plain.live, at);
    }
    Outcome::Settled(Ok(()))
}

impl Plain {
    fn take(state: &mut State, shared: &Shared, now: u64) -> Option<Self> {
        let work = state.work.as_mut().filter(|work| !work.is_stale && work.intent.is_plain())?;
        // Nobody else holds the draft, so it need not be copied.
        let record = Arc::get_mut(&mut work.draft).filter(|record| !record.is_empty())?;
        let (token, before) = match &state.base {
            Base::New if state.head == Head::Open => (shared.random.token().ok()?, None),
            Base::Live(live) if !live.outdated && shared.lifetime.refresh(record, now).is_none() => {
                (live.token.clone(), Some(live.record.version))
            }
            _ => return None,
        };
        stamp(record, before, shared, now).ok()?;
        let work = state.work.take()?;
        let live = Live { token, record: Arc::clone(&work.draft), outdated: false };
        let before = std::mem::replace(&mut state.base, Base::Live(live.clone()));
        Some(Self { before, work, live })
    }

    /// Puts back what was taken, before what came since.
    fn undo(self, state: &mut State) {
        state.base = self.before;
        match &mut state.work {
            None => state.work = Some(self.work),
            Some(later) => {
                later.intent.prepend(self.work.intent);
                later.edits += self.work.edits;
                later.is_stale = true;
            }
        }
    }
}
