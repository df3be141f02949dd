//! What happens to sessions, told to the log and to whoever the program lets listen.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::record::TombstoneKind;
use crate::token::{SessionToken, StoreKey};

/// Something that has happened to a session, as [`on_event`](crate::SessionLayerBuilder::on_event) tells it.
///
/// Nothing here is a secret: of a token there are eight hex digits of its digest, the same as in the log, and of what a
/// session holds there is nothing.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::{Arc, Mutex};
/// use http::{Request, Response};
/// use tower::{Layer as _, ServiceExt as _, service_fn};
/// use tower_session_layer::{KeyPrefix, MemoryStore, Operation, Refusal, Session, SessionEvent, SessionLayer, SessionToken};
///
/// let told = Arc::new(Mutex::new(Vec::new()));
/// let list = Arc::clone(&told);
/// let sessions = SessionLayer::builder(MemoryStore::new())
///     .on_event(move |event| {
///         list.lock().unwrap().push(match event {
///             SessionEvent::Created { .. } => "created".to_owned(),
///             SessionEvent::Refused { why: Refusal::Unknown, key: Some(key), .. } => format!("unknown {key}"),
///             SessionEvent::Failed { operation: Operation::Load, .. } => "the store is away".to_owned(),
///             other => format!("{other:?}"),
///         });
///     })
///     .build()?;
/// let service = sessions.layer(service_fn(|request: Request<()>| async move {
///     Session::from_extensions(request.extensions())?.insert("country", "US")?;
///     Ok::<_, tower_session_layer::Error>(Response::new(()))
/// }));
/// let guessed = Request::get("/").header("cookie", format!("__Host-sid={}", "A".repeat(32))).body(())?;
/// service.oneshot(guessed).await?;
/// let key = KeyPrefix::from(SessionToken::from_random([0; 24]).key());
/// assert_eq!(*told.lock().unwrap(), [format!("unknown {key}"), "created".into()]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum SessionEvent<'a> {
    /// A session began.
    #[non_exhaustive]
    Created {
        /// Which one.
        key: KeyPrefix,
    },
    /// Changes to a session are durable.
    #[non_exhaustive]
    Committed {
        /// Which one.
        key: KeyPrefix,
    },
    /// A session has another token: by [`renew`](crate::Session::renew) or [`sign_in`](crate::Session::sign_in), or because of
    /// the old one's [age](crate::SessionLayerBuilder::renew_after).
    #[non_exhaustive]
    Renewed {
        /// That of the new token.
        key: KeyPrefix,
    },
    /// A session's deadline was moved, since it was used.
    #[non_exhaustive]
    Refreshed {
        /// Which one.
        key: KeyPrefix,
    },
    /// A session was removed, since a request left it empty.
    #[non_exhaustive]
    Removed {
        /// Which one.
        key: KeyPrefix,
    },
    /// A session was destroyed. Where another request had ended it already, this is not told.
    #[non_exhaustive]
    Destroyed {
        /// Which one.
        key: KeyPrefix,
    },
    /// An owner's sessions were revoked through [`Owners`](crate::Owners).
    #[non_exhaustive]
    Revoked {
        /// How many.
        ended: usize,
    },
    /// An owner's sessions were ended by a sign-in, since there were more than
    /// [allowed](crate::SessionLayerBuilder::max_sessions_per_owner).
    #[non_exhaustive]
    Limited {
        /// How many.
        ended: usize,
    },
    /// A session of another library goes on here, by an [`ImportLayer`](crate::ImportLayer). That it was
    /// [created](Self::Created) is told before.
    #[non_exhaustive]
    Imported {
        /// The name of the other library's cookie.
        cookie: &'a str,
    },
    /// A client's token was not accepted. At most four tokens of a request are told, and once that some were malformed.
    #[non_exhaustive]
    Refused {
        /// What it was.
        why: Refusal,
        /// Which one; `None` for what is no token.
        key: Option<KeyPrefix>,
    },
    /// Other requests changed a session at once with this one. Told when the commit is over.
    #[non_exhaustive]
    Conflict {
        /// Which one.
        key: KeyPrefix,
        /// How many writes came too late. All but those of a commit that [failed](Self::Failed) were made good.
        tries: usize,
    },
    /// A session ended while a request held it, whose changes are dropped.
    #[non_exhaustive]
    Dropped {
        /// Which one.
        key: KeyPrefix,
    },
    /// The layer could not do something, nearly always since the store failed or took too long.
    #[non_exhaustive]
    Failed {
        /// What.
        operation: Operation,
        /// Why.
        error: &'a Error,
    },
}

