//! The SQL stores: the same rules on each database.

#[macro_use]
mod rules;
#[macro_use]
mod order;
#[macro_use]
mod tokens;
#[cfg(any(feature = "postgres", feature = "mysql"))]
#[macro_use]
mod faults;
#[cfg(any(feature = "postgres", feature = "mysql"))]
#[macro_use]
mod failover;
mod records;

#[cfg(feature = "mysql")]
mod load;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "mysql")]
mod mysql_server;
#[cfg(feature = "postgres")]
mod pgbouncer;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_server;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod process;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_file;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod switch;
