//! The contents of another library's session.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_core::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::micros;
use crate::error::{Error, Kind};
use crate::record::Entry;
use crate::session::{decode, encode};

/// The contents of another library's session, out of which an [`ImportLayer`](crate::ImportLayer) makes a session.
///
/// # Examples
///
/// ```
/// use std::time::SystemTime;
/// use tower_session_layer::{Error, Imported};
///
/// let mut session = Imported::from_json(r#"{"user": 17, "cart": {"mug": 2}, "cookie": {"path": "/"}}"#).unwrap();
/// session.remove("cookie"); // the old library's own member
/// if let Some(user) = session.get::<u64>("user")? {
///     session.sign_in(&user.to_string(), SystemTime::UNIX_EPOCH)?;
/// }
/// session.flash("notice", "Welcome to the new shop")?;
/// session.insert("since", 2026)?;
/// assert!(session.get::<u64>("cart").unwrap_err().is_decode());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Imported {
    values: BTreeMap<String, Entry>,
    flash: BTreeMap<String, Entry>,
    owner: Option<(Arc<str>, u64)>,
}

impl Imported {
    /// Creates an empty session.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a session whose values are the members of a JSON object; `None` if the text is not a JSON object.
    ///
    /// The members are kept as text and not parsed further.
    pub fn from_json(object: &str) -> Option<Self> {
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(object).ok()?;
        let is_long = |key: &String| u32::try_from(key.len()).is_err();
        if members.keys().any(is_long) {
            return None;
        }
        let entry = |(key, json): (String, Box<RawValue>)| {
            let entry = Entry::new(&key, json.get());
            (key, entry)
        };
        Some(Self { values: members.into_iter().map(entry).collect(), ..Self::default() })
    }

    /// Returns the value of a key.
    ///
    /// # Errors
    ///
    /// The value is not a `T` ([`Error::is_decode`]).
    pub fn get<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, Error> {
        self.values.get(key).map(|entry| decode(key, entry.json())).transpose()
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    ///
    /// The value cannot be written as JSON or not be read back ([`Error::is_encode`]).
    pub fn insert(&mut self, key: &str, value: impl Serialize) -> Result<(), Error> {
        self.values.insert(key.to_owned(), encode(key, &value)?);
        Ok(())
    }

    /// Removes a key. Returns whether the session had it.
    pub fn remove(&mut self, key: &str) -> bool {
        self.values.remove(key).is_some()
    }

    /// Sets a flash value, which [`Session::take_flash`](crate::Session::take_flash) returns.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert).
    pub fn flash(&mut self, key: &str, value: impl Serialize) -> Result<(), Error> {
        self.flash.insert(key.to_owned(), encode(key, &value)?);
        Ok(())
    }

    /// Sets the owner of the session and the time `since` at which the owner signed in.
    ///
    /// Use the Unix epoch if that time is unknown, and never `SystemTime::now()`: a revocation refuses sign-ins that
    /// are older than itself. A future time counts as unknown.
    ///
    /// [`Session::signed_in_at`](crate::Session::signed_in_at) returns this time, so that an old cookie does not pass
    /// for a recent sign-in.
    ///
    /// # Errors
    ///
    /// `owner` is empty ([`Error::is_no_owner`]).
    pub fn sign_in(&mut self, owner: &str, since: SystemTime) -> Result<(), Error> {
        if owner.is_empty() {
            return Err(Kind::NoOwner.into());
        }
        self.owner = Some((owner.into(), micros(since)));
        Ok(())
    }

    /// Turns the values for whose keys `name` returns a name into flash values of that name.
    pub(super) fn split_flash<'k>(mut self, name: impl Fn(&str) -> Option<&str> + 'k) -> Self {
        let marked: Vec<_> = self.values.keys().filter(|key| name(key).is_some()).cloned().collect();
        for key in marked {
            if let (Some(entry), Some(name)) = (self.values.remove(&key), name(&key)) {
                self.flash.insert(name.to_owned(), Entry::new(name, entry.json()));
            }
        }
        self
    }

    /// Returns the values, the flash values, and the owner with the time of the sign-in in microseconds.
    pub(super) fn into_parts(self) -> (Vec<Entry>, Vec<Entry>, Option<(Arc<str>, u64)>) {
        (self.values.into_values().collect(), self.flash.into_values().collect(), self.owner)
    }
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imported")
            .field("keys", &self.values.len())
            .field("flash", &self.flash.len())
            .field("has_owner", &self.owner.is_some())
            .finish()
    }
}
