//! The events of sessions, for the log and for the program's event hook.

mod report;

use std::fmt;

pub(crate) use self::report::Events;
use crate::error::Error;
use crate::record::TombstoneKind;
use crate::token::StoreKey;

/// An event of a session, which the layer passes to the [event hook](crate::SessionLayerBuilder::on_event).
///
/// No event holds a secret. Of a token it has eight hex digits of the digest, the same as the log, and of a session's
/// values nothing.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::{Arc, Mutex};
/// use http::{Request, Response};
/// use tower::{Layer as _, ServiceExt as _, service_fn};
/// use tower_session_layer::{KeyPrefix, MemoryStore, Operation, Refusal, Session, SessionEvent, SessionLayer, SessionToken, TokenScope};
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
/// let key = KeyPrefix::from(SessionToken::from_random([0; 24], TokenScope::of("__Host-sid")).key());
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
        /// The start of the token's digest.
        key: KeyPrefix,
    },
    /// Changes to a session are durable.
    #[non_exhaustive]
    Committed {
        /// The start of the token's digest.
        key: KeyPrefix,
    },
    /// A session has a new token: because of [`renew`](crate::Session::renew) or [`sign_in`](crate::Session::sign_in),
    /// or because of the old token's [age](crate::SessionLayerBuilder::renew_after).
    #[non_exhaustive]
    Renewed {
        /// The start of the new token's digest.
        key: KeyPrefix,
    },
    /// The deadline of a session was moved because the session was used.
    #[non_exhaustive]
    Refreshed {
        /// The start of the token's digest.
        key: KeyPrefix,
    },
    /// A session was removed because a request left it empty.
    #[non_exhaustive]
    Removed {
        /// The start of the token's digest.
        key: KeyPrefix,
    },
    /// A session was destroyed. The event is not sent if another request had ended the session before.
    #[non_exhaustive]
    Destroyed {
        /// The start of the token's digest.
        key: KeyPrefix,
    },
    /// An owner's sessions were revoked through [`Owners`](crate::Owners).
    #[non_exhaustive]
    Revoked {
        /// The number of sessions that ended.
        ended: usize,
    },
    /// A sign-in ended sessions of its owner because there were more than
    /// [allowed](crate::SessionLayerBuilder::max_sessions_per_owner).
    #[non_exhaustive]
    Limited {
        /// The number of sessions that ended.
        ended: usize,
    },
    /// An [`ImportLayer`](crate::ImportLayer) made a session out of one of another library. The event
    /// [`Created`](Self::Created) comes before this one.
    #[non_exhaustive]
    Imported {
        /// The name of the other library's cookie.
        cookie: &'a str,
    },
    /// A client's token was refused.
    ///
    /// A request causes at most four of these events for well-formed tokens, and one for all its malformed ones
    /// together.
    #[non_exhaustive]
    Refused {
        /// The reason.
        why: Refusal,
        /// The start of the token's digest; `None` for a malformed token.
        key: Option<KeyPrefix>,
    },
    /// Other requests changed a session at the same time as this request. The event is sent when the commit is over.
    #[non_exhaustive]
    Conflict {
        /// The start of the token's digest.
        key: KeyPrefix,
        /// The number of writes that came too late. The layer repeated each of them with success, unless the commit
        /// [failed](Self::Failed).
        tries: usize,
    },
    /// A session ended while a request held it. The changes of that request are dropped.
    #[non_exhaustive]
    Dropped {
        /// The start of the token's digest.
        key: KeyPrefix,
    },
    /// An operation of the layer failed, in nearly all cases because the store failed or took too long.
    #[non_exhaustive]
    Failed {
        /// The operation.
        operation: Operation,
        /// The reason.
        error: &'a Error,
    },
}

/// The reason why a client's token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The token does not have the shape of the store's tokens, so the store was not asked. Somebody may be probing the
    /// program.
    Malformed,
    /// The store has no session for the token, or no longer has one. Many such tokens mean that somebody is guessing.
    ///
    /// If the store has a record that it cannot read, its warning in the log has the same key
    /// ([`guide::events`](crate::guide::events)).
    Unknown,
    /// The token was valid until a minute ago, or led on to a new token until then ([`TombstoneKind::Forwarded`]).
    /// After a renewal the token comes from a request that was on its way, or from a thief.
    Dead(TombstoneKind),
}

/// An operation of the layer that can fail.
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
    /// Ending an owner's sessions, also those beyond a limit.
    Revoke,
    /// Removing expired sessions.
    Sweep,
    /// Importing a session of another library.
    Import,
}

/// The first 32 bits of a [`StoreKey`]: enough to see that two lines of a log are about the same session, and of no
/// other use.
///
/// Its text is eight hex digits, the same as in the log.
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
