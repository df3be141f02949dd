//! The errors of a session, of a store and of a configuration.

mod config;
mod store;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

pub use self::config::ConfigError;
#[cfg(feature = "config")]
pub(crate) use self::config::Stores;
pub use self::store::StoreError;
use self::store::StoreKind;
use crate::record::Record;

/// The reason why a session could not be read, changed or committed.
///
/// The type is opaque, so that reasons can be added. The `is_*` methods tell them apart; an error for which none of
/// them is true is a mistake of the program, to be answered 500. No message holds a token or a value. The error behind
/// this one, such as a [`StoreError`], is its [`source`](StdError::source) and not a part of the message.
///
/// # Examples
///
/// ```
/// use http::StatusCode;
/// use tower_session_layer::{Error, Session};
///
/// /// Returns the status that a handler of the program answers.
/// fn status(error: &Error) -> StatusCode {
///     if error.is_unavailable() {
///         StatusCode::SERVICE_UNAVAILABLE
///     } else if error.is_not_signed_in() {
///         StatusCode::UNAUTHORIZED
///     } else if error.is_too_large() {
///         StatusCode::PAYLOAD_TOO_LARGE
///     } else if error.is_gone() || error.is_stale() || error.is_dropped() {
///         StatusCode::CONFLICT // the session has ended: sign in again
///     } else if error.is_unsupported() {
///         StatusCode::NOT_IMPLEMENTED // `CookieStore` lists nobody's sessions
///     } else {
///         // A mistake of the program: a value of another type, or `is_response_sent`, `is_idle_timeout`, …
///         StatusCode::INTERNAL_SERVER_ERROR
///     }
/// }
/// let error = Session::from_extensions(&http::Extensions::new()).unwrap_err();
/// assert!(error.is_no_layer() && !error.is_not_loaded());
/// assert_eq!(status(&error), StatusCode::INTERNAL_SERVER_ERROR);
/// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
/// # use hidden::*;
/// # example(|session| async move {
/// let error = session.sign_in("").unwrap_err();
/// assert!(error.is_no_owner() && !error.is_response_sent() && !error.is_idle_timeout());
/// let error = session.insert("f", std::collections::HashMap::from([(vec![1], 1)])).unwrap_err();
/// assert!(error.is_encode(), "{error}");
/// let error = session.insert("large", "x".repeat(2 << 20)).unwrap_err();
/// assert_eq!(status(&error), StatusCode::PAYLOAD_TOO_LARGE);
/// session.insert("name", "Ada")?;
/// assert!(session.get::<u8>("name").unwrap_err().is_decode());
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct Error(Box<Kind>);

#[derive(Debug)]
pub(crate) enum Kind {
    Decode {
        key: String,
        wanted: &'static str,
        source: serde_json::Error,
    },
    Encode {
        key: String,
        source: serde_json::Error,
    },
    /// A session, or one key of it, does not have the form of the program's struct.
    Unfit {
        key: Option<String>,
        wanted: &'static str,
        source: serde_json::Error,
    },
    /// A struct of the program does not have the form of a session.
    Unwritable {
        given: &'static str,
        source: serde_json::Error,
    },
    TooLarge {
        actual: usize,
        allowed: usize,
        largest: Option<String>,
    },
    /// The closure of an `update` changed the session.
    Entangled,
    IdleTimeout {
        asked: Duration,
        longest: Duration,
    },
    Gone,
    Refused,
    ResponseSent,
    Dropped,
    Unavailable,
    NoOwner,
    NoLayer,
    NotLoaded,
    #[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "only an extractor demands it"))]
    NobodySignedIn,
    Stale,
    Random(std::io::Error),
    TimedOut(Duration),
    /// A revocation is not complete within the store timeout, and goes on.
    GoesOn(Duration),
    /// For the log and the hook alone; the panic itself goes on.
    Panicked,
    Store(StoreError),
}

impl Error {
    /// Returns whether a stored value does not have the requested type, or the session not the form of the requested
    /// struct. The stored value stays as it is.
    pub fn is_decode(&self) -> bool {
        matches!(*self.0, Kind::Decode { .. } | Kind::Unfit { .. })
    }

    /// Returns whether a value cannot be written as JSON or not be read back, or a struct cannot be written as the fields
    /// of a session. Nothing was changed.
    pub fn is_encode(&self) -> bool {
        matches!(*self.0, Kind::Encode { .. } | Kind::Unwritable { .. })
    }

    /// Returns whether the session would become larger than the layer or its store allows. Nothing was changed.
    pub fn is_too_large(&self) -> bool {
        match &*self.0 {
            Kind::TooLarge { .. } => true,
            Kind::Store(error) => error.is_too_large(),
            _ => false,
        }
    }

    /// Returns whether an idle timeout was zero or longer than the absolute timeout.
    pub fn is_idle_timeout(&self) -> bool {
        matches!(*self.0, Kind::IdleTimeout { .. })
    }

    /// Returns whether the session ended while this request held it, or the sign-in was refused.
    ///
    /// A session ends when it is destroyed, renewed, revoked or expired. A sign-in is refused if after its beginning
    /// the owner's sessions were revoked, or [as many others as may
    /// be](crate::SessionLayerBuilder::max_sessions_per_owner) began.
    pub fn is_gone(&self) -> bool {
        matches!(*self.0, Kind::Gone | Kind::Refused)
    }

