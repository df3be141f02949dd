//! The first connection to a server.

use std::io;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::{Connection, Pool};

use super::driver::Engine;
use super::failure::connect_error;
use crate::error::StoreError;

/// The time within which the server has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes a pool that opens its connections as they are needed, once a first one has shown that the server can be reached.
///
/// The pool itself would wait for a server that refuses, and then report only that it has waited.
pub(super) async fn connect<DB: Engine>(pool: PoolOptions<DB>, url: &str) -> Result<Pool<DB>, StoreError> {
    let error = |error| connect_error(&error, &DB::DIALECT);
    let options = <DB::Connection as Connection>::Options::from_str(url).map_err(error)?;
    let reaching = async { DB::Connection::connect_with(&options).await?.close().await };
    let silent = || io::Error::new(io::ErrorKind::TimedOut, format!("the server did not answer within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, reaching).await.unwrap_or_else(|_| Err(silent().into())).map_err(error)?;
    Ok(pool.test_before_acquire(false).connect_lazy_with(options))
}
