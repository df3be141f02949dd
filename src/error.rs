//! What can go wrong: in a session, in a store, in a configuration.

mod config;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

pub use self::config::ConfigError;
#[cfg(feature = "config")]
pub(crate) use self::config::Stores;
use crate::record::Record;

type Source = Box<dyn StdError + Send + Sync>;

/// Why a session could not be read, changed or committed.
///
/// Opaque, so that causes can be added; ask it with the `is_*` methods, and answer what they all deny with 500. No
/// message holds a token or a value. What is behind it, as a [`StoreError`], is its
/// [`source`](StdError::source) and no part of the message.
///
/// # Examples
///
/// ```
/// use http::StatusCode;
/// use tower_session_layer::{Error, Session};
///
/// /// What a handler of the program answers.
/// fn status(error: &Error) -> StatusCode {
///     if error.is_unavailable() {
///         StatusCode::SERVICE_UNAVAILABLE
///     } else if error.is_not_signed_in() {
///         StatusCode::UNAUTHORIZED
///     } else if error.is_too_large() {
///         StatusCode::PAYLOAD_TOO_LARGE
///     } else if error.is_gone() || error.is_stale() || error.is_dropped() {
///         StatusCode::CONFLICT // it ended meanwhile: sign in again
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
    /// A session, or one key of it, is not what a struct of the program has there.
    Unfit {
        key: Option<String>,
        wanted: &'static str,
        source: serde_json::Error,
    },
    /// A struct of the program is nothing that a session can be.
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
    /// Told to the log and the hook alone; the panic itself goes on.
    Panicked,
    Store(StoreError),
}

impl Error {
    /// Whether a stored value is not of the type that was asked for, or the session not the struct. What is stored stays
    /// as it is.
    pub fn is_decode(&self) -> bool {
        matches!(*self.0, Kind::Decode { .. } | Kind::Unfit { .. })
    }

    /// Whether a value could not be written as JSON, or a struct not as the fields of a session. Nothing was changed.
    pub fn is_encode(&self) -> bool {
        matches!(*self.0, Kind::Encode { .. } | Kind::Unwritable { .. })
    }

    /// Whether the session would become larger than the layer or its store allows. Nothing was changed.
    pub fn is_too_large(&self) -> bool {
        match &*self.0 {
            Kind::TooLarge { .. } => true,
            Kind::Store(error) => error.is_too_large(),
            _ => false,
        }
    }

    /// Whether an idle timeout was zero or longer than the absolute timeout.
    pub fn is_idle_timeout(&self) -> bool {
        matches!(*self.0, Kind::IdleTimeout { .. })
    }

    /// Whether the session was destroyed, renewed, revoked or has expired while this request held it, or a sign-in began
    /// before a revocation, or before as many others as may be, and was refused.
    pub fn is_gone(&self) -> bool {
        matches!(*self.0, Kind::Gone | Kind::Refused)
    }

    /// Whether the change needs a session cookie, for a new token or idle timeout, which can no longer be sent.
    pub fn is_response_sent(&self) -> bool {
        matches!(*self.0, Kind::ResponseSent)
    }

    /// Whether changes made before the response were dropped with it, since it was a server error or could carry no cookie.
    pub fn is_dropped(&self) -> bool {
        matches!(*self.0, Kind::Dropped)
    }

    /// Whether the store could not be reached, or did not answer in time.
    pub fn is_unavailable(&self) -> bool {
        matches!(*self.0, Kind::Unavailable | Kind::TimedOut(_) | Kind::Store(_) | Kind::Random(_))
            && !self.is_too_large()
            && !self.is_unsupported()
    }

    /// Whether the store cannot do this by its nature, as listing an owner's sessions that clients hold.
    pub fn is_unsupported(&self) -> bool {
        matches!(&*self.0, Kind::Store(error) if error.is_unsupported())
    }

    /// Whether somebody was to be signed in without a name.
    pub fn is_no_owner(&self) -> bool {
        matches!(*self.0, Kind::NoOwner)
    }

    /// Whether a sign-in waited for its commit for a day or more: whoever it was signs in again.
    pub fn is_stale(&self) -> bool {
        matches!(*self.0, Kind::Stale)
    }

    /// Whether somebody has to be signed in and nobody is.
    pub fn is_not_signed_in(&self) -> bool {
        matches!(*self.0, Kind::NobodySignedIn)
    }

    /// Whether the layer is [lazy](crate::SessionLayerBuilder::lazy) and nobody has loaded the session.
    pub fn is_not_loaded(&self) -> bool {
        matches!(*self.0, Kind::NotLoaded)
    }

    /// Whether the request did not come through a [`SessionLayer`](crate::SessionLayer).
    pub fn is_no_layer(&self) -> bool {
        matches!(*self.0, Kind::NoLayer)
    }
}

