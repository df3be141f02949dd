//! The way of commands to the server: one connection that all requests share, replaced when it is lost.
//!
//! Replies come in the order of the commands, and the client counts them. A command whose caller is gone keeps its place in
//! the order, so its reply is dropped and never taken for another.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::error::StoreError;

/// A connection, shared by all clones.
#[derive(Clone)]
pub(super) enum Link {
    /// The store's, to one server.
    Own(Arc<OwnConnection>),
    /// The program's, to one server.
    Manager(ConnectionManager),
    /// The program's, which does not reconnect.
    Multiplexed(MultiplexedConnection),
    /// The store's or the program's.
    Cluster(ClusterConnection),
}

/// A connection manager, and the means to make another.
pub(super) struct OwnConnection {
    client: Client,
    config: ConnectionManagerConfig,
    /// The manager and its number. Of many callers that meet the same fault, the number lets one replace the manager.
    manager: RwLock<(u64, ConnectionManager)>,
}

impl OwnConnection {
    pub(super) async fn connect(client: Client, config: ConnectionManagerConfig) -> Result<Self, RedisError> {
        let manager = ConnectionManager::new_with_config(client.clone(), config.clone()).await?;
        Ok(Self { client, config, manager: RwLock::new((0, manager)) })
    }

    fn current(&self) -> (u64, ConnectionManager) {
        self.manager.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, failed: u64) -> Result<(), RedisError> {
        let mut manager = self.manager.write().unwrap_or_else(PoisonError::into_inner);
        if manager.0 == failed {
            let next = ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())?;
            *manager = (failed + 1, next);
        }
        Ok(())
    }
}

impl Link {
    /// Sends a command and returns the reply.
    ///
    /// A command whose connection was lost is sent once more, over the next one, so that a request finds a server that has
    /// come back. Sending any of the store's commands twice is safe.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisFailure> {
        let reply = match self {
            Self::Own(own) => {
                let (number, mut manager) = own.current();
                match command.query_async(&mut manager).await {
                    Err(error) if is_stale(&error) => own.replace(number)?,
                    Err(error) if is_lost(&error) => {}
                    reply => return Ok(reply?),
                }
                command.query_async(&mut own.current().1).await
            }
            Self::Manager(manager) => {
                let mut manager = manager.clone();
                match command.query_async(&mut manager).await {
                    Err(error) if is_lost(&error) => command.query_async(&mut manager).await,
                    reply => reply,
                }
            }
            Self::Multiplexed(connection) => command.query_async(&mut connection.clone()).await,
            Self::Cluster(connection) => command.query_async(&mut connection.clone()).await,
        };
        Ok(reply?)
    }
}

/// Returns whether the manager has begun to open another connection.
fn is_lost(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || (error.is_io_error() && !error.is_timeout())
}

/// Returns whether only a new connection can help, which the manager would not open by itself.
///
/// Such a connection leads to a server that has become a replica, or was refused when it was opened.
fn is_stale(error: &RedisError) -> bool {
    use ServerErrorKind::{MasterDown, ReadOnly, ResponseError};
    matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed
            | ErrorKind::Parse
            | ErrorKind::RESP3NotSupported
            | ErrorKind::Server(MasterDown | ReadOnly | ResponseError)
    )
}

impl RedisFailure {
    /// Returns whether the server, which answers, refuses to change anything.
    pub(super) fn is_refusal(&self) -> bool {
        const CODES: [&str; 5] = ["READONLY", "NOPERM", "OOM", "MISCONF", "NOREPLICAS"];
        matches!(self, Self::Redis(error) if error.code().is_some_and(|code| CODES.contains(&code)))
    }
}

/// The reason why Redis gave no usable reply.
#[derive(Debug)]
pub(super) enum RedisFailure {
    Redis(RedisError),
    /// The reply does not belong to the command.
    Reply,
    /// The value under the name of an owner's mark is no mark.
    Mark,
}

impl From<RedisError> for RedisFailure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<RedisFailure> for StoreError {
    fn from(failure: RedisFailure) -> Self {
        // As text, since the server's own words may repeat the arguments of a command: keys, values and passwords.
        Self::new(failure.to_string())
    }
}

impl fmt::Display for RedisFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::Redis(error) => error,
            Self::Reply => return f.write_str("redis: the reply does not belong to the command"),
            Self::Mark => return f.write_str("redis: the value under the name of a revocation mark is no mark"),
        };
        let text = error.to_string();
        // If every server of a Cluster refuses the store, the error is one of I/O, and only its text says why.
        let is_refused = ["AuthenticationFailed", "WRONGPASS", "NOAUTH"].iter().any(|code| text.contains(code));
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) => f.write_str("redis refused the user or the password"),
            (ErrorKind::Io, _) if is_refused => f.write_str("redis refused the user or the password"),
            (ErrorKind::Io, _) if error.is_timeout() => f.write_str("redis did not answer in time"),
            (ErrorKind::Io, _) => write!(f, "redis cannot be reached: {text}"),
            (_, Some("NOAUTH")) => f.write_str("redis asks for a password (NOAUTH)"),
            (_, Some(code)) => write!(f, "redis answered {}", code.escape_debug()),
            _ => write!(f, "redis: {}", error.category()),
        }
    }
}
