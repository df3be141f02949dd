//! A layer out of a configuration file or the environment.

// Durations, sizes and times as they are written.
mod units;
// What a value may be.
mod setting;
// The store, as one line.
mod place;
// Keys, as text.
#[cfg_attr(not(feature = "cookie"), expect(dead_code, reason = "only the cookie store decodes them"))]
mod secret;
// Keys and values, out of a file.
mod table;
// Out of environment variables.
mod vars;
// What was meant where something else was written.
mod nearest;
// From it to the builder of a layer.
mod build;
// The store, opened.
mod open;
// Those that are reached by a URL.
#[cfg(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod engines;
// The store, whichever it is.
mod store;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cookie::SameSite;
use serde_core::de::{Deserialize, DeserializeSeed as _, Deserializer};

use self::place::Place;
use self::secret::Keys;
use self::setting::{Nist, OrOff, Outlives, Size};
pub use self::store::ConfiguredStore;
use self::table::{Fill, Table as _, settings};
use crate::builder::OnStoreFailure;
use crate::session::CacheHeaders;

settings! {
    /// A layer and its store as a configuration file or the environment has them: every option that is data.
    ///
    /// It implements serde's `Deserialize`, for TOML, JSON and whatever else tells texts from numbers, by itself or as a
    /// part of a program's own configuration. Reading the file is the program's affair. All keys are optional, and
    /// what is not there has the default of the builder.
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
    /// In a program that has a configuration of its own, which may as well be JSON:
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
    /// [`from_env`](Self::from_env) reads it all from variables: a prefix, then the key in capitals, with `_` for the dot.
    /// With the prefix `SHOP_SESSION_`, `SHOP_SESSION_IDLE_TIMEOUT=30m` is `idle_timeout` and
    /// `SHOP_SESSION_REDIS_PREFIX=shop:` is `prefix` of the table `redis`. [`override_with_env`](Self::override_with_env)
    /// lays them over what a file says. What is refused is named by the variable that has set it, otherwise by its key.
    ///
    /// A variable with the prefix that stands for no key is an error, lest a mistyped one be passed over; one whose prefix is
    /// mistyped goes unnoticed. Kubernetes sets `SHOP_SESSION_SERVICE_HOST` and others for a service `shop-session`: choose a
    /// prefix that no service has, or turn off `enableServiceLinks`.
    ///
    /// # Secrets
    ///
    /// Keys and the store's URL can be texts, files that hold them, or environment variables. Neither `Debug` nor any
    /// error of this crate repeats them. The `toml` crate's errors show the line of the file that they are about: where it
    /// may hold a secret, print their `message()` and the line of their `span()` instead, as `examples/config_file.rs` does.
    ///
    #[doc = include_str!("config/keys.md")]
    pub struct SessionConfig at "" {
        store: Place,
        store_url_file: PathBuf,
        sealed: bool,
        cookie_name: String,
        path: String,
        domain: String,
        same_site: SameSite,
        partitioned: bool,
        insecure_http: bool,
        insecure_script_access: bool,
        browser_session: bool,
        nist: Nist,
        idle_timeout: Duration,
        absolute_timeout: Duration,
        not_before: SystemTime,
        renew_after: OrOff<Duration>,
        store_timeout: Duration,
        on_store_failure: OnStoreFailure,
        save_on_server_error: bool,
        cache_headers: CacheHeaders,
        clear_site_data: bool,
        token_header: String,
        token_header_alone: String,
        lazy: bool,
        max_record_bytes: Size,
        max_sessions_per_owner: OrOff<usize>,
        ;
        cookie: CookieSettings,
        memory: MemorySettings,
        file: FileSettings,
        redis: RedisSettings,
        sql: SqlSettings,
        cached: CachedSettings,
        ;
        // By the key that each has set.
        variables: BTreeMap<String, String>,
    }
}

settings! {
    struct CookieSettings at "cookie." {
        keys: Keys,
        key_file: PathBuf,
        audience: String,
        max_chunks: u8,
        revocations: Place,
        revocations_url_file: PathBuf,
    }
}

settings! {
    struct MemorySettings at "memory." {
        max_sessions: usize,
        max_bytes: Size,
    }
}

settings! {
    struct FileSettings at "file." {
        durability: Outlives,
    }
}

settings! {
    struct RedisSettings at "redis." {
        prefix: String,
        connect_timeout: Duration,
        response_timeout: Duration,
    }
}

settings! {
    struct SqlSettings at "sql." {
        table: String,
        max_connections: u32,
        migrate: bool,
    }
}

settings! {
    struct CachedSettings at "cached." {
        max_staleness: OrOff<Duration>,
        max_bytes: Size,
    }
}

impl<'de> Deserialize<'de> for SessionConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut config = Self::default();
        Fill(&mut config).deserialize(deserializer)?;
        Ok(config)
    }
}

impl fmt::Debug for SessionConfig {
    /// Shows what is set, without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_map();
        self.show(&mut fields);
        fields.finish()
    }
}