impl Error {
    /// Where a store refused this record as too large, says what to look at first.
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
            Kind::Encode { key, .. } => write!(f, "the new value of the session's `{key}` cannot be written as JSON"),
            Kind::Unfit { key: Some(key), wanted, .. } => {
                write!(f, "the session's `{key}` is not what `{wanted}` has there")
            }
            Kind::Unfit { key: None, wanted, .. } => write!(f, "the session does not fit `{wanted}`"),
            Kind::Unwritable { given, .. } => write!(f, "`{given}` cannot be written as the fields of a session"),
            Kind::TooLarge { actual, allowed, largest } => {
                write!(f, "the session would take {actual} bytes where {allowed} are allowed")?;
                largest.as_ref().map_or(Ok(()), |key| write!(f, "; the largest value is `{key}`"))
            }
            Kind::Entangled => f.write_str(
                "the closure of an `update` has itself changed the session, and would run again for each change: make it outside",
            ),
            Kind::IdleTimeout { asked, longest } => write!(
                f,
                "an idle timeout of {asked:?} is not possible: expected more than zero and at most {longest:?}"
            ),
            Kind::Gone => f.write_str("the session is gone: it was destroyed, renewed or revoked, or has expired"),
            Kind::Refused => f.write_str(
                "the sign-in was refused: its owner's sessions were revoked, or as many as may be signed in, after it began",
            ),
            Kind::ResponseSent => {
                f.write_str("the change needs a session cookie to be set, but the response's head is already sent")
            }
            Kind::Dropped => f.write_str("what was changed before the response was dropped with it"),
            Kind::Unavailable => f.write_str("the session is unavailable, since its store could not be read"),
            Kind::NoLayer => f.write_str(
                "the request carries no session: add `.layer(SessionLayer::new(store))` around this service",
            ),
            Kind::NotLoaded => f.write_str(
                "the session is loaded only when it is asked for: use `LazySession::load`, or leave out `.lazy()`",
            ),
            Kind::NobodySignedIn => f.write_str("nobody is signed in"),
            Kind::NoOwner => f.write_str("an owner's name must not be empty"),
            Kind::Stale => f.write_str("the sign-in is more than a day old and was not committed"),
            Kind::Random(_) => f.write_str("the operating system gave no randomness for a session token"),
            Kind::Panicked => f.write_str("the session store, or a closure of `update`, panicked"),
            Kind::TimedOut(limit) => write!(f, "the session store did not answer within {limit:?}"),
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

/// Why a store could not do what it was asked.
///
/// Absence, a conflict and a session that is gone are answers, not errors.
///
/// Its message is that of the failure it wraps, which [`get_ref`](Self::get_ref) finds; as with [`std::io::Error`],
/// [`source`](StdError::source) is what is behind that, so that a report of both says nothing twice.
///
/// # Examples
///
/// ```
/// use tower_session_layer::{Error, StoreError};
///
/// let failed = StoreError::from(std::io::Error::other("disk full"));
/// assert_eq!(failed.to_string(), "session store: disk full");
/// assert!(failed.get_ref().unwrap().is::<std::io::Error>());
/// assert!(Error::from(failed).is_unavailable());
/// assert!(Error::from(StoreError::new("no connection")).is_unavailable());
/// assert!(StoreError::unsupported().is_unsupported());
/// assert!(StoreError::too_large(3_000, 2_920).is_too_large());
/// ```
#[derive(Debug)]
pub struct StoreError(StoreKind);

#[derive(Debug)]
enum StoreKind {
    Failed(Source),
    Unsupported,
    TooLarge { actual: usize, allowed: usize },
}

impl StoreError {
    /// Wraps the failure of what the store is made of. Its message must hold no token and no value.
    pub fn new(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(StoreKind::Failed(source.into()))
    }

    /// The answer of a store that cannot do this by its nature, as listing owners in a client-side store.
    pub fn unsupported() -> Self {
        Self(StoreKind::Unsupported)
    }

    /// The record is larger than the store can hold; sizes in bytes.
    pub fn too_large(actual: usize, allowed: usize) -> Self {
        Self(StoreKind::TooLarge { actual, allowed })
    }

    /// Returns the failure that this wraps, as the error of the store's client; `None` if it wraps none.
    pub fn get_ref(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        match &self.0 {
            StoreKind::Failed(inner) => Some(&**inner),
            _ => None,
        }
    }

    /// Whether the store cannot do this by its nature.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.0, StoreKind::Unsupported)
    }

    /// Whether the record is larger than the store can hold.
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, StoreKind::TooLarge { .. })
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            StoreKind::Failed(inner) => write!(f, "session store: {inner}"),
            StoreKind::Unsupported => f.write_str("this session store cannot do that"),
            StoreKind::TooLarge { actual, allowed } => {
                write!(f, "the session would take {actual} bytes where the store allows {allowed}")
            }
        }
    }
}

impl StdError for StoreError {
    /// What is behind the failure, whose own message this error's says already.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.get_ref().and_then(|inner| inner.source())
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

#[cfg(test)]
mod tests;
