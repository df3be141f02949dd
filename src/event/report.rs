//! The reports of events to the log and to the event hook.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Operation, Refusal, SessionEvent};
use crate::error::Error;
use crate::record::TombstoneKind;
use crate::token::{SessionToken, StoreKey};

/// Reports events to the log and to the event hook. No caller holds a lock.
#[derive(Clone, Default)]
pub(crate) struct Events(Option<Arc<Hook>>);

struct Hook {
    call: Box<dyn Fn(&SessionEvent<'_>) + Send + Sync>,
    has_panicked: AtomicBool,
}

impl Events {
    pub(crate) fn new(hook: impl Fn(&SessionEvent<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Hook { call: Box::new(hook), has_panicked: AtomicBool::new(false) })))
    }

    #[inline]
    pub(crate) fn began(&self, token: &SessionToken) {
        tracing::debug!(name: "session.created", key = ?token.key(), "a session began");
        self.tell(|| SessionEvent::Created { key: token.key().into() });
    }

    #[inline]
    pub(crate) fn committed(&self, token: &SessionToken, is_renewed: bool) {
        tracing::debug!(name: "session.committed", key = ?token.key(), is_renewed, "a session was committed");
        self.tell(|| match token.key().into() {
            key if is_renewed => SessionEvent::Renewed { key },
            key => SessionEvent::Committed { key },
        });
    }

    pub(crate) fn refreshed(&self, token: &SessionToken) {
        tracing::debug!(name: "session.refreshed", key = ?token.key(), "a session's deadline was moved");
        self.tell(|| SessionEvent::Refreshed { key: token.key().into() });
    }

    pub(crate) fn removed(&self, token: &SessionToken) {
        tracing::debug!(
            name: "session.removed",
            key = ?token.key(), "a session that a request left empty was removed"
        );
        self.tell(|| SessionEvent::Removed { key: token.key().into() });
    }

    pub(crate) fn destroyed(&self, key: StoreKey, has_ended: bool) {
        tracing::debug!(name: "session.destroyed", ?key, has_ended, "a session was destroyed");
        if has_ended {
            self.tell(|| SessionEvent::Destroyed { key: key.into() });
        }
    }

    pub(crate) fn revoked(&self, ended: usize) {
        tracing::info!(name: "session.owner.revoked", ended, "an owner's sessions were revoked");
        self.tell(|| SessionEvent::Revoked { ended });
    }

    pub(crate) fn overflowed(&self, ended: usize, most: usize) {
        tracing::info!(name: "session.owner.limited", ended, most, "an owner's sessions beyond the limit were ended");
        self.tell(|| SessionEvent::Limited { ended });
    }

    #[cfg(feature = "import")]
    pub(crate) fn imported(&self, cookie: &str) {
        tracing::info!(name: "session.imported", cookie, "a session was imported");
        self.tell(|| SessionEvent::Imported { cookie });
    }

    /// Reports a malformed token to the hook. The parser has reported it to the log.
    pub(crate) fn malformed(&self) {
        self.tell(|| SessionEvent::Refused { why: Refusal::Malformed, key: None });
    }

    pub(crate) fn unknown(&self, token: &SessionToken) {
        tracing::debug!(
            name: "session.token.unknown",
            key = ?token.key(), "a request came with a token that is unknown or expired"
        );
        self.tell(|| SessionEvent::Refused { why: Refusal::Unknown, key: Some(token.key().into()) });
    }

    pub(crate) fn dead(&self, token: &SessionToken, kind: TombstoneKind) {
        tracing::debug!(
            name: "session.token.dead",
            key = ?token.key(), ?kind, "a request came with a token that is dead"
        );
        self.tell(|| SessionEvent::Refused { why: Refusal::Dead(kind), key: Some(token.key().into()) });
    }

    /// Reports the conflicts of a commit to the hook. The log has each of them already.
    pub(crate) fn conflicted(&self, token: &SessionToken, tries: usize) {
        self.tell(|| SessionEvent::Conflict { key: token.key().into(), tries });
    }

    pub(crate) fn dropped(&self, token: &SessionToken) {
        tracing::debug!(
            name: "session.dropped",
            key = ?token.key(), "a session ended while a request held it, and the changes of that request are dropped"
        );
        self.tell(|| SessionEvent::Dropped { key: token.key().into() });
    }

    pub(crate) fn failed(&self, operation: Operation, error: &Error) {
        let source = std::error::Error::source(error);
        match operation {
            Operation::Load => tracing::error!(
                name: "session.load.failed",
                %error, source, "a session could not be loaded"
            ),
            Operation::Commit => tracing::error!(
                name: "session.commit.failed",
                %error, source, "a session could not be committed"
            ),
            Operation::Touch => tracing::warn!(
                name: "session.touch.failed",
                %error, source, "a session's deadline could not be moved"
            ),
            Operation::Renew => tracing::warn!(
                name: "session.renew.failed",
                %error, source, "a session's token could not be replaced at its age"
            ),
            Operation::Import => tracing::error!(
                name: "session.import.failed",
                %error, source, "a session could not be imported"
            ),
            Operation::Sweep => tracing::warn!(
                name: "session.sweep.failed",
                %error, source, "expired sessions could not be swept"
            ),
            // The caller gets the error, so the log has these at a low level.
            Operation::List => tracing::debug!(
                name: "session.owner.list.failed",
                %error, source, "an owner's sessions could not be listed"
            ),
            Operation::Revoke => tracing::debug!(
                name: "session.owner.revoke.failed",
                %error, source, "an owner's sessions could not be ended"
            ),
        }
        self.tell(|| SessionEvent::Failed { operation, error });
    }

    #[inline]
    fn tell<'a>(&self, event: impl FnOnce() -> SessionEvent<'a>) {
        if let Some(hook) = &self.0 {
            hook.tell(&event());
        }
    }
}

impl Hook {
    /// Calls the hook. A panic of the hook must not keep a session from being ended (CVE-2021-34428).
    #[cold]
    fn tell(&self, event: &SessionEvent<'_>) {
        let told = catch_unwind(AssertUnwindSafe(|| (self.call)(event)));
        if told.is_err() && !self.has_panicked.swap(true, Ordering::Relaxed) {
            tracing::error!(
                name: "session.hook.panicked",
                ?event, "the event hook panicked; the layer goes on calling it, and does not log further panics"
            );
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Events").field(&self.0.is_some()).finish()
    }
}
