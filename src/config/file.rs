//! Keys and values out of a file, each checked where it stands, so that the parser's errors name the line.

use std::fmt;

use serde_core::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde_json::Value;

use super::SessionConfig;
use super::nearest::{Sought, nearest};
use super::settings::KEYS;

impl<'de> Deserialize<'de> for SessionConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut config = Self::default();
        deserializer.deserialize_map(SettingTable { config: &mut config, prefix: "" })?;
        Ok(config)
    }
}

/// A table of the file. Its prefix is its name and a dot; the prefix of the root is empty.
struct SettingTable<'a> {
    config: &'a mut SessionConfig,
    prefix: &'a str,
}

impl<'de> Visitor<'de> for SettingTable<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.trim_end_matches('.') {
            "" => f.write_str("a table of session settings"),
            name => write!(f, "a table of settings for `{name}`"),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Vec::new();
        while let Some(key) = map.next_key_seed(SettingKey { prefix: self.prefix, seen: &seen })? {
            map.next_value_seed(KeyValue { config: self.config, key: &format!("{}{key}", self.prefix) })?;
            seen.push(key);
        }
        Ok(())
    }

    /// Does not repeat the text, which may be a URL with its password.
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(E::invalid_type(Unexpected::Other("a text"), &self))
    }
}

/// A key within a table.
struct SettingKey<'a> {
    prefix: &'a str,
    seen: &'a [String],
}

impl<'de> DeserializeSeed<'de> for SettingKey<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let (prefix, key) = (self.prefix, String::deserialize(deserializer)?);
        // At the root a table is a key too.
        let keys = KEYS.iter().filter_map(|known| known.strip_prefix(prefix)?.split('.').next());
        let mut keys: Vec<_> = keys.collect();
        keys.dedup();
        if self.seen.contains(&key) {
            return Err(D::Error::custom(format_args!("{prefix}{key} is given twice")));
        }
        if keys.contains(&&key[..]) {
            return Ok(key);
        }
        let hint = match nearest(&format!("{prefix}{key}"), Sought::Key) {
            _ if prefix.is_empty() && matches!(&key[..], "session" | "sessions") => {
                ": the keys stand here by themselves".to_owned()
            }
            Some(nearest) if !prefix.is_empty() && !nearest.contains('.') => {
                format!(": the nearest is {nearest}, outside of this table (in TOML above all tables)")
            }
            Some(nearest) => format!(": the nearest is {nearest}"),
            None => String::new(),
        };
        Err(D::Error::custom(format_args!("unknown key {prefix}{key}{hint}; here are {}", keys.join(", "))))
    }
}

/// The value of a key, or a table by its name.
struct KeyValue<'a> {
    config: &'a mut SessionConfig,
    key: &'a str,
}

impl<'de> DeserializeSeed<'de> for KeyValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { config, key } = self;
        if !KEYS.contains(&key) {
            return deserializer.deserialize_map(SettingTable { config, prefix: &format!("{key}.") });
        }
        let value = Value::deserialize(deserializer)?;
        config.set(key, value).map_err(|refused| D::Error::custom(format_args!("{key}: {refused}")))
    }
}