/// Why a client's token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not of the store's shape: the store was not asked. Somebody is trying things out.
    Malformed,
    /// The store knows nothing of it, no more or not at all. Many of them are somebody guessing. Where there is something
    /// that the store cannot read, its warning in the log has the same key ([`guide::events`](crate::guide::events)).
    Unknown,
    /// It was good until a minute ago, or until it led on no more ([`TombstoneKind::Forwarded`]). After a renewal that is a
    /// request which was on its way, or a thief.
    Dead(TombstoneKind),
}

/// What the layer was doing when something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Loading a session.
    Load,
    /// Committing changes, or a destroy.
    Commit,
    /// Moving a deadline.
    Touch,
    /// Replacing a token because of its age.
    Renew,
    /// Listing an owner's sessions.
    List,
    /// Ending an owner's sessions, those beyond a limit included.
    Revoke,
    /// Removing what has expired.
    Sweep,
    /// Importing a session of another library.
    Import,
}

/// The first 32 bits of a [`StoreKey`]: enough to tell that two lines mean one session, and of no other use.
///
/// Its text is eight hex digits, those of the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyPrefix([u8; 4]);

impl From<StoreKey> for KeyPrefix {
    fn from(key: StoreKey) -> Self {
        let [a, b, c, d, ..] = *key.as_bytes();
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who is told, besides the log. Each method is called outside any lock.
#[derive(Clone, Default)]
pub(crate) struct Events(Option<Arc<Hook>>);

struct Hook {
    call: Box<dyn Fn(&SessionEvent<'_>) + Send + Sync>,
    has_panicked: AtomicBool,
}

impl Events {
    pub(crate) fn told(call: impl Fn(&SessionEvent<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Hook { call: Box::new(call), has_panicked: AtomicBool::new(false) })))
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
        tracing::debug!(name: "session.removed", key = ?token.key(), "a session that was left empty was removed");
        self.tell(|| SessionEvent::Removed { key: token.key().into() });
    }

    pub(crate) fn destroyed(&self, token: &SessionToken, has_ended: bool) {
        tracing::debug!(name: "session.destroyed", key = ?token.key(), has_ended, "a session was destroyed");
        if has_ended {
            self.tell(|| SessionEvent::Destroyed { key: token.key().into() });
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

    pub(crate) fn imported(&self, cookie: &str) {
        tracing::info!(name: "session.imported", cookie, "a session was imported");
        self.tell(|| SessionEvent::Imported { cookie });
    }

    /// The parser has logged it.
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

    /// Each conflict has been logged as it was met.
    pub(crate) fn conflicted(&self, token: &SessionToken, tries: usize) {
        self.tell(|| SessionEvent::Conflict { key: token.key().into(), tries });
    }

    pub(crate) fn dropped(&self, token: &SessionToken) {
        tracing::debug!(
            name: "session.dropped",
            key = ?token.key(), "a session ended while a request held it, whose changes are dropped"
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
            // Whoever asked is told.
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
    /// Whatever the program does here, a session that is being ended is ended (CVE-2021-34428).
    #[cold]
    fn tell(&self, event: &SessionEvent<'_>) {
        let told = catch_unwind(AssertUnwindSafe(|| (self.call)(event)));
        if told.is_err() && !self.has_panicked.swap(true, Ordering::Relaxed) {
            tracing::error!(
                name: "session.hook.panicked",
                ?event, "the event hook panicked; it is called on, and its further panics are not logged"
            );
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Events").field(&self.0.is_some()).finish()
    }
}
