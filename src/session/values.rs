//! A session's values, flash values included.

use std::sync::Arc;

use serde_core::de::DeserializeOwned;
use serde_core::{Deserialize, Serialize};

use super::{Op, Session};
use crate::error::{Error, Kind};
use crate::record::{Entry, Record};

impl Session {
    /// Returns the value of a key; `None` where there is none.
    ///
    /// # Errors
    ///
    /// The value is not a `T` ([`Error::is_decode`]). It stays.
    pub fn get<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, Error> {
        self.entry(key).map(|entry| decode(entry.key(), entry.json())).transpose()
    }

    /// Sets the value of a key.
    ///
    /// A value equal to the present one is no change, and a request without a change writes nothing.
    ///
    /// # Errors
    ///
    /// The value cannot be written as JSON ([`Error::is_encode`]), the session would become larger than the layer or
    /// its store allows ([`Error::is_too_large`]), or it is unavailable. Nothing was changed.
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

    /// Removes a key and tells whether it was there.
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

    /// Removes a key and returns its value.
    ///
    /// Played again on a newer record, this removes only the value that it returned.
    ///
    /// # Errors
    ///
    /// The value is not a `T`: it stays. Or the session is unavailable.
    pub fn take<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, Error> {
        self.take_with(|record| record.values.get(key), Op::Take)
    }

    /// Changes the value of a key by what it is: `None` stands for absence on both sides.
    ///
    /// The closure runs now, and again on the newer value for each conflict with another request; what this handler
    /// sees may differ from what lands. It must not have effects of its own. It never runs under a lock.
    ///
    /// # Errors
    ///
    /// The value is not a `T`, or the new one cannot be written, is too large, or the session is unavailable; or the
    /// closure has itself changed this session, which stays changed. If a newer value is not a `T`, the commit fails (500).
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
                id.alone(|| {
                    let value = json.map(|json| decode(&key, json)).transpose()?;
                    change(value).map(|value| encode(&key, &value)).transpose()
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

    /// Returns the keys, sorted. Flash values are not among them.
    pub fn keys(&self) -> Vec<String> {
        self.view().keys()
    }

    /// Returns how many keys there are, without flash values.
    pub fn len(&self) -> usize {
        self.0.read(|record, _| record.map_or(0, |record| record.values.entries().len()))
    }

    /// Returns whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all values and flash values; the owner stays signed in.
    ///
    /// A session that a request leaves without value, flash or owner is removed, cookie and record.
    ///
    /// # Errors
    ///
    /// The session is unavailable.
    pub fn clear(&self) -> Result<(), Error> {
        self.apply(Op::Clear)
    }

    /// Leaves a value for [`take_flash`](Self::take_flash) to find, usually in the request after a redirect.
    ///
    /// # Errors
    ///
    /// As for [`insert`](Self::insert).
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

    /// Removes a flash value and returns it: each is shown once.
    ///
    /// # Errors
    ///
    /// As for [`take`](Self::take).
    pub fn take_flash<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, Error> {
        self.take_with(|record| record.flash.get(key), Op::TakeFlash)
    }

    fn entry(&self, key: &str) -> Option<Entry> {
        self.0.read(|record, _| record.and_then(|record| record.values.get(key).cloned()))
    }

    /// Parses outside the lock, then removes what was parsed, unless it changed in between.
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

pub(crate) fn decode<T: DeserializeOwned>(key: &str, json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|source| {
        let source = without_value(&source);
        Kind::Decode { key: key.to_owned(), wanted: std::any::type_name::<T>(), source }.into()
    })
}

/// What serde expected, without the value that it found and quotes: errors end up in logs.
pub(super) fn without_value(error: &serde_json::Error) -> serde_json::Error {
    const QUOTING: [&str; 5] =
        ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant ", "unknown field "];
    let text = error.to_string();
    let (line, column) = (error.line(), error.column());
    let kept = match text.rsplit_once(", expected ") {
        Some((_, expected)) if QUOTING.iter().any(|start| text.starts_with(start)) => format!("expected {expected}"),
        _ if text.starts_with("missing field `") => text,
        _ => format!("unexpected value at line {line} column {column}"),
    };
    serde_core::de::Error::custom(kept)
}

pub(crate) fn encode(key: &str, value: &impl Serialize) -> Result<Entry, Error> {
    Entry::encode(key, value).map_err(|source| Kind::Encode { key: key.to_owned(), source }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read into")]
    struct Strict {
        name: u32,
    }

    fn reason<T: DeserializeOwned + std::fmt::Debug>(json: &str) -> String {
        std::error::Error::source(&decode::<T>("key", json).unwrap_err()).unwrap().to_string()
    }

    #[test]
    fn reason_says_what_was_expected_and_not_what_was_there() {
        assert_eq!(reason::<u32>(r#""secret""#), "expected u32 at line 1 column 8");
        assert_eq!(reason::<Strict>(r#"{"secret": 1}"#), "expected `name` at line 1 column 9");
        assert_eq!(reason::<Strict>("{}"), "missing field `name` at line 1 column 2");
    }

    #[test]
    fn message_of_anothers_own_making_is_not_repeated() {
        #[derive(Debug)]
        struct Picky;
        impl<'de> Deserialize<'de> for Picky {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Err(serde::de::Error::custom(format!("I met {text}, expected better")))
            }
        }
        assert_eq!(reason::<Picky>(r#""secret""#), "unexpected value");
    }
}
