//! The JSON of a value, written with an eye on what cannot be read back.
//!
//! `serde_json` writes some values that it does not read: floats that are not finite, as `null`, and more than 127 levels
//! of lists and maps. And serde reads an untagged or internally tagged enum, or a flattened field, by way of a buffer that
//! has no 128-bit integers and no map keys but strings. The serializer here notes them as they pass, so that a value need
//! not be read on trial.

// The serializer that passes a value on to `serde_json`'s.
mod serializer;

use std::cell::{Cell, RefCell};

use serde_core::ser::{Error as _, Serialize};
use serde_json::Error;

use self::serializer::Checked;

/// The most levels of lists and maps that `serde_json` reads.
const LEVELS: u8 = 127;

/// A reason why a value may be unreadable, from none to the gravest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    #[default]
    None,
    /// A 128-bit integer or a map key that is no string, which serde's buffer lacks, or what is read by way of the buffer: a
    /// key of it may be another one's.
    Unbuffered,
    /// Such an integer or key in what is written as an internally tagged enum is.
    Tagged,
    NotFinite,
    TooDeep,
}

impl Doubt {
    pub(crate) fn error(self) -> Error {
        Error::custom(match self {
            Self::None | Self::Unbuffered => "serde cannot read it back",
            Self::Tagged => {
                "in an internally tagged enum serde reads no 128-bit integer, and no map key but a string: write them as \
                 strings"
            }
            Self::NotFinite => "JSON has no float that is not finite",
            Self::TooDeep => "more than 127 levels of lists and maps cannot be read back",
        })
    }
}

/// Appends the JSON of a value.
///
/// # Errors
///
/// Serde cannot write the value, or `serde_json` cannot read it.
pub(super) fn write(out: &mut Vec<u8>, value: &impl Serialize) -> Result<Doubt, Error> {
    let notes = Notes { doubt: Cell::default(), fields: None };
    value.serialize(notes.checked(LEVELS, &mut serde_json::Serializer::new(out)))?;
    match notes.doubt.get() {
        doubt @ (Doubt::NotFinite | Doubt::TooDeep) => Err(doubt.error()),
        doubt => Ok(doubt),
    }
}

/// The JSON of a struct whose fields are values of their own, and the doubtful ones among them.
#[derive(PartialEq)]
pub(crate) struct Fields {
    pub(crate) json: String,
    doubts: Vec<(String, Doubt)>,
    /// The doubt that belongs to no field in particular.
    rest: Doubt,
}

impl Fields {
    /// Writes a struct. A field with a float that is not finite is written too, as `null`, since it may be unchanged.
    ///
    /// # Errors
    ///
    /// Serde cannot write the struct, or `serde_json` cannot read it; with the field that is at fault, if it is known.
    pub(crate) fn write(value: &impl Serialize) -> Result<Self, (Option<String>, Error)> {
        let (mut json, fields) = (Vec::new(), FieldNotes::default());
        let notes = Notes { doubt: Cell::default(), fields: Some(&fields) };
        let written = value.serialize(notes.checked(LEVELS + 1, &mut serde_json::Serializer::new(&mut json)));
        let (rest, mut doubts) = (notes.doubt.get(), fields.doubts.into_inner());
        match written {
            Ok(()) => {
                let json = String::from_utf8(json).expect("serde_json writes UTF-8");
                Ok(Self { json, doubts, rest })
            }
            Err(error) => Err((doubts.pop().filter(|(_, doubt)| *doubt == Doubt::TooDeep).map(|(key, _)| key), error)),
        }
    }

    pub(crate) fn doubt(&self, key: &str) -> Doubt {
        let doubt = self.doubts.iter().find(|(doubtful, _)| doubtful == key).map_or(Doubt::None, |(_, doubt)| *doubt);
        doubt.max(self.rest)
    }
}

struct Notes<'a> {
    doubt: Cell<Doubt>,
    fields: Option<&'a FieldNotes>,
}

#[derive(Default)]
struct FieldNotes {
    /// The key of the field that is being written, where it is written apart from the field.
    key: RefCell<String>,
    doubts: RefCell<Vec<(String, Doubt)>>,
}

impl Notes<'_> {
    fn checked<S>(&self, levels: u8, to: S) -> Checked<'_, S> {
        Checked::new(to, At { levels, is_key: false, is_tagged: false, notes: self })
    }

    fn note(&self, doubt: Doubt) {
        self.doubt.set(self.doubt.get().max(doubt));
    }
}

/// A place in a value.
#[derive(Clone, Copy)]
struct At<'a> {
    /// The levels that may be further in.
    levels: u8,
    is_key: bool,
    /// True in what is written as an internally tagged enum is.
    is_tagged: bool,
    notes: &'a Notes<'a>,
}

impl At<'_> {
    #[inline]
    fn inside<E: serde_core::ser::Error>(self) -> Result<Self, E> {
        if self.levels == 0 {
            self.notes.note(Doubt::TooDeep);
            return Err(E::custom(Doubt::TooDeep.error()));
        }
        Ok(Self { levels: self.levels - 1, ..self })
    }

    fn note_buffered(self) {
        self.notes.note(Doubt::Unbuffered);
    }

    fn note_unbuffered(self) {
        self.notes.note(if self.is_tagged { Doubt::Tagged } else { Doubt::Unbuffered });
    }

    #[inline]
    fn note_key(self) {
        if self.is_key {
            self.note_unbuffered();
        }
    }

    #[inline]
    fn note_float(self, is_finite: bool) {
        self.note_key();
        if !is_finite {
            self.notes.note(Doubt::NotFinite);
        }
    }

    /// Returns the notes on the fields, if this is a field of the whole.
    #[inline]
    fn fields(&self) -> Option<&FieldNotes> {
        if self.levels == LEVELS { self.notes.fields } else { None }
    }

    fn leave(&self, fields: &FieldNotes, key: impl FnOnce() -> String) {
        let doubt = self.notes.doubt.take();
        if doubt != Doubt::None {
            fields.doubts.borrow_mut().push((key(), doubt));
        }
    }
}
