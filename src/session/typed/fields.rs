//! A struct of the program, read from a session's values and written to them field by field.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde_core::de::value::BorrowedStrDeserializer;
use serde_core::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_core::{Serialize, forward_to_deserialize_any};
use serde_json::value::RawValue;

use crate::error::{Error, Kind};
use crate::record::{Entry, Values, equal_json};
use crate::session::changes::Op;
use crate::session::json::{encode, without_value};

/// The result of a closure on a struct.
pub(super) struct Edited<T, R> {
    /// Inserts and removals, of the fields that differ and no others.
    pub(super) ops: Vec<Op>,
    /// The fields that are no longer written, as they were.
    pub(super) removed: Vec<Entry>,
    pub(super) fields: T,
    pub(super) result: R,
}

/// Reads a struct from the values of its fields.
pub(super) fn read<T: DeserializeOwned>(values: &Values) -> Result<T, Error> {
    resolve(values).map(|(fields, _)| fields)
}

/// Changes a struct, and finds the fields that the change made different.
pub(super) fn edit<T, R>(values: &Values, change: impl FnOnce(&mut T) -> R) -> Result<Edited<T, R>, Error>
where
    T: Serialize + DeserializeOwned,
{
    let (mut fields, hidden) = resolve::<T>(values)?;
    let before = text(&fields)?;
    let result = change(&mut fields);
    let after = text(&fields)?;
    let (ops, removed) =
        if before == after { Default::default() } else { differences::<T>(values, hidden, &before, &after)? };
    Ok(Edited { ops, removed, fields, result })
}

/// Replays an edit on newer values. A removed field is also removed under the older names that other requests have
/// written meanwhile.
pub(super) fn again<T: DeserializeOwned>(mut ops: Vec<Op>, removed: &[Entry], values: &Values) -> Vec<Op> {
    let mut beside = values.clone();
    for entry in removed.iter().filter(|entry| values.get(entry.key()).is_none()) {
        beside.put(beside.find(entry.key()), entry.clone());
    }
    // If the newer values are not a `T`, only the original removals and inserts are replayed.
    let hidden = resolve::<T>(&beside).map(|(_, hidden)| hidden).unwrap_or_default();
    let older = hidden.into_iter().filter(|hidden| removed.iter().any(|entry| entry.key() == hidden.field));
    ops.extend(older.map(|hidden| Op::Remove(hidden.name.into())));
    ops
}

fn text<T: Serialize>(fields: &T) -> Result<String, Error> {
    let text = serde_json::to_string(fields).map_err(unwritable::<T>)?;
    if text.starts_with('{') { Ok(text) } else { Err(unwritable::<T>(de::Error::custom("expected a struct or a map"))) }
}

fn unwritable<T>(source: serde_json::Error) -> Error {
    Kind::Unwritable { given: std::any::type_name::<T>(), source }.into()
}

fn differences<T: DeserializeOwned>(
    values: &Values,
    mut hidden: Vec<Hidden>,
    before: &str,
    after: &str,
) -> Result<(Vec<Op>, Vec<Entry>), Error> {
    type Fields<'a> = BTreeMap<String, &'a RawValue>;
    let before: Fields = serde_json::from_str(before).map_err(unwritable::<T>)?;
    let after: Fields = serde_json::from_str(after).map_err(unwritable::<T>)?;
    let is_kept = |key: &str, json: &RawValue| before.get(key).is_some_and(|old| equal_json(old.get(), json.get()));

    let (mut ops, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for (key, json) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
        ops.push(Op::Remove(key.as_str().into()));
        removed.push(encode(key, json)?);
        changed.push(key);
    }
    for (key, json) in after.iter().filter(|(key, json)| !is_kept(key, json)) {
        ops.push(Op::Insert(encode(key, json)?));
        changed.push(key);
    }

    // A field may be stored under an older name (`#[serde(alias)]`). A write under its present name would leave the
    // value under the older name beside it, and after a removal the older value would come back. Only `T` knows which
    // names a field has, so `T` is read to find them.
    let mut beside = values.clone();
    for key in changed.iter().copied().filter(|key| values.get(key).is_none()) {
        if let Some(json) = before.get(key).or_else(|| after.get(key)) {
            beside.put(beside.find(key), encode(key, json)?);
        }
    }
    if !beside.same(values) && values.entries().iter().any(|entry| !before.contains_key(entry.key())) {
        hidden = resolve::<T>(&beside)?.1;
    }
    let outdated = hidden.into_iter().filter(|hidden| changed.iter().any(|key| *key == hidden.field));
    ops.extend(outdated.map(|hidden| Op::Remove(hidden.name.into())));
    Ok((ops, removed))
}

