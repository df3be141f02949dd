//! A struct of the program, read from the values of a session and written to them field by field.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_core::Serialize;
use serde_core::de::{DeserializeOwned, Error as _};
use serde_json::value::RawValue;

use super::source::{Fault, Source};
use crate::error::{Error, Kind};
use crate::record::{Doubt, Entry, Fields, Values, equal_json};
use crate::session::changes::Op;
use crate::session::json::{encode, without_value};

/// A struct after a closure has changed it.
pub(super) struct Edited<T, R> {
    /// The inserts and removals of the fields that differ.
    pub(super) ops: Vec<Op>,
    pub(super) fields: T,
    pub(super) result: R,
}

/// Changes a struct, and compares its fields before and after.
pub(super) fn edit<T, R>(values: &Values, change: impl FnOnce(&mut T) -> R) -> Result<Edited<T, R>, Error>
where
    T: Serialize + DeserializeOwned,
{
    let mut fields = read::<T>(values)?;
    let before = written(&fields)?;
    let result = change(&mut fields);
    let after = written(&fields)?;
    let ops = if before == after { Vec::new() } else { differences::<T>(values, &before, &after)? };
    Ok(Edited { ops, fields, result })
}

fn written<T: Serialize>(fields: &T) -> Result<Fields, Error> {
    let written = Fields::write(fields).map_err(|(key, source)| unwritable::<T>(key, source))?;
    if written.json.starts_with('{') {
        Ok(written)
    } else {
        Err(unwritable::<T>(None, serde_json::Error::custom("expected a struct or a map")))
    }
}

fn differences<T: DeserializeOwned>(values: &Values, before: &Fields, after: &Fields) -> Result<Vec<Op>, Error> {
    fn members<T>(fields: &Fields) -> Result<BTreeMap<String, &RawValue>, Error> {
        serde_json::from_str(&fields.json).map_err(|source| unwritable::<T>(None, source))
    }
    let (old, new) = (members::<T>(before)?, members::<T>(after)?);
    let removed = old.keys().filter(|key| !new.contains_key(*key));
    let mut ops: Vec<_> = removed.map(|key| Op::Remove(key.as_str().into())).collect();
    let mut doubtful = None;
    for (key, json) in new {
        let doubt = after.doubt(&key);
        let is_kept = old.get(&key).is_some_and(|old| equal_json(old.get(), json.get()));
        // A float that is not finite may be the default of a field that is not stored. One that is new is seen even if the
        // field was absent before, which has the same JSON.
        if doubt >= Doubt::NotFinite && !(is_kept && before.doubt(&key) == doubt) {
            return Err(unwritable::<T>(Some(key), doubt.error()));
        }
        if !is_kept {
            ops.push(Op::Insert(encode(&key, &json)?));
            if doubt != Doubt::None {
                doubtful = Some(key);
            }
        }
    }
    if doubtful.is_some() {
        let read = try_read::<T>(&with(values, &ops));
        read.map_err(|(key, source)| unwritable::<T>(key.or(doubtful), source))?;
    }
    Ok(ops)
}

/// Returns values with these inserts and removals.
fn with(values: &Values, ops: &[Op]) -> Values {
    let mut values = values.clone();
    for op in ops {
        match op {
            Op::Insert(entry) => _ = values.insert(entry),
            Op::Remove(key) => _ = values.remove(key),
            _ => {}
        }
    }
    values
}

fn unwritable<T>(key: Option<String>, source: serde_json::Error) -> Error {
    match key {
        Some(key) => Kind::Encode { key, source },
        None => Kind::Unwritable { given: std::any::type_name::<T>(), source },
    }
    .into()
}

/// Reads a struct from the values of its fields.
///
/// A field may be stored under its own name and under older ones (`#[serde(alias)]`), which serde refuses as a
/// duplicate. The struct is then read without the older names.
pub(super) fn read<T: DeserializeOwned>(values: &Values) -> Result<T, Error> {
    try_read(values).map_err(|(key, source)| Kind::Unfit { key, wanted: std::any::type_name::<T>(), source }.into())
}

/// Reads a struct, or returns what is wrong, and with which key, if that is known.
fn try_read<T: DeserializeOwned>(values: &Values) -> Result<T, (Option<String>, serde_json::Error)> {
    let mut shown = values.clone();
    loop {
        let at = Cell::new(None);
        let fault = match T::deserialize(Source { values: &shown, twice: None, at: &at }) {
            Ok(fields) => return Ok(fields),
            Err(fault) => fault,
        };
        let outdated = match fault {
            Fault::Duplicate(field) => outdated_names::<T>(&shown, field),
            _ => Vec::new(),
        };
        if outdated.is_empty() {
            return Err(unfit(fault, at.get()));
        }
        for name in outdated {
            shown.remove(&name);
        }
    }
}

/// Returns the stored names of a field except the one to read: its own name, or else the first older name.
fn outdated_names<T: DeserializeOwned>(values: &Values, field: &str) -> Vec<String> {
    let older = values.iter().filter(|entry| entry.key() != field && is_name_of::<T>(entry, field, values));
    let read = usize::from(values.get(field).is_none());
    older.skip(read).map(|entry| entry.key().to_owned()).collect()
}

/// Returns whether an entry is stored under a name of the field.
///
/// Only `T` knows its names. `T` is given the entry twice, and reports a duplicate of the field to which the entry
/// belongs.
fn is_name_of<T: DeserializeOwned>(entry: &Entry, field: &str, values: &Values) -> bool {
    let mut others = Values::default();
    loop {
        match T::deserialize(Source { values: &others, twice: Some(entry), at: &Cell::new(None) }) {
            Err(Fault::Duplicate(found)) => return found == field,
            // `T` needs the tag of an enum, or a field without a default, before it reads the duplicate.
            Err(Fault::Missing(name)) if others.get(name).is_none() => match values.get(name) {
                Some(needed) => _ = others.insert(needed),
                None => return false,
            },
            _ => return false,
        }
    }
}

fn unfit(fault: Fault, at: Option<&Entry>) -> (Option<String>, serde_json::Error) {
    let key = at.filter(|_| matches!(fault, Fault::Value(_))).map(|entry| entry.key().to_owned());
    let source = match fault {
        Fault::Value(source) | Fault::Whole(source) => without_value(&source),
        Fault::Duplicate(field) => serde_json::Error::duplicate_field(field),
        Fault::Missing(field) => {
            serde_json::Error::custom(format_args!("missing field `{field}`, which has no `#[serde(default)]`"))
        }
    };
    (key, source)
}
