//! Sessions in a table of PostgreSQL, MySQL, MariaDB or SQLite.
//!
//! One table holds everything; `migrate()` of each store makes it.
//!
//! | column | contents |
//! |---|---|
//! | `version` | the version of a session, as 64 bits; 0 in a tombstone; null in the mark of a revocation |
//! | `deadline` | microseconds since the Unix epoch; a row that has reached its deadline is absent, swept or not |
//! | `seen` | microseconds since the Unix epoch; null while a session is being signed in, which makes it absent |
//! | `sign_in` | the moment of the owner's sign-in, as 64 bits; null if there is none yet |
//! | `id` | the [`StoreKey`](crate::StoreKey), 32 bytes, never the token; in a mark, a digest of the owner's name |
//! | `owner` | who signed in, **in clear**, as bytes, so that names are compared exactly |
//! | `handle` | the public name of an owner's session, 16 bytes |
//! | `body` | the encoded [`Record`](super::Record) or [`Tombstone`](super::Tombstone), or the 56 bytes of a [mark](super::RevocationMark) |
//!
//! The values in `body` are in clear, too: somebody who reads the table or a backup of it reads the sessions, but cannot
//! take one over.
//!
//! A read is one statement. A write is one statement whose condition names the version and the deadline; so is a touch,
//! which leaves the body alone. No statement is part of a larger transaction, so a connection is held for one statement,
//! and nothing depends on the isolation level.
//!
//! | call | statements |
//! |---|---|
//! | a load, a write, a touch, an end, a new session | 1 each |
//! | signing in | 3, and 2 more if the owner has a session whose moment is ahead of the database's clock |
//! | listing, counting an owner's sessions | 1 |
//! | revoking all of an owner's sessions, or all but one | 5 |
//! | revoking some | 1, and 1 more for one session, or at least 2 more for each 128 |
//!
//! SQLite, where one statement writes at a time, takes one more statement for each 1,000 sessions that end. Signing in
//! looks at the moments of all the owner's sessions, in SQLite at the latest alone. [`count`](super::SessionStore::count)
//! counts the sessions of an owner, not those of the whole table, which no index counts cheaply.
//!
//! A call that is dropped half-way closes its connection, unless the database is SQLite, since the answer that is under
//! way must never become the answer of another call. A record that cannot be read (damaged, of a newer format) is absent,
//! with a warning, and stays until its deadline.
//!
//! A pool that does not test its connections before it hands them out (`test_before_acquire(false)`), such as the pool of
//! `connect`, saves each read a round trip: the store then tests a connection before a write, and sends a read again if
//! its connection was closed.
//!
//! The pool must lead to one server that reads what it has written, not to replicas that lag behind.
//!
//! # Clocks
//!
//! Deadlines go by the clock of the program. Sign-ins and revocations are ordered by the clock of the database, which for
//! SQLite is that of the machine, and marks are kept by it. Where that clock was set back, the moments of an owner go on
//! from the latest one.
//!
//! # A full disk
//!
//! A server needs room for its log to end a session, as for every change, and a copy of the row in PostgreSQL. If it has
//! none, ending is an error, and the session lives on. SQLite needs room for its log, too. Where the database itself may not
//! grow, the session is removed without a tombstone, with the warning `session.tombstone.given_up`.

// A store as programs name it.
mod engine;
// The store: its settings, and each call as statements.
mod store;
// The steps that the calls have in common.
mod table;
// The arguments of a statement, and the row that it returns.
mod row;
// Sign-ins and revocations.
mod owners;
// The statements, and the differences between the databases.
mod dialect;
// A statement, and how it tells whether a reply is its own.
mod statement;
// One statement on one connection.
mod driver;
// The file of a database.
mod file;
// The meaning of an error.
mod failure;
// The first connection to a server.
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "mysql")]
pub use self::mysql::{MySqlStore, MySqlStoreBuilder};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteStore, SqliteStoreBuilder};

#[cfg(feature = "config")]
pub(crate) use self::dialect::check_name;

/// The decoder of a row, for the fuzz targets; in no other build.
#[cfg(any(test, fuzzing))]
#[allow(missing_docs, reason = "no documentation shows it")]
pub mod bytes {
    use std::time::SystemTime;

    use super::row::{Row, signed};
    use crate::store::Loaded;

    pub fn decode(
        version: Option<i64>,
        (deadline, seen): (SystemTime, Option<SystemTime>),
        owner: Option<Vec<u8>>,
        (handle, sign_in): (Option<Vec<u8>>, Option<i64>),
        body: Vec<u8>,
        now: SystemTime,
    ) -> Loaded {
        let (deadline, seen) = (signed(deadline), seen.map(signed));
        let row = Row { id: vec![7; 32], version, deadline, seen, owner, handle, sign_in, body };
        if row.is_expired(now) { Loaded::Absent } else { row.read(now) }
    }
}
