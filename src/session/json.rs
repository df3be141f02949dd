//! Values to and from JSON, with errors that name the key and never the value.

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use crate::error::{Error, Kind};
use crate::record::{Doubt, Entry};

pub(crate) fn decode<T: DeserializeOwned>(key: &str, json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|source| {
        let source = without_value(&source);
        Kind::Decode { key: key.to_owned(), wanted: std::any::type_name::<T>(), source }.into()
    })
}

/// Removes the value that serde found and quotes from its message, since errors end up in logs.
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

/// Writes a value that any type may read.
///
/// # Errors
///
/// Serde cannot write the value. Or the type that it was written from cannot read it, as far as the writing shows.
pub(crate) fn encode(key: &str, value: &impl Serialize) -> Result<Entry, Error> {
    match Entry::encode(key, value) {
        Ok((entry, Doubt::None | Doubt::Unbuffered)) => Ok(entry),
        Ok((_, doubt)) => Err(unwritten(key, doubt.error())),
        Err(source) => Err(unwritten(key, source)),
    }
}

/// Writes a value that a `T` can read.
///
/// Only a doubtful value is read, which takes as long as [`decode`] does.
pub(super) fn encode_as<T: DeserializeOwned>(key: &str, value: &impl Serialize) -> Result<Entry, Error> {
    let (entry, doubt) = Entry::encode(key, value).map_err(|source| unwritten(key, source))?;
    if doubt != Doubt::None {
        serde_json::from_str::<T>(entry.json()).map_err(|source| unwritten(key, without_value(&source)))?;
    }
    Ok(entry)
}

pub(super) fn unwritten(key: &str, source: serde_json::Error) -> Error {
    Kind::Encode { key: key.to_owned(), source }.into()
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
