//! The stores that are reached by a URL.

use std::time::Duration;

use super::SessionConfig;
use super::place::Place;
use super::store::ConfiguredStore;
use crate::error::{ConfigError, StoreError};

/// How long an engine may take until it is ready: longer than the stores' own patience with a server that is silent.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(feature = "redis")]
pub(super) async fn redis(config: &SessionConfig, place: &Place) -> Result<ConfiguredStore, StoreError> {
    let settings = &config.redis;
    let mut builder = crate::RedisStore::builder(place.url());
    if let Some(prefix) = &settings.prefix {
        builder = builder.prefix(prefix);
    }
    if let Some(timeout) = settings.connect_timeout {
        builder = builder.connect_timeout(timeout);
    }
    if let Some(timeout) = settings.response_timeout {
        builder = builder.response_timeout(timeout);
    }
    builder.build().await.map(ConfiguredStore::new)
}

macro_rules! sql {
    ($feature:literal, $open:ident, $store:ident) => {
        #[cfg(feature = $feature)]
        pub(super) async fn $open(config: &SessionConfig, place: &Place) -> Result<ConfiguredStore, StoreError> {
            let settings = &config.sql;
            let connections = settings.max_connections.unwrap_or(crate::$store::CONNECTIONS);
            if connections == 0 {
                return Err(StoreError::new(ConfigError::ZeroBound("max_connections")));
            }
            // Before anything is made.
            settings.table.as_deref().map_or(Ok(()), crate::store::sql::check_name).map_err(StoreError::new)?;
            let mut store = crate::$store::connect_up_to(connections, place.url()).await?;
            if let Some(table) = &settings.table {
                let builder = crate::$store::builder(store.pool().clone()).table(table);
                store = builder.build().map_err(StoreError::new)?;
            }
            if settings.migrate != Some(false) {
                store.migrate().await?;
            }
            Ok(ConfiguredStore::new(store))
        }
    };
}
sql!("postgres", postgres, PostgresStore);
sql!("mysql", mysql, MySqlStore);
sql!("sqlite", sqlite, SqliteStore);

/// Waits for an engine, and says in one line what is wrong with it.
pub(super) async fn patiently(
    place: &Place,
    opening: impl Future<Output = Result<ConfiguredStore, StoreError>>,
) -> Result<ConfiguredStore, ConfigError> {
    let unreachable = |reason| ConfigError::Unreachable { store: place.to_string(), reason };
    let error = match tokio::time::timeout(PATIENCE, opening).await {
        Ok(Ok(kept)) => return Ok(kept),
        Ok(Err(error)) => error,
        Err(_) => return Err(unreachable(format!("was not ready within {PATIENCE:?}"))),
    };
    match error.get_ref() {
        Some(source) => match source.downcast_ref::<ConfigError>() {
            Some(refused) => Err(refused.clone()),
            None => Err(unreachable(source.to_string())),
        },
        None => Err(unreachable(error.to_string())),
    }
}
