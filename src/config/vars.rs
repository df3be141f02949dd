//! Settings out of environment variables.

use super::SessionConfig;
use super::nearest::{Sought, nearest};
use super::setting::Raw;
use super::table::Table;
use crate::error::ConfigError;

/// What an X11 session sets for its own.
const FOREIGN: &str = "SESSION_MANAGER";

/// What else a setting overrides of the layers below: that which says the same in another way.
const REPLACES: [(&str, &[&str]); 9] = [
    ("store", &["store_url_file"]),
    ("store_url_file", &["store"]),
    ("cookie.keys", &["cookie.key_file"]),
    ("cookie.key_file", &["cookie.keys"]),
    ("cookie.revocations", &["cookie.revocations_url_file"]),
    ("cookie.revocations_url_file", &["cookie.revocations"]),
    ("token_header", &["token_header_alone"]),
    ("token_header_alone", &["token_header"]),
    ("nist", &["idle_timeout", "absolute_timeout"]),
];

/// The variables of a configuration, without their prefix, each with the key it stands for: `REDIS_PREFIX`, `redis.prefix`.
pub(super) fn names() -> Vec<(String, String)> {
    let mut root = SessionConfig::default();
    let mut paths = Vec::new();
    for key in root.keys() {
        match root.table(key) {
            None => paths.push((*key).to_owned()),
            Some(table) => paths.extend(table.keys().iter().map(|inner| format!("{key}.{inner}"))),
        }
    }
    paths.into_iter().map(|path| (variable("", &path), path)).collect()
}

/// The variable that stands for a key.
pub(super) fn variable(prefix: &str, key: &str) -> String {
    format!("{prefix}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Sets what the variables say. Those without the prefix are others'.
pub(super) fn set(
    config: &mut SessionConfig,
    prefix: &str,
    vars: impl Iterator<Item = (String, String)>,
) -> Result<(), ConfigError> {
    let names = names();
    let mut given = Vec::new();
    for (name, value) in vars {
        let Some(variable) = name.strip_prefix(prefix).filter(|_| name != FOREIGN) else { continue };
        let Some((_, path)) = names.iter().find(|(known, _)| known == variable) else {
            return Err(unknown(prefix, name));
        };
        given.push((path, name, value));
    }
    for (path, replaced) in REPLACES {
        if given.iter().any(|(given, ..)| *given == path) {
            for other in replaced {
                at(config, other, |table, key| table.clear(key));
                config.variables.remove(*other);
            }
        }
    }
    for (path, name, value) in given {
        let refuse = |reason| Err(ConfigError::Setting { name: name.clone(), reason });
        at(config, path, |table, key| {
            if value.is_empty() {
                return refuse(format!("is empty: expected {}, or leave it unset", table.expected(key)));
            }
            table.set(key, &Raw::Text(value)).or_else(|refused| refuse(refused.to_string()))
        })?;
        config.variables.insert(path.clone(), name);
    }
    Ok(())
}

/// What to say of a variable that stands for no key.
fn unknown(prefix: &str, name: String) -> ConfigError {
    let written = &name[prefix.len()..];
    if let Some(key) = written.strip_prefix('_').filter(|key| names().iter().any(|(known, _)| known == key)) {
        let reason = format!("is {key} behind the prefix \"{prefix}_\", which the program has without its last `_`");
        return ConfigError::Setting { name, reason };
    }
    let nearest = nearest(written, Sought::Variable).map(|key| variable(prefix, &key));
    ConfigError::UnknownVariable { name, nearest }
}

/// Works on the table that a path leads to.
fn at<T>(config: &mut SessionConfig, path: &str, work: impl FnOnce(&mut dyn Table, &str) -> T) -> T {
    match path.split_once('.') {
        Some((table, key)) => match config.table(table) {
            Some(table) => work(table, key),
            None => work(config, path),
        },
        None => work(config, path),
    }
}
