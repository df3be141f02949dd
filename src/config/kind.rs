//! The kinds of values: texts, numbers, durations, words.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cookie::SameSite;
use serde_core::de::{Deserialize as _, Deserializer, Error as _};
use serde_json::Value;

use super::key_ring::KeyRing;
use super::store_url::StoreUrl;
use super::units;
#[cfg(all(feature = "file", unix))]
pub(super) use crate::Durability;
use crate::builder::OnStoreFailure;
use crate::session::CacheHeaders;

/// A kind of value, read from a file or from an environment variable, whose value is always a text.
pub(super) trait SettingKind: Sized {
    /// `true` if no message may repeat a value of this kind.
    const IS_SECRET: bool;

    /// Returns the description of the values that are allowed, which messages put after "expected".
    fn expected() -> String;

    fn read(value: &Value) -> Option<Self>;
}

/// Reads the value of a key. Its error is a sentence that begins with "expected".
pub(super) fn read<'de, D: Deserializer<'de>, T: SettingKind>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    T::read(&value).map(Some).ok_or_else(|| {
        let got = if T::IS_SECRET { String::new() } else { got(&value) };
        D::Error::custom(format_args!("expected {}{got}", T::expected()))
    })
}

/// The end of a message, which repeats the value. Long texts are cut off.
fn got(value: &Value) -> String {
    const MAX_CHARS: usize = 60;
    match value {
        Value::Null => String::new(),
        Value::Array(_) => ", got a list".to_owned(),
        Value::Object(_) => text(value).map_or(", got a table".to_owned(), |time| format!(", got {time}")),
        Value::String(text) => match text.char_indices().nth(MAX_CHARS) {
            Some((end, _)) => format!(", got {:?}…", &text[..end]),
            None => format!(", got {text:?}"),
        },
        value => format!(", got {value}"),
    }
}

/// A text, a number, a truth value or a time of TOML, as an environment variable would have it.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string().into()),
        // The TOML parser passes its own times on as a table with this key.
        Value::Object(time) => Some(time.get("$__toml_private_datetime")?.as_str()?.into()),
        _ => None,
    }
}

/// Implements [`SettingKind`] by a description and a function.
macro_rules! kinds {
    (IS_SECRET = $is_secret:literal; $($kind:ty: $expected:literal, $read:expr;)+) => {
        $(impl SettingKind for $kind {
            const IS_SECRET: bool = $is_secret;

            fn expected() -> String {
                $expected.to_owned()
            }

            fn read(value: &Value) -> Option<Self> {
                let read: fn(&Value) -> Option<Self> = $read;
                read(value)
            }
        })+
    };
}

kinds! {
    IS_SECRET = false;
    String: "a text", |value| value.as_str().map(str::to_owned);
    PathBuf: "the path of a file", |value| value.as_str().filter(|text| !text.is_empty()).map(Self::from);
    bool: "true or false", |value| text(value)?.parse().ok();
    usize: "a whole number", |value| text(value)?.parse().ok();
    u32: "a whole number", |value| text(value)?.parse().ok();
    u8: "1, 2 or 3", |value| text(value)?.parse().ok();
    // A size: no other option has this type.
    u64: "whole bytes, or a size such as \"64KiB\" or \"1MiB\" (B, kB, MB, GB, KiB, MiB, GiB)",
        |value| units::size(&text(value)?);
    Duration: "a duration with its unit, such as \"30m\", \"7d\" or \"1h 30m\" (w, d, h, m, s, ms)",
        |value| units::duration(&text(value)?);
    SystemTime: "a time such as \"2026-01-31T12:00:00Z\" (RFC 3339), or whole seconds since 1970",
        |value| units::time(&text(value)?);
    SameSite: "\"lax\", \"strict\" or \"none\"",
        |value| word(value, &[("lax", Self::Lax), ("strict", Self::Strict), ("none", Self::None)]);
    OnStoreFailure: "\"refuse\" or \"continue\"",
        |value| word(value, &[("refuse", Self::Refuse), ("continue", Self::Continue)]);
    CacheHeaders: "\"automatic\" or \"off\"",
        |value| word(value, &[("automatic", Self::Automatic), ("off", Self::Off)]);
    Nist: "\"aal1\", \"aal2\" or \"aal3\"",
        |value| word(value, &[("aal1", Self::Aal1), ("aal2", Self::Aal2), ("aal3", Self::Aal3)]);
    Former: "a list of texts, each a domain and a path such as \"example.com/\", or a path alone",
        |value| list(value)?.iter().map(|text| Former::parse(text)).collect::<Option<_>>().map(Former);
    Durability: "\"process\" or \"system\"",
        |value| word(value, &[("process", Self::Process), ("system", Self::System)]);
}

// Any text is taken. It is parsed when the store is opened, since parsers quote the line of their errors.
kinds! {
    IS_SECRET = true;
    StoreUrl: "a store such as \"memory:\" or \"redis://HOST:PORT\"", |value| value.as_str().map(Self::new);
    KeyRing: "a list of keys, each a text", |value| list(value).map(KeyRing::from_iter);
}

/// A list of texts, or the text of an environment variable, which separates them by commas.
fn list(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(texts) => texts.iter().map(|text| text.as_str().map(str::to_owned)).collect(),
        value => Some(value.as_str()?.split(',').map(|text| text.trim().to_owned()).collect()),
    }
}

/// One of a few words, in letters of any case.
fn word<T: Copy>(value: &Value, words: &[(&str, T)]) -> Option<T> {
    let text = text(value)?;
    words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)).map(|(_, meaning)| *meaning)
}

/// An option that is off by default, and that an environment variable can turn off where a file turns it on.
#[derive(Clone, Copy)]
pub(super) enum OrOff<T> {
    Off,
    On(T),
}

impl<T: Copy> OrOff<T> {
    pub(super) fn on(self) -> Option<T> {
        if let Self::On(value) = self { Some(value) } else { None }
    }
}

impl<T: SettingKind> SettingKind for OrOff<T> {
    const IS_SECRET: bool = T::IS_SECRET;

    fn expected() -> String {
        format!("{}, or \"off\"", T::expected())
    }

    fn read(value: &Value) -> Option<Self> {
        word(value, &[("off", ())]).map(|()| Self::Off).or_else(|| T::read(value).map(Self::On))
    }
}

impl<T: fmt::Debug> fmt::Debug for OrOff<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("\"off\""),
            Self::On(value) => value.fmt(f),
        }
    }
}

/// The domains and paths of the cookie in earlier deploys.
#[derive(Debug, Clone)]
pub(super) struct Former(pub(super) Vec<(Option<String>, String)>);

impl Former {
    /// Reads a domain, which may be empty, and the path behind it.
    fn parse(text: &str) -> Option<(Option<String>, String)> {
        let (domain, path) = text.split_at(text.find('/')?);
        Some(((!domain.is_empty()).then(|| domain.to_owned()), path.to_owned()))
    }
}

/// The presets of NIST SP 800-63B-4.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nist {
    Aal1,
    Aal2,
    Aal3,
}

/// The durability of the file store, in a program without that store.
#[cfg(not(all(feature = "file", unix)))]
#[derive(Debug, Clone, Copy)]
pub(super) enum Durability {
    Process,
    System,
}
