//! What a database's error means.

use super::dialect::Statements;
use crate::error::StoreError;

/// What to do about an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The key is taken.
    Taken,
    /// The statement lost against another one and changed nothing.
    Again,
    /// The table is not there, or not as it should be.
    NoTable,
    /// Another connection kept the database locked for too long.
    Locked,
    Other,
}

impl Failure {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        let sqlx::Error::Database(error) = error else { return Self::Other };
        if error.is_unique_violation() {
            return Self::Taken;
        }
        let code = error.code();
        match code.as_deref().unwrap_or_default() {
            // Serialization failure and deadlock, of PostgreSQL and MySQL.
            "40001" | "40P01" => Self::Again,
            // MariaDB's snapshot isolation, which has no state of its own.
            "HY000" if error.message().starts_with("Record has changed since last read") => Self::Again,
            // PostgreSQL and MySQL: no such table, no such column, a column of another type.
            "42P01" | "42703" | "42804" | "42883" | "42S02" | "42S22" => Self::NoTable,
            // SQLite has one code for whatever is wrong with a statement.
            "1" if ["no such table", "no such column", "has no column"]
                .iter()
                .any(|is| error.message().contains(is)) =>
            {
                Self::NoTable
            }
            // SQLITE_BUSY and SQLITE_LOCKED, with the kinds that extend them.
            "5" | "6" | "261" | "262" | "517" | "773" => Self::Locked,
            _ => Self::Other,
        }
    }
}

/// Says what happened, in the database's words and ours. Only the message is passed on: some databases' details quote
/// the values of a row.
pub(super) fn store_error(error: &sqlx::Error, database: &str, statements: &Statements) -> StoreError {
    let table = &statements.table;
    StoreError::new(match Failure::of(error) {
        Failure::NoTable => {
            format!("{database}: the table `{table}` is missing or of another format, run migrate(): {}", said(error))
        }
        Failure::Locked => {
            format!("{database}: another connection kept the database locked for too long: {}", said(error))
        }
        _ => format!("{database}: {}", said(error)),
    })
}

/// What went wrong, without what only the driver's authors can use.
fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::PoolTimedOut => "no connection of the pool became free in time".to_owned(),
        error => error.to_string(),
    }
}

/// Says why there is no connection; the URL is not repeated, since it may hold a password.
pub(super) fn connect_error(error: &sqlx::Error, database: &str, shape: &str) -> StoreError {
    StoreError::new(match error {
        sqlx::Error::Configuration(error) => format!("{database}: expected a URL `{shape}`: {error}"),
        error => format!("{database}: no connection: {}", said(error)),
    })
}
