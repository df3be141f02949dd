//! A table of the configuration, and how it is filled from a file.

use std::fmt;

use serde_core::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::nearest::{Sought, nearest};
use super::setting::{Raw, Refused};

/// Keys and their values; at the root also tables.
pub(super) trait Table {
    /// What stands before a key where it is named: nothing, or the table's name and a dot.
    fn place(&self) -> &'static str;
    /// All keys, tables among them.
    fn keys(&self) -> &'static [&'static str];
    /// What the value of a key may be; nothing for a table.
    fn expected(&self, key: &str) -> &'static str;
    /// Sets one of the keys, which is no table.
    fn set(&mut self, key: &str, raw: &Raw) -> Result<(), Refused>;
    /// Forgets what was set.
    fn clear(&mut self, key: &str);
    fn table(&mut self, key: &str) -> Option<&mut dyn Table>;
    /// Shows what was set.
    fn show(&self, fields: &mut fmt::DebugMap<'_, '_>);
}

/// Makes a struct of settings, none of which needs to be set, and its [`Table`]. Behind a semicolon stand tables, and
/// behind another one what is no setting.
macro_rules! settings {
    ($(#[$docs:meta])* $visibility:vis struct $name:ident at $place:literal {
        $($(#[$key_docs:meta])* $key:ident: $kind:ty,)*
        $(; $($(#[$table_docs:meta])* $table:ident: $table_kind:ty,)* $(; $other:ident: $other_kind:ty,)?)?
    }) => {
        $(#[$docs])*
        #[derive(Clone, Default)]
        $visibility struct $name {
            $($(#[$key_docs])* $key: Option<$kind>,)*
            $($($(#[$table_docs])* $table: $table_kind,)* $($other: $other_kind,)?)?
        }

        impl $crate::config::table::Table for $name {
            fn place(&self) -> &'static str {
                $place
            }

            fn keys(&self) -> &'static [&'static str] {
                &[$(stringify!($key),)* $($(stringify!($table),)*)?]
            }

            fn expected(&self, key: &str) -> &'static str {
                match key {
                    $(stringify!($key) => <$kind as $crate::config::setting::Setting>::EXPECTED,)*
                    _ => "",
                }
            }

            fn set(&mut self, key: &str, raw: &$crate::config::setting::Raw) -> Result<(), $crate::config::setting::Refused> {
                match key {
                    $(stringify!($key) => $crate::config::setting::put(&mut self.$key, raw),)*
                    _ => Ok(()),
                }
            }

            fn clear(&mut self, key: &str) {
                match key {
                    $(stringify!($key) => self.$key = None,)*
                    _ => {}
                }
            }

            fn table(&mut self, key: &str) -> Option<&mut dyn $crate::config::table::Table> {
                match key {
                    $($(stringify!($table) => Some(&mut self.$table),)*)?
                    _ => None,
                }
            }

            fn show(&self, fields: &mut std::fmt::DebugMap<'_, '_>) {
                $(if let Some(value) = &self.$key {
                    fields.entry(&format_args!(concat!($place, stringify!($key))), value);
                })*
                $($($crate::config::table::Table::show(&self.$table, fields);)*)?
            }
        }
    };
}
pub(super) use settings;

/// Fills a table from a map.
pub(super) struct Fill<'a>(pub(super) &'a mut dyn Table);

impl<'de> DeserializeSeed<'de> for Fill<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.place().trim_end_matches('.') {
            "" => f.write_str("a table of session settings"),
            table => write!(f, "a table of settings for `{table}`"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (table, mut seen) = (self.0, Vec::new());
        while let Some(key) = map.next_key_seed(Key { table: &*table, seen: &seen })? {
            match table.table(key) {
                Some(inner) => map.next_value_seed(Fill(inner))?,
                None => map.next_value_seed(Value { table: &mut *table, key })?,
            }
            seen.push(key);
        }
        Ok(())
    }

    /// A URL perhaps, so it is not repeated.
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(E::invalid_type(Unexpected::Other("a text"), &self))
    }
}

/// One of the keys of a table.
struct Key<'a> {
    table: &'a dyn Table,
    seen: &'a [&'static str],
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<&'static str, E> {
        let (place, keys) = (self.table.place(), self.table.keys());
        if self.seen.contains(&key) {
            return Err(E::custom(format_args!("{place}{key} is given twice")));
        }
        let known = keys.iter().copied().find(|known| *known == key);
        known.ok_or_else(|| {
            let hint = match nearest(&format!("{place}{key}"), Sought::Key) {
                _ if place.is_empty() && matches!(key, "session" | "sessions") => {
                    ": the keys stand here by themselves".to_owned()
                }
                Some(nearest) if !place.is_empty() && !nearest.contains('.') => {
                    format!(": the nearest is {nearest}, outside of this table (in TOML above all tables)")
                }
                Some(nearest) => format!(": the nearest is {nearest}"),
                None => String::new(),
            };
            E::custom(format_args!("unknown key {place}{key}{hint}; here are {}", keys.join(", ")))
        })
    }
}

/// The value of one key.
struct Value<'a> {
    table: &'a mut dyn Table,
    key: &'static str,
}

impl Value<'_> {
    fn set<E: Error>(self, raw: &Raw) -> Result<(), E> {
        let name = format!("{}{}", self.table.place(), self.key);
        self.table.set(self.key, raw).map_err(|refused| E::custom(format_args!("{name}: {refused}")))
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}{}", self.table.expected(self.key), self.table.place(), self.key)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<(), E> {
        self.set(&Raw::Flag(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.set(&Raw::Whole(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        match u64::try_from(number) {
            Ok(number) => self.set(&Raw::Whole(number)),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.set(&Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut texts = Vec::new();
        while let Some(Text(text)) = list.next_element()? {
            texts.push(text);
        }
        self.set(&Raw::List(texts))
    }

    /// TOML's own times, which its parser hands over as a map of one text.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match map.next_key::<Text>()? {
            Some(Text(key)) if key == "$__toml_private_datetime" => {
                let Text(time) = map.next_value()?;
                self.set(&Raw::Text(time))
            }
            found => {
                if found.is_some() {
                    map.next_value::<IgnoredAny>()?;
                }
                Err(A::Error::invalid_type(Unexpected::Map, &self))
            }
        }
    }
}

/// A text that no error repeats.
struct Text(String);

impl<'de> serde_core::Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Any)
    }
}