/// An older name of a field that is stored under its own name too.
struct Hidden {
    name: String,
    field: &'static str,
}

/// Reads a struct, and finds the names that are hidden by another name of the same field.
fn resolve<T: DeserializeOwned>(values: &Values) -> Result<(T, Vec<Hidden>), Error> {
    let (mut hidden, mut first) = (Vec::<Hidden>::new(), Vec::new());
    loop {
        let at = Cell::new(None);
        let fault = match T::deserialize(Source { values, hidden: &hidden, first: &first, at: &at }) {
            Ok(fields) => return Ok((fields, hidden)),
            Err(fault) => fault,
        };
        let key = at.get().map(|entry: &Entry| entry.key().to_owned());
        let (key, source) = match (fault, key) {
            // Each turn hides a name or moves one to the front, so the loop ends.
            (Fault::Duplicate(field), Some(name)) if name != field => {
                hidden.push(Hidden { name, field });
                continue;
            }
            (Fault::Duplicate(field), Some(_)) if !first.contains(&field) => {
                first.push(field);
                continue;
            }
            (Fault::Duplicate(field), None) if hide_other::<T>(values, &mut hidden, &first, field) => continue,
            (Fault::Duplicate(field), _) => (None, de::Error::duplicate_field(field)),
            (Fault::Missing(field), _) => {
                let text = format_args!("missing field `{field}`, which has no `#[serde(default)]`");
                (None, de::Error::custom(text))
            }
            (Fault::Whole(source), _) => (None, without_value(&source)),
            (Fault::Value(source), key) => (key, without_value(&source)),
        };
        return Err(Kind::Unfit { key, wanted: std::any::type_name::<T>(), source }.into());
    }
}

/// Hides the other name of a field if the entry that was being read is unknown, as in a flattened struct, whose fields
/// serde collects first. The other name is the one without which the field is no longer a duplicate.
fn hide_other<T: DeserializeOwned>(
    values: &Values,
    hidden: &mut Vec<Hidden>,
    first: &[&'static str],
    field: &'static str,
) -> bool {
    values.entries().iter().map(Entry::key).filter(|name| *name != field).any(|name| {
        hidden.push(Hidden { name: name.to_owned(), field });
        let read = T::deserialize(Source { values, hidden, first, at: &Cell::new(None) });
        let is_other = !matches!(read, Err(Fault::Duplicate(again)) if again == field);
        if !is_other {
            hidden.pop();
        }
        is_other
    })
}

/// A session's values, which serde reads as a map without a copy.
#[derive(Clone, Copy)]
struct Source<'a> {
    values: &'a Values,
    hidden: &'a [Hidden],
    /// The names that are read before all others.
    first: &'a [&'static str],
    /// The entry that is being read.
    at: &'a Cell<Option<&'a Entry>>,
}

impl<'a> Source<'a> {
    fn visit<V: Visitor<'a>>(self, entries: impl Iterator<Item = &'a Entry>, visitor: V) -> Result<V::Value, Fault> {
        let early = self.first.iter().filter_map(|name| self.values.get(name));
        let late = entries.filter(|entry| {
            let key = entry.key();
            !self.first.contains(&key) && !self.hidden.iter().any(|hidden| hidden.name == key)
        });
        visitor.visit_map(Walk { rest: early.chain(late), at: self.at })
    }
}

impl<'de> Deserializer<'de> for Source<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(self.values.entries().iter(), visitor)
    }

    /// Looks only at these fields, so that the cost depends on the struct and not on the session.
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

/// A key of a map, which JSON writes as text, whatever its type.
struct Key<'a>(&'a str);

/// Reads the text as a number. If it is not one, passes the text on, so that the visitor's error describes it.
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
enum Fault {
    /// The value that is being read is of another type.
    Value(serde_json::Error),
    /// The entry that is being read belongs to a field that was read already.
    Duplicate(&'static str),
    Missing(&'static str),
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
