//! The settings of a store, and their validation.

use std::sync::Arc;
use std::time::Duration;

use super::RedisStore;
use super::connect::{RedisSource, Timeouts};
use super::keyspace::Keyspace;
use super::script::Scripts;
use crate::error::{ConfigError, StoreError};

/// Settings of a [`RedisStore`].
#[derive(Debug)]
pub struct RedisStoreBuilder {
    source: RedisSource,
    prefix: String,
    timeouts: Timeouts,
}

impl RedisStore {
    /// Connects with the default settings, as [`RedisStoreBuilder::build`] does.
    pub async fn new(source: impl Into<RedisSource>) -> Result<Self, StoreError> {
        Self::builder(source).build().await
    }

    /// Starts with the default settings.
    pub fn builder(source: impl Into<RedisSource>) -> RedisStoreBuilder {
        let timeouts = Timeouts { connect: Duration::from_secs(2), response: Duration::from_secs(5) };
        RedisStoreBuilder { source: source.into(), prefix: "session:".to_owned(), timeouts }
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

    /// Connects and sends a `PING`. A connection of the program is used without a test.
    ///
    /// # Errors
    ///
    /// A wrong setting is a [`ConfigError`] within the error ([`StoreError::get_ref`]):
    /// [`KeyPrefix`](ConfigError::KeyPrefix), [`RedisUrl`](ConfigError::RedisUrl), or
    /// [`ZeroBound`](ConfigError::ZeroBound) for a timeout of zero. Otherwise the server could not be reached within the
    /// timeouts, or refused user or password. The message is one line and holds no secret.
    pub async fn build(self) -> Result<RedisStore, StoreError> {
        let Self { source, prefix, timeouts } = self;
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
        Ok(RedisStore(Arc::new(Keyspace { link, place, prefix, scripts: Scripts::new() })))
    }
}
