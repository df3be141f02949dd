//! The settings of a store, and their validation.

use std::sync::Arc;
use std::time::Duration;

use super::connect::{RedisSource, Timeouts};
use super::script::Scripts;
use super::{Inner, RedisStore};
use crate::error::{ConfigError, StoreError};

/// Settings of a [`RedisStore`].
#[derive(Debug)]
pub struct RedisStoreBuilder {
    source: RedisSource,
    prefix: String,
    timeouts: Timeouts,
}

impl RedisStoreBuilder {
    pub(super) fn new(source: RedisSource) -> Self {
        let timeouts = Timeouts { connect: Duration::from_secs(2), response: Duration::from_secs(5) };
        Self { source, prefix: "session:".to_owned(), timeouts }
    }

    /// Sets what all keys begin with, `session:` unless set: 1 to 64 ASCII letters, digits and `:._-/`.
    ///
    /// Applications that share a database need different ones.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long opening a connection may take, 2 seconds unless set. A connection of the program has its own.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// Sets how long a command may wait for its reply, 5 seconds unless set. A connection of the program has its own.
    ///
    /// The layer's store timeout bounds the whole of what a request asks of the store; the shorter one counts.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.response = timeout;
        self
    }

    /// Connects and asks the server for a sign of life; a connection of the program is taken as it is.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] within ([`StoreError::get_ref`]): [`KeyPrefix`](ConfigError::KeyPrefix),
    /// [`RedisUrl`](ConfigError::RedisUrl) or [`ZeroBound`](ConfigError::ZeroBound) for a timeout of zero. Otherwise the server could not be reached within the
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
        Ok(RedisStore(Arc::new(Inner { link, place, prefix, scripts: Scripts::new() })))
    }
}
