//! The settings of a store, and their validation.

use std::sync::Arc;
use std::time::Duration;

use super::RedisStore;
use super::connect::{RedisSource, Timeouts};
use super::keyspace::Keyspace;
use super::policy;
use super::script::Scripts;
use crate::error::{ConfigError, StoreError};

/// Settings of a [`RedisStore`].
#[derive(Debug)]
pub struct RedisStoreBuilder {
    source: RedisSource,
    prefix: String,
    timeouts: Timeouts,
    insecure_eviction: bool,
}

impl RedisStore {
    /// Connects with the default settings, as [`RedisStoreBuilder::build`] does.
    pub async fn new(source: impl Into<RedisSource>) -> Result<Self, StoreError> {
        Self::builder(source).build().await
    }

    /// Starts with the default settings.
    pub fn builder(source: impl Into<RedisSource>) -> RedisStoreBuilder {
        let timeouts = Timeouts { connect: Duration::from_secs(2), response: Duration::from_secs(5) };
        RedisStoreBuilder { source: source.into(), prefix: "session:".to_owned(), timeouts, insecure_eviction: false }
    }
}

impl RedisStoreBuilder {
    /// Sets the prefix of all Redis keys, `session:` unless set: 1 to 64 ASCII letters, digits and `:._-/`.
    ///
    /// Applications that share a database need different prefixes.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long opening a connection may take, 2 seconds unless set. A connection of the program keeps its own timeout.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// Sets how long a command may wait for its reply, 5 seconds unless set. A connection of the program keeps its own
    /// timeout.
    ///
    /// The layer's store timeout bounds all calls of a request together. The shorter of the two timeouts counts.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.response = timeout;
        self
    }

    /// Accepts a server that evicts keys when its memory is full.
    ///
    /// Such a server ends sessions early. It may also evict an owner's list or mark, and a revocation then misses sessions
    /// that are in use. Every write of a signed-in session enters it in the list again, which costs a command more.
    #[must_use]
    pub fn insecure_eviction(mut self) -> Self {
        self.insecure_eviction = true;
        self
    }

    /// Connects, sends a `PING`, and asks the server what it evicts when its memory is full. A connection of the program
    /// is only asked that.
    ///
    /// If the server does not tell its `maxmemory-policy`, the store is built and logs a warning.
    ///
    /// # Errors
    ///
    /// A wrong setting is a [`ConfigError`] within the error ([`StoreError::get_ref`]):
    /// [`KeyPrefix`](ConfigError::KeyPrefix), [`RedisUrl`](ConfigError::RedisUrl),
    /// [`ZeroBound`](ConfigError::ZeroBound) for a timeout of zero, or [`RedisEviction`](ConfigError::RedisEviction) for a
    /// server that evicts keys. Otherwise the server could not be reached within the
    /// timeouts, or refused user or password. The message is one line and holds no secret.
    pub async fn build(self) -> Result<RedisStore, StoreError> {
        let Self { source, prefix, timeouts, insecure_eviction } = self;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":._-/".contains(&byte);
        if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(plain) {
            return Err(StoreError::new(ConfigError::KeyPrefix(prefix)));
        }
        for (option, timeout) in [("connect_timeout", timeouts.connect), ("response_timeout", timeouts.response)] {
            if timeout.is_zero() {
                return Err(StoreError::new(ConfigError::ZeroBound(option)));
            }
        }
        let (link, place) = source.open(timeouts).await?;
        if !insecure_eviction {
            policy::check(&link, timeouts.response).await.map_err(StoreError::new)?;
        }
        let (scripts, enlists_on_write) = (Scripts::new(), insecure_eviction);
        Ok(RedisStore(Arc::new(Keyspace { link, place, prefix, scripts, enlists_on_write })))
    }
}
