//! How commands reach the server: over one connection that all requests share, replaced when it is lost.
//!
//! Replies come in the order of the commands, and the client counts them: a command whose caller is gone keeps its place
//! in the row, so its reply is dropped and nobody else's is taken for it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::error::StoreError;

/// A connection, shared by all clones.
#[derive(Clone)]
pub(super) enum Link {
    /// Ours, to one server.
    Own(Arc<Own>),
    /// The program's, to one server.
    Manager(ConnectionManager),
    /// The program's, which does not reconnect.
    Multiplexed(MultiplexedConnection),
    /// Ours or the program's.
    Cluster(ClusterConnection),
}

/// A connection manager, and what another is made of.
pub(super) struct Own {
    client: Client,
    config: ConnectionManagerConfig,
    /// With its number, so that of many who meet the same fault one replaces it.
    manager: RwLock<(u64, ConnectionManager)>,
}

impl Own {
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
    /// Where the connection was lost the command is sent once more, over the next one: so a request finds a server that
    /// has come back. Sending any of our commands twice is safe.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Own(own) => {
                let (number, mut manager) = own.current();
                match command.query_async(&mut manager).await {
                    Err(error) if is_stale(&error) => own.replace(number)?,
                    Err(error) if is_lost(&error) => {}
                    answer => return answer,
                }
                command.query_async(&mut own.current().1).await
            }
            Self::Manager(manager) => {
                let mut manager = manager.clone();
                match command.query_async(&mut manager).await {
                    Err(error) if is_lost(&error) => command.query_async(&mut manager).await,
                    answer => answer,
                }
            }
            Self::Multiplexed(connection) => command.query_async(&mut connection.clone()).await,
            Self::Cluster(connection) => command.query_async(&mut connection.clone()).await,
        }
    }
}

/// Whether the manager has begun to open another connection.
fn is_lost(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || (error.is_io_error() && !error.is_timeout())
}

/// Whether only a new connection can help, which the manager would not open by itself: it leads to a server that has
/// become a replica, or was refused when it was opened.
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

fn is_refused(text: &str) -> bool {
    ["AuthenticationFailed", "WRONGPASS", "NOAUTH"].iter().any(|code| text.contains(code))
}

/// Why Redis gave no answer that is of use.
#[derive(Debug)]
pub(super) enum Failure {
    Redis(RedisError),
    /// The reply is not one to this command.
    Reply,
    /// An owner's mark that is none.
    Mark,
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        // As text: what the server said may repeat the arguments of a command, keys, values and passwords.
        Self::new(failure.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(error) => match (error.kind(), error.code()) {
                // A Cluster is not reached where none of its servers lets us in, and only the text of that says why.
                (ErrorKind::Io, _) if is_refused(&error.to_string()) => {
                    f.write_str("redis refused the user or the password")
                }
                (ErrorKind::Io, _) if error.is_timeout() => f.write_str("redis did not answer in time"),
                (ErrorKind::Io, _) => write!(f, "redis cannot be reached: {error}"),
                (ErrorKind::AuthenticationFailed, _) => f.write_str("redis refused the user or the password"),
                (_, Some("NOAUTH")) => f.write_str("redis asks for a password (NOAUTH)"),
                (_, Some(code)) => write!(f, "redis answered {}", code.escape_debug()),
                _ => write!(f, "redis: {}", error.category()),
            },
            Self::Reply => f.write_str("redis: the reply is not one to this command"),
            Self::Mark => f.write_str("redis: what stands under the name of a revocation mark is none"),
        }
    }
}
