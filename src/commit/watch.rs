//! The span of a commit, for whoever traces.

use tracing::Span;
use tracing::field::{Empty, debug};
use tracing::span::Entered;

use super::{Ending, Fate, Job, Plan};
use crate::session::Base;
use crate::store::Updated;
use crate::token::SessionToken;

/// Follows a commit from the decision to its outcome. Where nobody traces at `DEBUG`, it holds nothing and does nothing.
pub(crate) struct Watch {
    span: Span,
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
        let Some(plan) = job.named_plan() else { return Self::new(Span::none()) };
        let watch = Self::new(span(plan, ending.name()));
        if let Base::Live(crate::session::Live { token, .. }) | Base::Dead(token) | Base::Retired(Some(token)) =
            &job.base
        {
            watch.key(token);
        }
        watch
    }

    /// At the end of a request whose session begins or gets other values.
    #[inline]
    pub(super) fn plain(token: &SessionToken, begins: bool) -> Self {
        let watch = Self::new(span(if begins { "create" } else { "write" }, "response"));
        watch.key(token);
        watch
    }

    #[inline]
    fn new(span: Span) -> Self {
        Self { span, is_over: false }
    }

    /// For a future that is to be instrumented: a guard must not be held while it waits.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// For work that does not wait.
    #[inline]
    pub(super) fn enter(&self) -> Entered<'_> {
        self.span.enter()
    }

    /// Names the session, by the start of its token's digest.
    #[inline]
    pub(super) fn key(&self, token: &SessionToken) {
        if !self.span.is_disabled() {
            self.span.record("key", debug(token.key()));
        }
    }

    /// The commit is over; `None` if it failed.
    #[inline]
    pub(super) fn end(&mut self, fate: Option<Fate>, conflicts: usize) {
        self.is_over = true;
        if !self.span.is_disabled() {
            self.span.record("conflicts", conflicts);
            self.span.record("outcome", fate.map_or("failed", Fate::name));
        }
    }
}

/// The client went away, or a closure of the program panicked.
impl Drop for Watch {
    #[inline]
    fn drop(&mut self) {
        if !self.is_over && !self.span.is_disabled() {
            self.span.record("outcome", "unfinished");
        }
    }
}

#[inline]
fn span(plan: &'static str, ending: &'static str) -> Span {
    tracing::debug_span!("session.commit", key = Empty, plan, ending, conflicts = Empty, outcome = Empty)
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
