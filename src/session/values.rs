//! Reading and writing a session's values, flash values included.

use std::sync::Arc;

use serde_core::de::DeserializeOwned;
use serde_core::{Deserialize, Serialize};

use super::changes::Op;
use super::json::{decode, encode, encode_as};
use super::request::Session;
use crate::error::{Error, Kind};
use crate::record::{Entry, Record};

impl Session {
    /// Returns the value of a key; `None` if the key has no value.
    ///
    /// # Errors
    ///
    /// The value is not a `T` ([`Error::is_decode`]). The value stays.
    pub fn get<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, Error> {
        self.entry(key).map(|entry| decode(entry.key(), entry.json())).transpose()
    }

    /// Sets the value of a key.
    ///
    /// Setting a value equal to the present one is not a change, and a request without changes writes nothing.
    ///
    /// # Errors
    ///
    /// The value cannot be written as JSON or not be read back ([`Error::is_encode`]), the session would become larger
    /// than the layer or its store allows ([`Error::is_too_large`]), or the session is unavailable. After an error
    /// nothing is changed.
    ///
    /// These values cannot be read back: a float that is not finite, more than 127 levels of lists and maps, and an
    /// internally tagged enum with a 128-bit integer or with a map key that is not a string. A struct with
    /// `#[serde(tag)]` looks like such an enum and is refused too. Not noticed here are an untagged enum or a flattened
    /// field with such an integer or key, and a map that holds the name of its enum's tag or of a field beside it.
    /// [`SessionKey::insert`](crate::SessionKey::insert), [`update`](Self::update) and
    /// [`TypedSession`](crate::TypedSession) know the type: they read such a value on trial, and refuse it if it cannot be
    /// read. JSON has one `null`, so `Some(None)` is read as `None`; and a field that is not written needs a default.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
    /// # use hidden::*;
    /// # example(|session| async move {
    /// session.insert("country", "US")?;
    /// session.insert("visits", 1)?;
    /// assert_eq!(session.get::<String>("country")?.as_deref(), Some("US"));
    /// assert!(session.get::<u32>("country").unwrap_err().is_decode());
    /// assert_eq!((session.keys(), session.len()), (vec!["country".into(), "visits".into()], 2));
    ///
    /// assert_eq!(session.take("visits")?, Some(1));
    /// assert!(session.remove("country")? && !session.contains("country"));
    /// session.clear()?;
    /// assert!(session.is_empty());
    /// # Ok(())
    /// # });
    /// ```
    pub fn insert(&self, key: &str, value: impl Serialize) -> Result<(), Error> {
        let op = Op::Insert(encode(key, &value)?);
        self.apply(op)
    }

    /// Sets the value of a key that is read as a `T`.
    pub(super) fn insert_as<T: DeserializeOwned>(&self, key: &str, value: impl Serialize) -> Result<(), Error> {
        let op = Op::Insert(encode_as::<T>(key, &value)?);
        self.apply(op)
    }

    /// Removes a key, and returns whether it had a value.
    ///
    /// # Errors
    ///
    /// The session is unavailable.
    pub fn remove(&self, key: &str) -> Result<bool, Error> {
        self.0.write(|work| {
            let op = Op::Remove(key.into());
            let was_there = op.apply(work.draft_mut())?;
            work.log(op, was_there);
            Ok(was_there)
        })
    }

    /// Removes a key, and returns its value.
    ///
    /// If another request has written the key meanwhile, the commit removes only the value that was returned here.
    ///
    /// # Errors
    ///
    /// The value is not a `T`, and stays; or the session is unavailable.
    pub fn take<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, Error> {
        self.take_with(|record| record.values.get(key), Op::Take)
    }

