//! The tracing span of a commit.

use tracing::field::{Empty, debug};
use tracing::{Level, Span};

use super::{Job, Outcome, Plan};
use crate::session::{Occasion, Stored};
use crate::token::{SessionToken, StoreKey};

/// Records a commit from the decision to its outcome. Without a subscriber at `DEBUG` it is a null pointer.
pub(super) struct CommitSpan(Option<Box<Traced>>);

struct Traced {
    span: Span,
    /// The store key of the session that the span names.
    key: Option<StoreKey>,
    is_over: bool,
}

impl CommitSpan {
    /// Opens the span, unless the commit makes no store call.
    #[inline]
    pub(super) fn of(job: &Job, occasion: Occasion) -> Self {
        Self(if tracing::level_enabled!(Level::DEBUG) { Traced::open(job, occasion) } else { None })
    }

    pub(super) fn get(&self) -> Option<Span> {
        self.0.as_ref().map(|traced| traced.span.clone())
    }

    /// Records the session that the commit results in, by the start of its store key.
    #[inline]
    pub(super) fn name_session(&mut self, token: &SessionToken) {
        if let Some(traced) = &mut self.0 {
            traced.name_session(token);
        }
    }

    /// Names a session that begins by the token that is tried first.
    #[inline]
    pub(super) fn name_new(&mut self, token: &SessionToken) {
        if let Some(traced) = self.0.as_mut().filter(|traced| traced.key.is_none()) {
            traced.name_session(token);
        }
    }

    /// Records the outcome of the commit; `None` if it failed.
    #[inline]
    pub(super) fn end(&mut self, outcome: Option<Outcome>, conflicts: usize) {
        if let Some(traced) = &mut self.0 {
            traced.end(outcome, conflicts);
        }
    }
}

impl Traced {
    #[cold]
    fn open(job: &Job, occasion: Occasion) -> Option<Box<Self>> {
        let plan = job.named_plan()?;
        let span = tracing::debug_span!(
            "session.commit",
            key = Empty,
            plan,
            ending = occasion.name(),
            successor = Empty,
            conflicts = Empty,
            outcome = Empty
        );
        if span.is_disabled() {
            return None;
        }
        let mut traced = Self { span, key: None, is_over: false };
        match &job.stored {
            Stored::Live(live) => traced.name_session(&live.token),
            Stored::Dead(token) | Stored::EndedMeanwhile(Some(token)) => traced.name_session(token),
            Stored::New | Stored::EndedMeanwhile(None) | Stored::Unavailable => {}
        }
        Some(Box::new(traced))
    }

    /// Records each field once: formats that print everything recorded would show both values.
    #[cold]
    fn name_session(&mut self, token: &SessionToken) {
        let key = token.key();
        let field = match self.key {
            Some(known) if known == key => return,
            Some(_) => "successor",
            None => "key",
        };
        self.span.record(field, debug(key));
        self.key.get_or_insert(key);
    }

    #[cold]
    fn end(&mut self, outcome: Option<Outcome>, conflicts: usize) {
        self.is_over = true;
        self.span.record("conflicts", conflicts);
        self.span.record("outcome", outcome.map_or("failed", Outcome::name));
    }
}

/// Reports a commit that did not end: the client went away, or a closure of the program panicked.
impl Drop for Traced {
    fn drop(&mut self) {
        if !self.is_over {
            self.span.record("outcome", "unfinished");
        }
    }
}

impl Job {
    /// Returns the name of the plan; `None` if the commit does not call the store.
    fn named_plan(&self) -> Option<&'static str> {
        Some(match self.plan {
            // The store is asked whether an earlier try of this request was stored.
            Plan::Nothing => return self.intent.pending.as_ref().map(|_| "resume"),
            Plan::Touch(_) => "touch",
            Plan::Refuse => "refuse",
            Plan::Destroy => "destroy",
            Plan::Create if self.intent.destroy => "replace",
            Plan::Create => "create",
            Plan::Write if self.draft.is_empty() => "remove",
            Plan::Write if self.intent.renew.is_some() || self.replaces_token => "renew",
            Plan::Write => "write",
        })
    }
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Unsent => "unsent",
        }
    }
}
