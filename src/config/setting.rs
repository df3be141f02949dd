//! What a value of the configuration may be, whether it stands in a file or in an environment variable.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cookie::SameSite;

use super::units;
use crate::builder::OnStoreFailure;
use crate::session::CacheHeaders;

/// A value as it was found. Environment variables are texts.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    Text(String),
    Whole(u64),
    Flag(bool),
    List(Vec<String>),
}

impl Raw {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) if text.chars().count() > 60 => {
                write!(f, "{:?}…", text.chars().take(60).collect::<String>())
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Whole(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::List(_) => f.write_str("a list"),
        }
    }
}

/// The type of a setting.
pub(super) trait Setting: Sized {
    /// What it may be, as it stands after "expected".
    const EXPECTED: &'static str;
    /// Whether no message may repeat it.
    const IS_SECRET: bool = false;

    fn read(raw: &Raw) -> Option<Self>;
}

/// A value that a setting cannot be.
pub(super) struct Refused {
    value: Option<String>,
    expected: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "expected {}, got {value}", self.expected),
            None => write!(f, "expected {}", self.expected),
        }
    }
}

/// Takes a value over into its place.
pub(super) fn put<T: Setting>(place: &mut Option<T>, raw: &Raw) -> Result<(), Refused> {
    let refused = || Refused { value: (!T::IS_SECRET).then(|| raw.to_string()), expected: T::EXPECTED };
    *place = Some(T::read(raw).ok_or_else(refused)?);
    Ok(())
}

impl Setting for String {
    const EXPECTED: &'static str = "a text";

    fn read(raw: &Raw) -> Option<Self> {
        raw.text().map(str::to_owned)
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "the path of a file";

    fn read(raw: &Raw) -> Option<Self> {
        raw.text().filter(|text| !text.is_empty()).map(Self::from)
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Flag(flag) => Some(*flag),
            Raw::Text(text) => {
                [("true", true), ("false", false)].iter().find(|(name, _)| name == text).map(|(_, is)| *is)
            }
            _ => None,
        }
    }
}

fn number(raw: &Raw) -> Option<u64> {
    match raw {
        Raw::Whole(number) => Some(*number),
        Raw::Text(text) => units::whole(text),
        _ => None,
    }
}

impl Setting for usize {
    const EXPECTED: &'static str = "a whole number";

    fn read(raw: &Raw) -> Option<Self> {
        number(raw)?.try_into().ok()
    }
}

impl Setting for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn read(raw: &Raw) -> Option<Self> {
        number(raw)?.try_into().ok()
    }
}

impl Setting for u8 {
    const EXPECTED: &'static str = "1, 2 or 3";

    fn read(raw: &Raw) -> Option<Self> {
        number(raw)?.try_into().ok()
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str =
        "a duration with its unit, such as \"30m\", \"7d\" or \"1h 30m\" (w, d, h, m, s, ms)";

    /// A number alone is none: some count seconds where others count milliseconds, and both pass for a timeout.
    fn read(raw: &Raw) -> Option<Self> {
        units::duration(raw.text()?)
    }
}

/// How many bytes something may take.
#[derive(Clone, Copy)]
pub(super) struct Size(pub(super) u64);

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Size {
    /// What does not fit is more than there can be.
    pub(super) fn bytes(self) -> usize {
        self.0.try_into().unwrap_or(usize::MAX)
    }
}

impl Setting for Size {
    const EXPECTED: &'static str =
        "whole bytes, or a size such as \"64KiB\" or \"1MiB\" (B, kB, MB, GB, KiB, MiB, GiB)";

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Whole(bytes) => Some(Self(*bytes)),
            Raw::Text(text) => units::size(text).map(Self),
            _ => None,
        }
    }
}

impl Setting for SystemTime {
    const EXPECTED: &'static str = "a time such as \"2026-01-31T12:00:00Z\" (RFC 3339), or whole seconds since 1970";

    fn read(raw: &Raw) -> Option<Self> {
        match number(raw) {
            // Later ones are milliseconds.
            Some(seconds) => (seconds < units::YEAR_10000).then(|| Self::UNIX_EPOCH + Duration::from_secs(seconds)),
            None => units::time(raw.text()?),
        }
    }
}

/// What is off by default, and can be turned off where a file turns it on.
#[derive(Clone, Copy)]
pub(super) enum OrOff<T> {
    Off,
    On(T),
}

impl<T: fmt::Debug> fmt::Debug for OrOff<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("\"off\""),
            Self::On(value) => value.fmt(f),
        }
    }
}

impl<T: Copy> OrOff<T> {
    pub(super) fn on(self) -> Option<T> {
        if let Self::On(value) = self { Some(value) } else { None }
    }
}

macro_rules! or_off {
    ($kind:ty, $expected:literal) => {
        impl Setting for OrOff<$kind> {
            const EXPECTED: &'static str = $expected;

            fn read(raw: &Raw) -> Option<Self> {
                if raw.text().is_some_and(|text| text.eq_ignore_ascii_case("off")) {
                    return Some(Self::Off);
                }
                <$kind>::read(raw).map(Self::On)
            }
        }
    };
}

or_off!(Duration, "a duration with its unit, such as \"30m\", \"7d\" or \"1h 30m\" (w, d, h, m, s, ms), or \"off\"");
or_off!(usize, "a whole number or \"off\"");

/// One of a few words, in letters of any case.
macro_rules! words {
    ($kind:ty, $expected:literal, $($word:literal => $value:expr),+) => {
        impl Setting for $kind {
            const EXPECTED: &'static str = $expected;

            fn read(raw: &Raw) -> Option<Self> {
                let text = raw.text()?;
                $(if text.eq_ignore_ascii_case($word) {
                    return Some($value);
                })+
                None
            }
        }
    };
}

words!(SameSite, "\"lax\", \"strict\" or \"none\"", "lax" => Self::Lax, "strict" => Self::Strict, "none" => Self::None);
words!(OnStoreFailure, "\"refuse\" or \"continue\"", "refuse" => Self::Refuse, "continue" => Self::Continue);
words!(CacheHeaders, "\"automatic\" or \"off\"", "automatic" => Self::Automatic, "off" => Self::Off);

/// The presets of NIST SP 800-63B-4.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nist {
    Aal1,
    Aal2,
    Aal3,
}

words!(Nist, "\"aal1\", \"aal2\" or \"aal3\"", "aal1" => Self::Aal1, "aal2" => Self::Aal2, "aal3" => Self::Aal3);

/// What files outlive, whether or not there is a file store in this program.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outlives {
    Process,
    System,
}

words!(Outlives, "\"process\" or \"system\"", "process" => Self::Process, "system" => Self::System);