    /// Computes the value of a key from its present value. `None` stands for absence, both as argument and as result.
    ///
    /// The closure runs now. It runs again, on the newer value, for each conflict with another request, so the stored
    /// value may differ from the one that this handler sees. The closure must have no side effects, and be quick:
    /// while it runs again, later commits of this session that have met a conflict wait for it.
    ///
    /// # Errors
    ///
    /// The present value is not a `T`, the new one cannot be written or is too large, the session is unavailable, or
    /// the closure itself has changed this session (that change stays). If a newer value is not a `T`, the commit fails
    /// (500).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
    /// # use hidden::*;
    /// # example(|session| async move {
    /// session.update("visits", |visits: Option<u64>| Some(visits.unwrap_or(0) + 1))?;
    /// session.update("visits", |visits: Option<u64>| Some(visits.unwrap_or(0) + 1))?;
    /// assert_eq!(session.get("visits")?, Some(2));
    /// # Ok(())
    /// # });
    /// ```
    pub fn update<T, F>(&self, key: &str, change: F) -> Result<(), Error>
    where
        T: Serialize + for<'de> Deserialize<'de>,
        F: Fn(Option<T>) -> Option<T> + Send + Sync + 'static,
    {
        let key: Arc<str> = key.into();
        let closure = {
            let (key, id) = (Arc::clone(&key), self.0.id());
            Arc::new(move |json: Option<&str>| {
                id.run_alone(|| {
                    let value = json.map(|json| decode(&key, json)).transpose()?;
                    change(value).map(|value| encode_as::<T>(&key, &value)).transpose()
                })
            })
        };
        let limit = self.0.shared.max_record_len;
        self.0.change(
            |record| record.and_then(|record| record.values.get(&key).cloned()),
            |before| closure(before.as_ref().map(Entry::json)),
            |work, before, after| {
                let present = work.draft.values.get(&key);
                if present.map(Entry::text_ptr) != before.as_ref().map(Entry::text_ptr) {
                    return Ok(None);
                }
                let op = after.map_or_else(|| Op::Remove(Arc::clone(&key)), Op::Insert);
                work.apply_as(&[op], Op::Update(Arc::clone(&key), closure.clone()), limit).map(Some)
            },
        )
    }

    /// Returns whether a key has a value.
    pub fn contains(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Returns the keys, sorted, without those of flash values.
    pub fn keys(&self) -> Vec<String> {
        self.view().keys()
    }

    /// Returns the number of keys, without those of flash values.
    pub fn len(&self) -> usize {
        self.0.read(|record, _| record.map_or(0, |record| record.values.len()))
    }

    /// Returns whether the session has no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all values and flash values; the owner stays signed in.
    ///
    /// If a session has no value, no flash value and no owner at the end of a request, its record and its cookie are
    /// removed.
    ///
    /// # Errors
    ///
    /// The session is unavailable.
    pub fn clear(&self) -> Result<(), Error> {
        self.apply(Op::Clear)
    }

    /// Sets a flash value: one that [`take_flash`](Self::take_flash) returns once, usually in the request after a
    /// redirect.
    ///
    /// # Errors
    ///
    /// The same as for [`insert`](Self::insert).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
    /// # use hidden::*;
    /// # example(|session| async move {
    /// session.flash("notice", "Saved.")?;
    /// assert_eq!(session.take_flash::<String>("notice")?.as_deref(), Some("Saved."));
    /// assert_eq!(session.take_flash::<String>("notice")?, None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn flash(&self, key: &str, value: impl Serialize) -> Result<(), Error> {
        let op = Op::Flash(encode(key, &value)?);
        self.apply(op)
    }

    /// Removes a flash value, and returns it.
    ///
    /// # Errors
    ///
    /// The same as for [`take`](Self::take).
    pub fn take_flash<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, Error> {
        self.take_with(|record| record.flash.get(key), Op::TakeFlash)
    }

    /// Makes a change without user code in it.
    pub(super) fn apply(&self, op: Op) -> Result<(), Error> {
        let limit = self.0.shared.max_record_len;
        self.0.write(|work| work.apply(op, limit))
    }

    fn entry(&self, key: &str) -> Option<Entry> {
        self.0.read(|record, _| record.and_then(|record| record.values.get(key).cloned()))
    }

    /// Decodes the entry outside the lock, and then removes it. It tries again if the entry changed in between.
    fn take_with<T: DeserializeOwned>(
        &self,
        find: impl Fn(&Record) -> Option<&Entry>,
        op: impl Fn(Entry) -> Op,
    ) -> Result<Option<T>, Error> {
        loop {
            let Some(entry) = self.0.read(|record, _| record.and_then(|record| find(record).cloned())) else {
                return if self.is_unavailable() { Err(Kind::Unavailable.into()) } else { Ok(None) };
            };
            let value = decode(entry.key(), entry.json())?;
            let taken = self.0.write(|work| {
                let is_same = find(&work.draft).is_some_and(|present| present.same(&entry));
                if is_same {
                    work.apply(op(entry), usize::MAX)?;
                }
                Ok(is_same)
            })?;
            if taken {
                return Ok(Some(value));
            }
        }
    }
}
