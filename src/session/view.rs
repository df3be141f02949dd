//! A session that can only be read.

use std::sync::Arc;
use std::time::SystemTime;

use serde_core::Deserialize;

use super::json::decode;
use super::state::{SessionState, Stored};
use crate::clock::time;
use crate::error::Error;
use crate::record::{Record, SessionHandle, Values};

/// A read-only snapshot of a session, for code that displays the session and must not change it.
///
/// Later changes to the session do not change the snapshot, and it has no method that writes:
///
/// ```compile_fail
/// fn show(view: &tower_session_layer::SessionView) {
///     view.insert("country", "US");
/// }
/// ```
///
/// # Examples
///
/// ```
/// use tower_session_layer::{Error, SessionView};
///
/// fn greeting(view: &SessionView) -> Result<String, Error> {
///     Ok(view.get::<String>("name")?.map_or("Hello".into(), |name| format!("Hello, {name}")))
/// }
/// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
/// # use hidden::*;
/// # example(|session| async move {
/// session.insert("name", "Ada")?;
/// session.sign_in("ada")?;
/// let view = session.view();
/// assert_eq!(greeting(&view)?, "Hello, Ada");
/// assert!(view.contains("name") && !view.is_empty() && view.is_new() && !view.is_unavailable());
/// assert_eq!((view.keys(), view.len()), (vec!["name".into()], 1));
/// assert_eq!(view.owner().as_deref(), Some("ada"));
/// assert!(view.signed_in_at().is_some() && view.handle().is_some());
/// assert!(view.created_at() < view.expires_at());
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct SessionView {
    record: Record,
    is_new: bool,
    is_unavailable: bool,
}

impl SessionView {
    pub(super) fn new(record: Record, state: &SessionState) -> Self {
        Self {
            record,
            is_new: !matches!(state.stored, Stored::Live(_)),
            is_unavailable: matches!(state.stored, Stored::Unavailable),
        }
    }

    pub(super) fn values(&self) -> &Values {
        &self.record.values
    }

    /// Returns the value of a key; `None` if the key has no value.
    ///
    /// # Errors
    ///
    /// The value is not a `T` ([`Error::is_decode`]).
    pub fn get<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, Error> {
        self.record.values.get(key).map(|entry| decode(key, entry.json())).transpose()
    }

    /// Returns whether a key has a value.
    pub fn contains(&self, key: &str) -> bool {
        self.record.values.get(key).is_some()
    }

    /// Returns the keys, sorted, without those of flash values.
    pub fn keys(&self) -> Vec<String> {
        self.record.values.iter().map(|entry| entry.key().to_owned()).collect()
    }

    /// Returns the number of keys, without those of flash values.
    pub fn len(&self) -> usize {
        self.record.values.len()
    }

    /// Returns whether the session has no key.
    pub fn is_empty(&self) -> bool {
        self.record.values.is_empty()
    }

    /// Returns the owner, who was named by the last sign-in; `None` if nobody is signed in.
    pub fn owner(&self) -> Option<Arc<str>> {
        self.record.owner.clone()
    }

    /// Returns the time of the owner's sign-in, so that a program can ask for the password again before a critical
    /// action (ASVS 7.5).
    pub fn signed_in_at(&self) -> Option<SystemTime> {
        self.record.signed_in()
    }

    /// Returns the session's handle, which is its public name among its owner's sessions; `None` if nobody is signed in.
    pub fn handle(&self) -> Option<SessionHandle> {
        self.record.owned_handle()
    }

    /// Returns the time at which the session began; for a new session, the time of the snapshot.
    pub fn created_at(&self) -> SystemTime {
        time(self.record.created)
    }

    /// Returns the time at which the session ends unless it is used again. A new session has the deadline that it would
    /// be stored with.
    pub fn expires_at(&self) -> SystemTime {
        time(self.record.deadline)
    }

    /// Returns whether the client had no live session at the time of the snapshot.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns whether the store could not be read.
    pub fn is_unavailable(&self) -> bool {
        self.is_unavailable
    }
}