    /// Returns whether the change, such as a new token, needs a cookie that can no longer be sent.
    pub fn is_response_sent(&self) -> bool {
        matches!(*self.0, Kind::ResponseSent)
    }

    /// Returns whether changes that were made before the response were dropped, because the response was a server error
    /// or could not have a cookie.
    pub fn is_dropped(&self) -> bool {
        matches!(*self.0, Kind::Dropped)
    }

    /// Returns whether the store failed or did not answer in time, or there was no randomness for a token.
    pub fn is_unavailable(&self) -> bool {
        matches!(*self.0, Kind::Unavailable | Kind::TimedOut(_) | Kind::GoesOn(_) | Kind::Store(_) | Kind::Random(_))
            && !self.is_too_large()
            && !self.is_unsupported()
    }

    /// Returns whether the store never supports the operation, as a client-side store cannot list an owner's sessions.
    pub fn is_unsupported(&self) -> bool {
        matches!(&*self.0, Kind::Store(error) if error.is_unsupported())
    }

    /// Returns whether a sign-in had an empty name for the owner.
    pub fn is_no_owner(&self) -> bool {
        matches!(*self.0, Kind::NoOwner)
    }

    /// Returns whether a sign-in waited for its commit for a day or more. The person has to sign in again.
    pub fn is_stale(&self) -> bool {
        matches!(*self.0, Kind::Stale)
    }

    /// Returns whether the handler is for signed-in persons and nobody is signed in.
    pub fn is_not_signed_in(&self) -> bool {
        matches!(*self.0, Kind::NobodySignedIn)
    }

    /// Returns whether the layer is [lazy](crate::SessionLayerBuilder::lazy) and the session has not been loaded.
    pub fn is_not_loaded(&self) -> bool {
        matches!(*self.0, Kind::NotLoaded)
    }

    /// Returns whether the request did not come through a [`SessionLayer`](crate::SessionLayer).
    pub fn is_no_layer(&self) -> bool {
        matches!(*self.0, Kind::NoLayer)
    }
}

impl Error {
    /// Adds the key with the largest value if the store refused this record as too large.
    pub(crate) fn naming(self, record: &Record) -> Self {
        match *self.0 {
            Kind::Store(StoreError(StoreKind::TooLarge { actual, allowed })) => {
                Kind::TooLarge { actual, allowed, largest: record.largest_key() }.into()
            }
            _ => self,
        }
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Kind::Store(error).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Decode { key, wanted, .. } => write!(f, "the session's `{key}` is not of type `{wanted}`"),
            Kind::Encode { key, .. } => {
                write!(f, "the new value of the session's `{key}` cannot be written as JSON, or not be read back")
            }
            Kind::Unfit { key: Some(key), wanted, .. } => {
                write!(f, "the session's `{key}` does not fit `{wanted}`")
            }
            Kind::Unfit { key: None, wanted, .. } => write!(f, "the session does not fit `{wanted}`"),
            Kind::Unwritable { given, .. } => write!(f, "`{given}` cannot be written as the fields of a session"),
            Kind::TooLarge { actual, allowed, largest } => {
                write!(f, "the session would take {actual} bytes where {allowed} are allowed")?;
                largest.as_ref().map_or(Ok(()), |key| write!(f, "; the largest value is `{key}`"))
            }
            Kind::Entangled => f.write_str(
                "the closure of an `update` has itself changed the session: make that change outside, since it may run again",
            ),
            Kind::IdleTimeout { asked, longest } => {
                write!(f, "idle timeout of {asked:?}: expected more than zero and at most {longest:?}")
            }
            Kind::Gone => f.write_str("the session is gone: it was destroyed, renewed or revoked, or it has expired"),
            Kind::Refused => f.write_str(
                "the sign-in was refused: after it began, its owner's sessions were revoked or their limit was reached",
            ),
            Kind::ResponseSent => {
                f.write_str("the change needs a session cookie, but the head of the response is already sent")
            }
            Kind::Dropped => f.write_str("the changes that were made before the response were dropped with it"),
            Kind::Unavailable => f.write_str("the session is unavailable because its store could not be read"),
            Kind::NoLayer => f.write_str(
                "the request carries no session: add `.layer(SessionLayer::new(store))` around this service",
            ),
            Kind::NotLoaded => {
                f.write_str("the session is not loaded: call `LazySession::load`, or leave out `.lazy()`")
            }
            Kind::NobodySignedIn => f.write_str("nobody is signed in"),
            Kind::NoOwner => f.write_str("an owner's name must not be empty"),
            Kind::Stale => f.write_str("the sign-in was not committed within a day"),
            Kind::Random(_) => f.write_str("the operating system gave no randomness for a session token"),
            Kind::Panicked => f.write_str("a closure of `update` panicked"),
            Kind::TimedOut(limit) => write!(f, "the session store did not answer within {limit:?}"),
            Kind::GoesOn(limit) => {
                write!(f, "sessions may live on: the revocation was not complete within {limit:?}, and goes on")
            }
            Kind::Store(StoreError(StoreKind::Failed(_))) => f.write_str("the session store failed"),
            Kind::Store(error) => error.fmt(f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &*self.0 {
            Kind::Decode { source, .. }
            | Kind::Encode { source, .. }
            | Kind::Unfit { source, .. }
            | Kind::Unwritable { source, .. } => Some(source),
            Kind::Random(source) => Some(source),
            Kind::Store(error @ StoreError(StoreKind::Failed(_))) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
