//! A store that is chosen when the program runs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cookie::SessionCookie;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::store::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::token::{SessionToken, TokenShape};

/// The store that a [`SessionConfig`](crate::SessionConfig) names: one of those of this crate.
///
/// # Examples
///
/// Moves from the store of one configuration to the store of another, with nobody logged out:
///
/// ```
/// use tower_session_layer::{MovingStore, SessionConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_session_layer::ConfigError> {
/// # let new = SessionConfig::from_vars("SHOP_SESSION_", [("SHOP_SESSION_STORE", "memory:")])?;
/// # let old = new.clone();
/// let store = MovingStore::new(new.store().await?, old.store().await?)?;
/// let sessions = new.builder_on(store)?.build()?;
/// assert!(format!("{sessions:?}").contains("MovingStore"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ConfiguredStore(pub(super) Wrapped);

/// The store with its wrappers.
#[derive(Debug, Clone)]
pub(super) enum Wrapped {
    Plain(Kept),
    Sealed(crate::Sealed<Kept>),
    #[cfg(feature = "cached")]
    Cached(crate::CachedStore<Kept>),
    #[cfg(feature = "cached")]
    CachedSealed(crate::CachedStore<crate::Sealed<Kept>>),
}

/// The store itself.
#[derive(Debug, Clone)]
pub(super) enum Kept {
    Memory(crate::MemoryStore),
    #[cfg(feature = "cookie")]
    Cookie(crate::CookieStore),
    #[cfg(all(feature = "file", unix))]
    File(crate::FileStore),
    #[cfg(feature = "redis")]
    Redis(crate::RedisStore),
    #[cfg(feature = "postgres")]
    Postgres(crate::PostgresStore),
    #[cfg(feature = "mysql")]
    MySql(crate::MySqlStore),
    #[cfg(feature = "sqlite")]
    Sqlite(crate::SqliteStore),
}

/// Passes every call on to the store inside: it is as atomic, durable and safe to drop as that call.
macro_rules! passed_on {
    ($name:ident, $store:ident: $($(#[$on:meta])* $inside:pat),+) => {
        impl SessionStore for $name {
            fn token_shape(&self) -> TokenShape {
                match self { $($(#[$on])* $inside => $store.token_shape(),)+ }
            }

            fn is_immediate(&self) -> bool {
                match self { $($(#[$on])* $inside => $store.is_immediate(),)+ }
            }

            fn max_record_len(&self) -> Option<usize> {
                match self { $($(#[$on])* $inside => $store.max_record_len(),)+ }
            }

            fn sweep_interval(&self) -> Option<Duration> {
                match self { $($(#[$on])* $inside => $store.sweep_interval(),)+ }
            }

            fn bind(&mut self, cookie: &SessionCookie) {
                match self { $($(#[$on])* $inside => $store.bind(cookie),)+ }
            }

            async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
                match self { $($(#[$on])* $inside => $store.load(token, now).await,)+ }
            }

            async fn create(
                &self,
                fresh: &SessionToken,
                record: &Arc<Record>,
                now: SystemTime,
            ) -> Result<Created, StoreError> {
                match self { $($(#[$on])* $inside => $store.create(fresh, record, now).await,)+ }
            }

            async fn update(
                &self,
                token: &SessionToken,
                from: Version,
                change: &Change,
                now: SystemTime,
            ) -> Result<Updated, StoreError> {
                match self { $($(#[$on])* $inside => $store.update(token, from, change, now).await,)+ }
            }

            async fn touch(
                &self,
                token: &SessionToken,
                version: Version,
                deadline: SystemTime,
                now: SystemTime,
            ) -> Result<Updated, StoreError> {
                match self { $($(#[$on])* $inside => $store.touch(token, version, deadline, now).await,)+ }
            }

            async fn delete(
                &self,
                token: &SessionToken,
                tombstone: Duration,
                now: SystemTime,
            ) -> Result<Deleted, StoreError> {
                match self { $($(#[$on])* $inside => $store.delete(token, tombstone, now).await,)+ }
            }

            async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
                match self { $($(#[$on])* $inside => $store.owned(owner, now).await,)+ }
            }

            async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
                match self { $($(#[$on])* $inside => $store.revoke(owner, revocation, now).await,)+ }
            }

            async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
                match self { $($(#[$on])* $inside => $store.sweep(limit, now).await,)+ }
            }
        }
    };
}

passed_on!(ConfiguredStore, store: Self(store));
passed_on!(
    Wrapped, store:
    Self::Plain(store),
    Self::Sealed(store),
    #[cfg(feature = "cached")]
    Self::Cached(store),
    #[cfg(feature = "cached")]
    Self::CachedSealed(store)
);
passed_on!(
    Kept, store:
    Self::Memory(store),
    #[cfg(feature = "cookie")]
    Self::Cookie(store),
    #[cfg(all(feature = "file", unix))]
    Self::File(store),
    #[cfg(feature = "redis")]
    Self::Redis(store),
    #[cfg(feature = "postgres")]
    Self::Postgres(store),
    #[cfg(feature = "mysql")]
    Self::MySql(store),
    #[cfg(feature = "sqlite")]
    Self::Sqlite(store)
);
