//! A request's session between load and commit: the stored session apart from what was changed.

use std::sync::Arc;

use super::changes::{Intent, Op, fits};
use crate::error::{Error, Kind};
use crate::record::{CSRF_LEN, Record};
use crate::token::SessionToken;

pub(crate) struct SessionState {
    pub(crate) stored: Stored,
    /// True if the handler accessed the session: then the response varies with the cookie.
    pub(crate) accessed: bool,
    /// True if the session was accessed since the last commit. Only then may a commit after the response move the
    /// deadline.
    pub(crate) is_used: bool,
    pub(crate) head: ResponseHead,
    /// True if changes were dropped with the response and no `commit()` has reported it yet.
    pub(crate) dropped: bool,
    /// Made at the first change.
    pub(crate) work: Option<Work>,
    /// The instruction for the client's cookie so far.
    pub(crate) cookie: CookieAction,
}

/// The state of the response's head, which decides whether a new token can still reach the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResponseHead {
    Open,
    /// The response has been decided.
    Sent,
    /// The request was dropped and gets no response. The number counts the changes until then.
    Lost(u64),
}

/// The session in the store, as this request last saw it.
#[derive(Debug, Clone)]
pub(crate) enum Stored {
    New,
    Live(Live),
    /// The token was already dead when the request came. Only a `renew` in this request may begin a session.
    Dead(SessionToken),
    /// The session ended during this request, so its token is dead too. If the token is known, a `destroy` also ends
    /// the session that goes on under a renewed token.
    EndedMeanwhile(Option<SessionToken>),
    /// The store could not be read, and the layer was told to go on.
    Unavailable,
}

#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) token: SessionToken,
    pub(crate) record: Arc<Record>,
    /// True if the client needs another token although nothing changed: its token was sealed with an old key, or leads
    /// on to this one.
    pub(crate) outdated: bool,
}

/// The changed session as the handler sees it, and the changes that are not yet committed.
#[derive(Clone)]
pub(crate) struct Work {
    /// Shared only while a commit is under way.
    pub(crate) draft: Arc<Record>,
    pub(crate) intent: Intent,
    /// Counts changes, so that a commit sees which of them were made during the commit.
    pub(crate) edits: u64,
    /// True if the draft differs from what the intent makes of the stored session.
    pub(crate) is_stale: bool,
}

/// The response's instruction for the client's cookie. A later instruction replaces an earlier one, except for `Leave`.
#[derive(Debug, Clone, Default)]
pub(crate) enum CookieAction {
    #[default]
    Leave,
    Set {
        token: SessionToken,
        /// The time until which the client keeps the cookie, in microseconds.
        until: u64,
        /// True if the session has an idle timeout of its own ("remember me").
        remembered: bool,
        /// The time of the decision, if the response follows at once.
        as_of: Option<u64>,
    },
    Remove,
}

impl CookieAction {
    /// Sets the cookie of a live session, decided at `as_of` if the response follows at once.
    ///
    /// A server-side store moves the deadline without the client, so the client keeps the cookie until the absolute
    /// deadline. A sealed token holds its deadline.
    pub(crate) fn set(live: &Live, as_of: Option<u64>) -> Self {
        let Live { token, record, .. } = live;
        let until = if token.random().is_some() { record.absolute } else { record.deadline };
        Self::Set { token: token.clone(), until, remembered: record.idle > 0, as_of }
    }

    pub(crate) fn or_keep(self, earlier: Self) -> Self {
        if matches!(self, Self::Leave) { earlier } else { self }
    }
}

/// The session's part of the response.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) cookie: CookieAction,
    pub(crate) accessed: bool,
}

impl SessionState {
    #[inline]
    pub(super) fn new(stored: Stored) -> Self {
        let cookie = CookieAction::Leave;
        Self { stored, accessed: false, is_used: false, head: ResponseHead::Open, dropped: false, work: None, cookie }
    }

    /// Ends the request: no token can be sent from now on.
    #[inline]
    pub(crate) fn finish(&mut self) -> Outgoing {
        self.head = ResponseHead::Sent;
        Outgoing { cookie: std::mem::take(&mut self.cookie), accessed: self.accessed }
    }

    /// Returns the record that the handler sees.
    pub(crate) fn current(&self) -> Option<&Record> {
        self.work.as_ref().map(|work| &*work.draft).or_else(|| self.stored.record())
    }

