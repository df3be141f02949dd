//! A layer out of a configuration file or the environment: raw values by their keys, checked one by one, then read by serde.

// The options by their keys.
mod settings;
// The kinds of values.
mod kind;
// Durations, sizes and times as they are written.
mod units;
// The URL of a store.
mod store_url;
// The keys, as text.
mod key_ring;
// Keys and values out of a file.
mod file;
// Keys and values out of environment variables.
mod env;
// The key that was meant where another name is written.
mod nearest;
// From a configuration to the builder of a layer.
mod build;
// From a configuration to an open store.
mod open;
// The stores, opened with their settings.
mod stores;
// A store that is chosen when the program runs.
mod store;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde_core::de::Deserialize as _;
use serde_json::{Map, Value};

use self::settings::Settings;
pub use self::store::ConfiguredStore;

/// The options of a layer and its store from a configuration file or the environment: every option that is data.
///
/// It implements serde's `Deserialize` for TOML, JSON and other formats that distinguish texts from numbers, by itself or as
/// a part of a program's own configuration. The program reads the file. All keys are optional; a missing key has the
/// default of the builder.
///
/// # Examples
///
/// ```
/// use tower_session_layer::SessionConfig;
///
/// # fn main() -> Result<(), toml::de::Error> {
/// let file = r#"
///     store = "redis://:secret@10.0.0.7:6379"
///     cookie_name = "__Host-shop"
///     idle_timeout = "30m"
///     absolute_timeout = "7d"
///
///     [redis]
///     prefix = "shop:"
/// "#;
/// let config: SessionConfig = toml::from_str(file)?;
/// assert!(format!("{config:?}").starts_with(r#"{store: "redis://10.0.0.7:6379", cookie_name: "__Host-shop""#));
///
/// let mistyped = toml::from_str::<SessionConfig>("idel_timeout = '30m'").unwrap_err();
/// assert!(mistyped.message().starts_with("unknown key idel_timeout: the nearest is idle_timeout"));
/// # Ok(())
/// # }
/// ```
///
/// As a part of a program's own configuration, here in JSON:
///
/// ```
/// use tower_session_layer::SessionConfig;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #[derive(serde::Deserialize)]
/// struct Config {
///     listen: String,
///     sessions: SessionConfig,
/// }
///
/// let file = r#"{ "listen": "[::]:443", "sessions": { "store": "memory:", "cookie_name": "__Host-shop" } }"#;
/// let Config { listen, sessions } = serde_json::from_str(file)?;
/// let layer = sessions.override_with_env("SHOP_SESSION_")?.build().await?;
/// assert!(listen == "[::]:443" && format!("{layer:?}").contains("__Host-shop"));
/// # Ok(())
/// # }
/// ```
///
/// # The environment
///
/// [`from_env`](Self::from_env) reads all options from variables. The name of a variable is a prefix, then the key in
/// capitals, with `_` for the dot. With the prefix `SHOP_SESSION_`, `SHOP_SESSION_IDLE_TIMEOUT=30m` sets `idle_timeout`, and
/// `SHOP_SESSION_REDIS_PREFIX=shop:` sets `prefix` of the table `redis`.
/// [`override_with_env`](Self::override_with_env) overrides the options of a file. An error names the variable that has
/// set the option, or the key if no variable has.
///
/// A variable that has the prefix and stands for no key is an error, so that no mistyped key is ignored. A variable whose
/// prefix is mistyped is ignored. The variables that Kubernetes sets for a service such as `shop-session` or
/// `shop-session-redis` are passed over, with a line in the log: `SHOP_SESSION_SERVICE_HOST`,
/// `SHOP_SESSION_REDIS_PORT=tcp://10.0.0.1:6379` and others of these shapes.
///
/// # Secrets
///
/// Keys and the store's URL can be texts, files that hold them, or environment variables. Neither `Debug` nor any
/// error of this crate repeats them. The `toml` crate's errors show the line of the file that they are about. If that line
/// may hold a secret, print their `message()` and the line of their `span()` instead, as `examples/config_file.rs` does.
///
#[doc = include_str!("config/keys.md")]
#[derive(Clone, Default)]
pub struct SessionConfig {
    /// The values by their keys, as they are written. Environment variables replace those of a file.
    given: Map<String, Value>,
    /// The same values, parsed.
    settings: Settings,
    /// The variable that has set a key, for errors to name it.
    variables: BTreeMap<&'static str, String>,
}

impl SessionConfig {
    /// Sets a key. The error says what is expected, and repeats no secret.
    fn set(&mut self, key: &str, value: Value) -> Result<(), serde_json::Error> {
        self.given.insert(key.to_owned(), value);
        self.settings = Settings::deserialize(&self.given)?;
        Ok(())
    }
}

impl fmt::Debug for SessionConfig {
    /// Shows what is set, without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}
