//! The serializer that notes what passes through it.

use std::fmt::Display;

use serde_core::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::Value;

use super::At;

/// A serializer that notes what passes through.
pub(super) struct Checked<'a, S> {
    to: S,
    at: At<'a>,
}

impl<'a, S> Checked<'a, S> {
    pub(super) fn new(to: S, at: At<'a>) -> Self {
        Self { to, at }
    }
}

/// A value, or a key, that is written through the notes.
struct Noted<'a, T: ?Sized> {
    value: &'a T,
    at: At<'a>,
}

impl<T: Serialize + ?Sized> Serialize for Noted<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Checked { to, at: self.at })
    }
}

/// The elements of a list, map, struct or variant.
pub(super) struct Elements<'a, C> {
    to: C,
    at: At<'a>,
    /// True of a map that may be an internally tagged enum. Of a map without a length, which is a struct with flattened
    /// fields, serde reads some fields directly.
    may_be_tagged: bool,
}

/// Scalar values, each after a look at it.
macro_rules! scalars {
    ($($method:ident $type:ty,)+ => |$at:ident, $value:ident| $look:expr) => {$(
        #[inline]
        fn $method(self, $value: $type) -> Result<S::Ok, S::Error> {
            let $at = self.at;
            $look;
            self.to.$method($value)
        }
    )+};
}

/// Values without anything doubtful.
macro_rules! passed {
    ($($method:ident($($name:ident: $argument:ty),*);)+) => {$(
        #[inline]
        fn $method(self, $($name: $argument),*) -> Result<S::Ok, S::Error> {
            self.to.$method($($name),*)
        }
    )+};
}

/// Beginnings of lists, maps, structs and variants, this many levels further in.
macro_rules! containers {
    ($($method:ident -> $type:ident ($($name:ident: $argument:ty),*), $levels:literal;)+) => {$(
        #[inline]
        fn $method(self, $($name: $argument),*) -> Result<Self::$type, S::Error> {
            let mut at = self.at;
            for _ in 0..$levels {
                at = at.inside()?;
            }
            Ok(Elements { to: self.to.$method($($name),*)?, at, may_be_tagged: true })
        }
    )+};
}

impl<'a, S: Serializer> Serializer for Checked<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Elements<'a, S::SerializeSeq>;
    type SerializeTuple = Elements<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Elements<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Elements<'a, S::SerializeTupleVariant>;
    type SerializeMap = Elements<'a, S::SerializeMap>;
    type SerializeStruct = Elements<'a, S::SerializeStruct>;
    type SerializeStructVariant = Elements<'a, S::SerializeStructVariant>;

    scalars! {
        serialize_bool bool, serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64,
        => |at, value| at.note_key()
    }
    scalars! { serialize_i128 i128, serialize_u128 u128, => |at, value| at.note_unbuffered() }
    scalars! { serialize_f32 f32, serialize_f64 f64, => |at, value| at.note_float(value.is_finite()) }
    passed! {
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    containers! {
        serialize_seq -> SerializeSeq (len: Option<usize>), 1;
        serialize_tuple -> SerializeTuple (len: usize), 1;
        serialize_tuple_struct -> SerializeTupleStruct (name: &'static str, len: usize), 1;
        serialize_tuple_variant -> SerializeTupleVariant
            (name: &'static str, index: u32, variant: &'static str, len: usize), 2;
        serialize_struct -> SerializeStruct (name: &'static str, len: usize), 1;
        serialize_struct_variant -> SerializeStructVariant
            (name: &'static str, index: u32, variant: &'static str, len: usize), 2;
    }

    /// Bytes are a list of numbers.
    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        self.at.inside()?;
        self.to.serialize_bytes(value)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let at = self.at.inside()?;
        if len.is_none() {
            at.note_buffered();
        }
        Ok(Elements { to: self.to.serialize_map(len)?, at, may_be_tagged: len.is_some() })
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.to.serialize_some(&Noted { value, at: self.at })
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.to.serialize_newtype_struct(name, &Noted { value, at: self.at })
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let at = self.at.inside()?;
        self.to.serialize_newtype_variant(name, index, variant, &Noted { value, at })
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.to.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.to.is_human_readable()
    }
}

impl<C> Elements<'_, C> {
    /// Notes that what follows is an internally tagged enum, if this is its tag.
    ///
    /// serde's derive gives the name of a variant as a `str`, and the fields of a program have types of a known size. A
    /// struct with `#[serde(tag)]` looks the same.
    #[inline]
    fn look_for_tag<T: ?Sized>(&mut self) {
        if self.may_be_tagged && std::any::type_name::<T>() == "str" {
            self.at.is_tagged = true;
            self.at.note_buffered();
        }
    }
}

macro_rules! lists {
    ($($trait:ident $method:ident,)+) => {$(
        impl<C: $trait> $trait for Elements<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
                self.to.$method(&Noted { value, at: self.at })
            }

            #[inline]
            fn end(self) -> Result<C::Ok, C::Error> {
                self.to.end()
            }
        }
    )+};
}

lists! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

macro_rules! structs {
    ($($trait:ident,)+) => {$(
        impl<C: $trait> $trait for Elements<'_, C> {
            type Ok = C::Ok;
            type Error = C::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), C::Error> {
                self.look_for_tag::<T>();
                let written = self.to.serialize_field(key, &Noted { value, at: self.at });
                if let Some(fields) = self.at.fields() {
                    self.at.leave(fields, || key.to_owned());
                }
                written
            }

            #[inline]
            fn end(self) -> Result<C::Ok, C::Error> {
                self.to.end()
            }
        }
    )+};
}

structs! { SerializeStruct, SerializeStructVariant, }

impl<C: SerializeMap> SerializeMap for Elements<'_, C> {
    type Ok = C::Ok;
    type Error = C::Error;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), C::Error> {
        if let Some(fields) = self.at.fields() {
            fields.key.replace(name(key));
        }
        self.to.serialize_key(&Noted { value: key, at: At { is_key: true, ..self.at } })
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), C::Error> {
        let written = self.to.serialize_value(&Noted { value, at: self.at });
        if let Some(fields) = self.at.fields() {
            self.at.leave(fields, || fields.key.take());
        }
        written
    }

    #[inline]
    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), C::Error> {
        if std::any::type_name::<K>() == "str" {
            self.look_for_tag::<V>();
        }
        let at = At { is_key: true, ..self.at };
        let written = self.to.serialize_entry(&Noted { value: key, at }, &Noted { value, at: self.at });
        if let Some(fields) = self.at.fields() {
            self.at.leave(fields, || name(key));
        }
        written
    }

    #[inline]
    fn end(self) -> Result<C::Ok, C::Error> {
        self.to.end()
    }
}

/// Returns a key as `serde_json` writes it.
fn name(key: &(impl Serialize + ?Sized)) -> String {
    match serde_json::to_value(key) {
        Ok(Value::String(name)) => name,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