    /// Returns the CSRF secret, once it was handed out to forms.
    ///
    /// Nothing can be stored for a dead token, so its secret is derived from it: the sign-in form then works for a
    /// person who was signed out elsewhere.
    pub(crate) fn csrf(&self) -> Option<[u8; CSRF_LEN]> {
        let renews = self.work.as_ref().is_some_and(|work| work.intent.renew.is_some());
        match (self.current().filter(|record| record.csrf_handed_out), &self.stored) {
            (Some(record), _) => Some(record.csrf),
            (None, Stored::Dead(token)) if !renews => Some(token.derive(b"tower-session-layer csrf of the dead v1")),
            (None, _) => None,
        }
    }

    /// Returns the CSRF secret of a stored session that has none yet, out of the session's token: requests that are the
    /// first to take it at the same time take the same one.
    pub(crate) fn first_csrf(&self) -> Option<[u8; CSRF_LEN]> {
        let is_kept = self.work.as_ref().is_none_or(|work| !work.intent.destroy && work.intent.renew.is_none());
        match &self.stored {
            Stored::Live(live) if is_kept => Some(live.token.derive(b"tower-session-layer csrf v1")),
            _ => None,
        }
    }

    /// Notes an access.
    #[inline]
    pub(crate) fn access(&mut self) {
        (self.accessed, self.is_used) = (true, true);
    }

    pub(crate) fn work_mut(&mut self) -> Result<&mut Work, Error> {
        self.access();
        if matches!(self.stored, Stored::Unavailable) {
            return Err(Kind::Unavailable.into());
        }
        Ok(self.work.get_or_insert_with(|| {
            let draft = Arc::new(self.stored.record().cloned().unwrap_or_else(Record::blank));
            Work { draft, intent: Intent::default(), edits: 0, is_stale: false }
        }))
    }
}

impl Stored {
    pub(crate) fn record(&self) -> Option<&Record> {
        match self {
            Self::Live(live) => Some(&live.record),
            _ => None,
        }
    }

    /// Returns the stored record, or a blank one.
    pub(crate) fn record_or_blank(&self) -> Arc<Record> {
        match self {
            Self::Live(live) => Arc::clone(&live.record),
            _ => Arc::new(Record::blank()),
        }
    }

    /// Returns whether the token is dead, so that the request's changes have nowhere to go.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Dead(_) | Self::EndedMeanwhile(_))
    }
}

impl Work {
    pub(crate) fn draft_mut(&mut self) -> &mut Record {
        Arc::make_mut(&mut self.draft)
    }

    /// Applies a change that runs no user code, unless the session would become too large.
    pub(crate) fn apply(&mut self, op: Op, limit: usize) -> Result<(), Error> {
        let edited = self.make(std::slice::from_ref(&op), limit)?;
        self.log(op, edited);
        Ok(())
    }

    /// Applies all of the changes or none, and logs another change, which replays make in their place.
    pub(crate) fn apply_as(&mut self, ops: &[Op], logged: Op, limit: usize) -> Result<(), Error> {
        let edited = self.make(ops, limit)?;
        self.log(logged, edited);
        Ok(())
    }

    /// Applies all of the changes or none. They run no user code.
    pub(crate) fn apply_all(&mut self, ops: Vec<Op>, limit: usize) -> Result<(), Error> {
        let edited = self.make(&ops, limit)?;
        ops.into_iter().for_each(|op| self.log(op, edited));
        Ok(())
    }

    fn make(&mut self, ops: &[Op], limit: usize) -> Result<bool, Error> {
        let growth: usize = ops.iter().map(Op::growth).sum();
        let before = (self.draft.encoded_len() + growth > limit).then(|| Arc::clone(&self.draft));
        let mut edited = false;
        for op in ops {
            edited |= op.apply(self.draft_mut())?;
        }
        if let Some(before) = before.filter(|before| before.encoded_len() < self.draft.encoded_len())
            && let Err(error) = fits(&self.draft, limit)
        {
            self.draft = before;
            return Err(error);
        }
        Ok(edited)
    }

    pub(crate) fn log(&mut self, op: Op, edited: bool) {
        self.intent.log.push(op);
        self.intent.edited |= edited;
    }
}
