//! The stores, opened with their settings. A store whose feature is off is an error that names the feature.

use std::path::Path;
#[cfg(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite"))]
use std::time::Duration;

use super::settings::Settings;
use super::store::ConfiguredStore;
use super::store_url::StoreUrl;
use crate::error::ConfigError;
#[cfg(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite"))]
use crate::error::StoreError;

/// Calls a method of a builder for each option that is set.
macro_rules! apply {
    ($builder:expr; $($option:ident: $value:expr),+) => {{
        let mut builder = $builder;
        $(if let Some(value) = $value {
            builder = builder.$option(value);
        })+
        builder
    }};
}
#[cfg(any(feature = "cookie", feature = "cached"))]
pub(super) use apply;

pub(super) fn memory(settings: &Settings) -> Result<ConfiguredStore, ConfigError> {
    let (max_sessions, max_bytes) = (settings.memory_max_sessions, settings.memory_max_bytes.map(fitting));
    apply!(crate::MemoryStore::builder(); max_sessions: max_sessions, max_bytes: max_bytes)
        .build()
        .map(ConfiguredStore::new)
}

/// Returns the largest `usize` for a size that does not fit into one.
pub(super) fn fitting(bytes: u64) -> usize {
    bytes.try_into().unwrap_or(usize::MAX)
}

#[cfg(all(feature = "file", unix))]
pub(super) fn file(settings: &Settings, _: &StoreUrl, directory: &Path) -> Result<ConfiguredStore, ConfigError> {
    apply!(crate::FileStore::builder(directory); durability: settings.file_durability).build().map(ConfiguredStore::new)
}

#[cfg(not(all(feature = "file", unix)))]
pub(super) fn file(_: &Settings, url: &StoreUrl, _: &Path) -> Result<ConfiguredStore, ConfigError> {
    if cfg!(unix) {
        return Err(off(url, "file"));
    }
    Err(ConfigError::Unreachable { store: url.to_string(), reason: "files are for Unix only".to_owned() })
}

/// Makes the function that opens an engine.
macro_rules! engine {
    ($feature:literal, $name:ident, |$settings:ident, $url:ident| $opening:block) => {
        #[cfg(feature = $feature)]
        pub(super) async fn $name($settings: &Settings, $url: &StoreUrl) -> Result<ConfiguredStore, ConfigError> {
            patiently($url, async { $opening }).await
        }

        #[cfg(not(feature = $feature))]
        #[allow(clippy::unused_async, reason = "as with the feature")]
        pub(super) async fn $name(_: &Settings, url: &StoreUrl) -> Result<ConfiguredStore, ConfigError> {
            Err(off(url, $feature))
        }
    };
}

engine!("redis", redis, |settings, url| {
    let mut builder = apply!(
        crate::RedisStore::builder(url.url());
        prefix: settings.redis_prefix.as_deref(),
        connect_timeout: settings.redis_connect_timeout,
        response_timeout: settings.redis_response_timeout
    );
    if settings.redis_insecure_eviction == Some(true) {
        builder = builder.insecure_eviction();
    }
    builder.build().await.map(ConfiguredStore::new)
});

macro_rules! sql {
    ($feature:literal, $name:ident, $store:ident) => {
        engine!($feature, $name, |settings, url| {
            let connections = settings.sql_max_connections.unwrap_or(crate::$store::CONNECTIONS);
            if connections == 0 {
                return Err(StoreError::new(ConfigError::ZeroBound("max_connections")));
            }
            // Before a file or a connection is made.
            settings.sql_table.as_deref().map_or(Ok(()), crate::store::sql::check_name).map_err(StoreError::new)?;
            let mut store = crate::$store::connect_up_to(connections, url.url()).await?;
            if let Some(table) = &settings.sql_table {
                let builder = crate::$store::builder(store.pool().clone()).table(table);
                store = builder.build().map_err(StoreError::new)?;
            }
            if settings.sql_migrate != Some(false) {
                store.migrate().await?;
            }
            Ok(ConfiguredStore::new(store))
        });
    };
}
sql!("postgres", postgres, PostgresStore);
sql!("mysql", mysql, MySqlStore);
sql!("sqlite", sqlite, SqliteStore);

/// Waits for an engine. Its error is one line.
#[cfg(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite"))]
async fn patiently(
    url: &StoreUrl,
    opening: impl Future<Output = Result<ConfiguredStore, StoreError>>,
) -> Result<ConfiguredStore, ConfigError> {
    // Longer than the stores' own timeouts for a silent server.
    const PATIENCE: Duration = Duration::from_secs(30);
    let unreachable = |reason| ConfigError::Unreachable { store: url.to_string(), reason };
    let opened = tokio::time::timeout(PATIENCE, opening).await;
    let opened = opened.map_err(|_| unreachable(format!("was not ready within {PATIENCE:?}")))?;
    opened.map_err(|error| match error.get_ref() {
        Some(source) => source.downcast_ref().cloned().unwrap_or_else(|| unreachable(source.to_string())),
        None => unreachable(error.to_string()),
    })
}

#[allow(dead_code, reason = "with all features nothing is off")]
pub(super) fn off(url: &StoreUrl, feature: &'static str) -> ConfigError {
    ConfigError::FeatureOff { what: format!("store {url:?}"), feature }
}
