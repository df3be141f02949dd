//! The span of a commit, for whoever traces.

use tracing::field::{Empty, debug};
use tracing::span::Entered;
use tracing::{Level, Span};

use super::{Ending, Fate, Job, Plan};
use crate::session::Base;
use crate::store::Updated;
use crate::token::{SessionToken, StoreKey};

/// Follows a commit from the decision to its outcome. Where nobody traces at `DEBUG`, it is a null pointer.
pub(crate) struct Watch(Option<Box<Traced>>);

struct Traced {
    span: Span,
    /// The session that the span names.
    key: Option<StoreKey>,
    is_over: bool,
}

/// What the first write of a commit has met, if it was sent already, and the span that it was sent in.
pub(crate) struct Met {
    pub(super) answer: Updated,
    pub(super) watch: Watch,
}

impl Watch {
    /// A commit that has nothing to ask the store has no span.
    pub(super) fn of(job: &Job, ending: Ending) -> Self {
        if !tracing::level_enabled!(Level::DEBUG) {
            return Self(None);
        }
        let Some(plan) = job.named_plan() else { return Self(None) };
        let token = match &job.base {
            Base::Live(live) => Some(&live.token),
            Base::Dead(token) | Base::Retired(Some(token)) => Some(token),
            Base::New | Base::Retired(None) | Base::Unavailable => None,
        };
        Self::open(plan, ending.name(), token)
    }

    /// At the end of a request whose session begins or gets other values.
    #[inline]
    pub(super) fn plain(token: &SessionToken, begins: bool) -> Self {
        if !tracing::level_enabled!(Level::DEBUG) {
            return Self(None);
        }
        Self::open(if begins { "create" } else { "write" }, "response", Some(token))
    }

    #[cold]
    fn open(plan: &'static str, ending: &'static str, token: Option<&SessionToken>) -> Self {
        let span = tracing::debug_span!(
            "session.commit",
            key = Empty,
            plan,
            ending,
            successor = Empty,
            conflicts = Empty,
            outcome = Empty
        );
        if span.is_disabled() {
            return Self(None);
        }
        let mut traced = Traced { span, key: None, is_over: false };
        if let Some(token) = token {
            traced.live(token);
        }
        Self(Some(Box::new(traced)))
    }

    /// For a future that is to be instrumented: a guard must not be held while it waits.
    pub(super) fn span(&self) -> Span {
        self.0.as_ref().map_or_else(Span::none, |traced| traced.span.clone())
    }

    /// For work that does not wait.
    #[inline]
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        self.0.as_ref().map(|traced| traced.span.enter())
    }

    /// Names the session that there is in the end, by the start of its token's digest.
    #[inline]
    pub(super) fn live(&mut self, token: &SessionToken) {
        if let Some(traced) = &mut self.0 {
            traced.live(token);
        }
    }

    /// The commit is over; `None` if it failed.
    #[inline]
    pub(super) fn end(&mut self, fate: Option<Fate>, conflicts: usize) {
        if let Some(traced) = &mut self.0 {
            traced.end(fate, conflicts);
        }
    }
}

impl Traced {
    /// Each field has one value: formats that print all that is recorded would show both.
    #[cold]
    fn live(&mut self, token: &SessionToken) {
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
    fn end(&mut self, fate: Option<Fate>, conflicts: usize) {
        self.is_over = true;
        self.span.record("conflicts", conflicts);
        self.span.record("outcome", fate.map_or("failed", Fate::name));
    }
}

/// The client went away, or the store or a closure of the program panicked.
impl Drop for Traced {
    fn drop(&mut self) {
        if !self.is_over {
            self.span.record("outcome", "unfinished");
        }
    }
}

impl Job {
    /// What the store is to be asked, in a word.
    fn named_plan(&self) -> Option<&'static str> {
        Some(match self.plan {
            // What an earlier try of this request may have stored is looked for.
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

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::Reload => "reload",
            Self::Response { .. } => "response",
            Self::Failed => "error",
        }
    }
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Unsent => "unsent",
        }
    }
}
