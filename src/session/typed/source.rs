//! The values of a session as serde reads a map.

use std::cell::Cell;
use std::fmt;

use serde_core::de::value::BorrowedStrDeserializer;
use serde_core::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_core::forward_to_deserialize_any;

use crate::record::{Entry, Values};

/// A session's values as a map, without a copy of them.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) values: &'a Values,
    /// An entry that is read twice, before all others.
    pub(super) twice: Option<&'a Entry>,
    /// The entry that is being read.
    pub(super) at: &'a Cell<Option<&'a Entry>>,
}

impl<'a> Source<'a> {
    fn visit<V: Visitor<'a>>(self, entries: impl Iterator<Item = &'a Entry>, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(Walk { rest: self.twice.into_iter().chain(self.twice).chain(entries), at: self.at })
    }
}

impl<'de> Deserializer<'de> for Source<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(self.values.iter(), visitor)
    }

    /// Looks up the struct's fields only, so that the cost follows the struct and not the session.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit(fields.iter().filter_map(|field| self.values.get(field)), visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

struct Walk<'de, I> {
    rest: I,
    at: &'de Cell<Option<&'de Entry>>,
}

impl<'a, I: Iterator<Item = &'a Entry>> MapAccess<'a> for Walk<'a, I> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.at.set(self.rest.next());
        self.at.get().map(|entry| seed.deserialize(Key(entry.key()))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let entry = self.at.get().ok_or_else(|| de::Error::custom("a value was asked for before its key"))?;
        let mut json = serde_json::Deserializer::from_str(entry.json());
        seed.deserialize(&mut json).and_then(|value| json.end().map(|()| value)).map_err(Fault::Value)
    }
}

/// The key of a map. JSON writes each key as a string, also numbers and enums.
struct Key<'a>(&'a str);

/// Reads the string as a number. If the string is not a number, the visitor gets it unchanged, and reports what it
/// expected.
macro_rules! numbers {
    ($($method:ident $visit:ident,)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.0.parse() {
                Ok(number) => visitor.$visit(number),
                Err(_) => visitor.visit_borrowed_str(self.0),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Fault;

    numbers! {
        deserialize_bool visit_bool, deserialize_f32 visit_f32, deserialize_f64 visit_f64,
        deserialize_i8 visit_i8, deserialize_i16 visit_i16, deserialize_i32 visit_i32,
        deserialize_i64 visit_i64, deserialize_i128 visit_i128,
        deserialize_u8 visit_u8, deserialize_u16 visit_u16, deserialize_u32 visit_u32,
        deserialize_u64 visit_u64, deserialize_u128 visit_u128,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        BorrowedStrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The reason why a struct cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// The value that is being read has another type.
    Value(serde_json::Error),
    /// A field was read already, under this name or another.
    Duplicate(&'static str),
    Missing(&'static str),
    /// The values together do not make such a struct.
    Whole(serde_json::Error),
}

impl de::Error for Fault {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self::Whole(de::Error::custom(message))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Duplicate(field)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(source) | Self::Whole(source) => source.fmt(f),
            Self::Duplicate(field) => write!(f, "duplicate field `{field}`"),
            Self::Missing(field) => write!(f, "missing field `{field}`"),
        }
    }
}

impl std::error::Error for Fault {}
