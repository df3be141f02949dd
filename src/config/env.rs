//! Settings out of environment variables.

use serde_json::Value;

use super::SessionConfig;
use super::nearest::{Sought, nearest};
use super::settings::{KEYS, variable};
use crate::error::ConfigError;

/// The variable that an X11 session sets for its own purposes.
const FOREIGN: &str = "SESSION_MANAGER";

/// The keys that say the same as a key in another way. A variable overrides them together with its own key.
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

/// Sets the keys of all variables that have the prefix.
pub(super) fn set(
    config: &mut SessionConfig,
    prefix: &str,
    vars: impl Iterator<Item = (String, String)>,
) -> Result<(), ConfigError> {
    let (mut given, mut of_services) = (Vec::new(), Vec::new());
    for (name, value) in vars {
        let Some(written) = name.strip_prefix(prefix).filter(|_| name != FOREIGN) else { continue };
        match KEYS.iter().find(|key| variable("", key) == written) {
            Some(key) => given.push((*key, name, value)),
            None if is_of_a_service(written, &value) => of_services.push(name),
            None => return Err(unknown(prefix, name)),
        }
    }
    if !of_services.is_empty() {
        let variables = of_services.join(" ");
        tracing::info!(
            name: "session.config.passed_over",
            variables, "environment variables that Kubernetes sets for a service have the prefix, and are passed over"
        );
    }
    let replaced = REPLACES.iter().filter(|(key, _)| given.iter().any(|(given, ..)| given == key));
    for other in replaced.flat_map(|(_, others)| *others) {
        config.given.remove(*other);
        config.variables.remove(*other);
    }
    for (key, name, value) in given {
        let is_empty = value.is_empty();
        // No key takes null.
        if let Err(refused) = config.set(key, if is_empty { Value::Null } else { value.into() }) {
            let reason = if is_empty { format!("is empty: {refused}, or leave it unset") } else { refused.to_string() };
            return Err(ConfigError::Setting { name, reason });
        }
        config.variables.insert(key, name);
    }
    Ok(())
}

/// Returns whether a variable is one that Kubernetes sets for a service: `X_SERVICE_HOST`, `X_SERVICE_PORT`,
/// `X_SERVICE_PORT_HTTP`, `X_PORT=tcp://10.0.0.1:6379`, `X_PORT_6379_TCP`, `X_PORT_6379_TCP_ADDR` and the like. The prefix
/// may end in `X` or before it.
fn is_of_a_service(written: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
    let name = format!("_{written}");
    // Without an address, the variable is a person's, who means a key that there is not.
    let is_address = value.split_once("://").is_some_and(|(protocol, _)| PROTOCOLS.contains(&protocol));
    let is_of_a_port = || {
        let whole = ["_PROTO", "_PORT", "_ADDR"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(&name);
        let (rest, protocol) = whole.rsplit_once('_')?;
        let (rest, port) = rest.rsplit_once('_')?;
        let is_known = PROTOCOLS.contains(&&*protocol.to_ascii_lowercase()) && port.parse::<u16>().is_ok();
        Some(is_known && rest.ends_with("_PORT"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_address)
        || is_of_a_port() == Some(true)
}

/// The error for a variable that stands for no key.
fn unknown(prefix: &str, name: String) -> ConfigError {
    let written = &name[prefix.len()..];
    if let Some(key) = written.strip_prefix('_').filter(|written| KEYS.iter().any(|key| variable("", key) == *written))
    {
        let reason = format!("is {key} behind the prefix \"{prefix}_\", which the program has without its last `_`");
        return ConfigError::Setting { name, reason };
    }
    let nearest = nearest(written, Sought::Variable).map(|key| variable(prefix, key));
    ConfigError::UnknownVariable { name, nearest }
}
