//! What nearly every commit is, done without what the others need: at the end of a request whose session nobody else holds
//! any more, a session that begins, or other values for one that lives on, in a store that answers at once.

use std::sync::Arc;
use std::time::SystemTime;

use super::execute::{report, warn_of_taken};
use super::retreat::abandon;
use super::stamp::stamp;
use super::watch::{Met, Watch};
use super::{Ending, Fate, Job};
use crate::clock::micros;
use crate::error::{Error, StoreError};
use crate::layer::Shared;
use crate::record::Version;
use crate::session::{Base, Head, Live, Reply, State, Work};
use crate::store::{Change, Created, Deadline, SessionStore, Updated, poll_once};
use crate::token::SessionToken;

/// How far a plain commit has come.
pub(crate) enum Plain {
    Settled(Result<(), Error>),
    /// Still to be done, after this answer to the first write, if it was sent.
    Open(Option<Box<Met>>),
}

/// The error of a store that promised not to wait.
pub(crate) fn waited() -> StoreError {
    StoreError::new("a store that is said to be immediate did not answer at once")
}

/// Commits to a store that answers at once.
pub(crate) fn settle_plainly<S: SessionStore>(
    store: &Arc<S>,
    shared: &Shared,
    state: &mut State,
    ending: Ending,
) -> Plain {
    let is_plain = match ending {
        Ending::Response { is_server_error, is_not_modified } => {
            !is_not_modified && (!is_server_error || shared.save_on_server_error) && !shared.is_sealed()
        }
        Ending::Explicit | Ending::Reload | Ending::Failed => false,
    };
    if !is_plain {
        return Plain::Open(None);
    }
    let now = shared.clock.now();
    let at = micros(now);
    let Some(mut next) = Next::of(state, shared, at) else { return Plain::Open(None) };
    let begins = next.from.is_none();
    let mut is_news = begins;
    let mut watch = Watch::plain(&next.token, begins);
    // Nothing below waits.
    let entered = watch.enter();
    match next.send(&**store, now) {
        Ok(Updated::Done) => {}
        Ok(Updated::Instead(token)) => {
            next.token = token;
            is_news = true;
        }
        Ok(answer) => {
            state.work = Some(next.work);
            drop(entered);
            return Plain::Open(Some(Box::new(Met { answer, watch })));
        }
        Err(error) => {
            let error = Error::from(error).naming(&next.work.draft);
            report(shared, &error);
            if begins {
                abandon(store, shared, next.token, now);
            }
            state.work = Some(next.work);
            if let Ok(job) = Job::take(state, shared, ending, at) {
                job.give_back(state, ending);
            }
            drop(entered);
            watch.end(None, 0);
            return Plain::Settled(Err(error));
        }
    }
    if begins {
        shared.events.began(&next.token);
    } else {
        shared.events.committed(&next.token, false);
    }
    drop(entered);
    watch.end(Some(Fate::Stored), 0);
    let live = Live { token: next.token, record: next.work.draft, outdated: false };
    if is_news {
        state.reply = Reply::set(&live, Some(at));
    }
    state.base = Base::Live(live);
    Plain::Settled(Ok(()))
}

/// What is to be stored.
struct Next {
    token: SessionToken,
    /// What it replaces; `None` where the session begins.
    from: Option<Version>,
    /// Its draft is the record.
    work: Work,
}

impl Next {
    /// Takes the work out of the session, if it is plain.
    fn of(state: &mut State, shared: &Shared, now: u64) -> Option<Self> {
        let work = state.work.as_mut().filter(|work| !work.is_stale && work.intent.is_plain())?;
        // Nobody else holds the draft, so it need not be copied.
        let record = Arc::get_mut(&mut work.draft).filter(|record| !record.is_empty())?;
        let (token, from) = match &state.base {
            Base::New if state.head == Head::Open => (shared.random.token().ok()?, None),
            Base::Live(live) if !live.outdated && !shared.lifetime.is_due(record, now) => {
                (live.token.clone(), Some(live.record.version))
            }
            _ => return None,
        };
        stamp(record, from, shared, now).ok()?;
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
                    Created::Stored => Updated::Done,
                    Created::Instead(token) => Updated::Instead(token),
                    Created::Taken | Created::Revoked(_) => {
                        warn_of_taken(&self.token);
                        Updated::Conflict
                    }
                })
            }),
        };
        answer.unwrap_or_else(|| Err(waited()))
    }
}
