//! The meaning of a database's errors.

use super::dialect::Dialect;
use crate::error::StoreError;

/// The message where a reply is that of another statement.
pub(super) const ANOTHER_REPLY: &str = "the reply is that of another statement";

/// The meaning of an error of sqlx.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SqlFailure {
    /// The key is taken.
    Taken,
    /// The statement lost against another one and changed nothing.
    Again,
    /// The table is missing or of another format.
    NoTable,
    /// There is no room for what the statement would write.
    Full,
    /// Another connection kept the database locked for too long.
    Locked,
    /// The connection has prepared other statements than those that were sent over it.
    Shared,
    /// Nothing can be written, and nothing was.
    ReadOnly,
    Other,
}

impl SqlFailure {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        let error = match error {
            sqlx::Error::Database(error) => error,
            sqlx::Error::Protocol(message) if message == ANOTHER_REPLY => return Self::Shared,
            _ => return Self::Other,
        };
        if error.is_unique_violation() {
            return Self::Taken;
        }
        #[cfg(feature = "mysql")]
        if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
            // These have no SQLSTATE of their own: `read_only` and `super_read_only`, a server that can only be read, tables
            // that can only be read. The first number stands for other options, too.
            match error.number() {
                1290 if error.message().contains("read-only") => return Self::ReadOnly,
                1836 | 1874 => return Self::ReadOnly,
                _ => {}
            }
        }
        let code = error.code();
        match code.as_deref().unwrap_or_default() {
            // Serialization failure and deadlock, of PostgreSQL and MySQL.
            "40001" | "40P01" => Self::Again,
            // MariaDB's snapshot isolation, which has no code of its own.
            "HY000" if error.message().starts_with("Record has changed since last read") => Self::Again,
            // PostgreSQL and MySQL: no such table, no such column, a column of another type.
            "42P01" | "42703" | "42804" | "42883" | "42S02" | "42S22" => Self::NoTable,
            // SQLite has one code for every mistake in a statement.
            "1" if ["no such table", "no such column", "has no column"]
                .iter()
                .any(|is| error.message().contains(is)) =>
            {
                Self::NoTable
            }
            // PostgreSQL: no such prepared statement, one of that name exists, one with other arguments.
            "26000" | "42P05" | "08P01" => Self::Shared,
            // PostgreSQL and MySQL: a transaction that can only read, as every one on a standby. SQLITE_READONLY, with the
            // kinds that extend it.
            "25006" | "8" | "264" | "520" | "776" | "1032" | "1288" | "1544" => Self::ReadOnly,
            // SQLITE_FULL.
            "13" => Self::Full,
            // SQLITE_BUSY and SQLITE_LOCKED, with the kinds that extend them.
            "5" | "6" | "261" | "262" | "517" | "773" => Self::Locked,
            _ => Self::Other,
        }
    }
}

/// Describes why there is no connection. The URL is not repeated, since it may hold a password.
pub(super) fn connect_error(error: &sqlx::Error, dialect: &Dialect) -> StoreError {
    let Dialect { name, url, .. } = dialect;
    StoreError::new(match error {
        sqlx::Error::Configuration(error) => format!("{name}: expected a URL `{url}`: {error}"),
        error => format!("{name}: no connection: {}", message(error)),
    })
}

/// Returns the message of an error, without the parts that only the driver's authors can use.
///
/// Of a database's error this is its message alone: some databases' details quote the values of a row.
pub(super) fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::PoolTimedOut => "no connection of the pool became free in time".to_owned(),
        error => error.to_string(),
    }
}
