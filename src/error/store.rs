//! The error of a store.

use std::error::Error as StdError;
use std::fmt;

/// The reason why an operation of a store failed.
///
/// Absence, a conflict and a session that is gone are answers, not errors.
///
/// The message includes that of the wrapped failure, which [`get_ref`](Self::get_ref) returns. As with
/// [`std::io::Error`], [`source`](StdError::source) is the source of that failure, so that a report of an error and its
/// sources says nothing twice.
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
pub struct StoreError(pub(super) StoreKind);

#[derive(Debug)]
pub(super) enum StoreKind {
    Failed(Box<dyn StdError + Send + Sync>),
    Unsupported,
    TooLarge { actual: usize, allowed: usize },
}

impl StoreError {
    /// Wraps a failure of the store's client, database or file system. The message of the failure must not hold a token
    /// or a value.
    pub fn new(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(StoreKind::Failed(source.into()))
    }

    /// Creates the error of a store that never supports the operation, as a client-side store cannot list an owner's
    /// sessions.
    pub fn unsupported() -> Self {
        Self(StoreKind::Unsupported)
    }

    /// Creates the error for a record that is larger than the store can hold. Both sizes are in bytes.
    pub fn too_large(actual: usize, allowed: usize) -> Self {
        Self(StoreKind::TooLarge { actual, allowed })
    }

    /// Returns the wrapped failure, such as the error of the store's client; `None` if there is none.
    pub fn get_ref(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        match &self.0 {
            StoreKind::Failed(inner) => Some(&**inner),
            _ => None,
        }
    }

    /// Returns whether the store never supports the operation.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.0, StoreKind::Unsupported)
    }

    /// Returns whether the record is larger than the store can hold.
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
    /// Returns the source of the wrapped failure. The message of the failure itself is a part of this error's message.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.get_ref().and_then(|inner| inner.source())
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}
