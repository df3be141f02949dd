//! Sessions in a table of PostgreSQL, MySQL, MariaDB or SQLite.
//!
//! One table holds everything; `migrate()` of each store makes it.
//!
//! | column | what |
//! |---|---|
//! | `id` | the [`StoreKey`](crate::StoreKey), 32 bytes; never the token |
//! | `kind` | 1 a session, 2 one that is being signed in, 3 a tombstone, 4 the mark of a revocation |
//! | `version` | of a session, as 64 bits; 0 for anything else |
//! | `deadline`, `seen` | microseconds since the Unix epoch; what has reached its deadline is absent, swept or not |
//! | `owner` | who signed in, **in clear**, as bytes, so that names are told apart exactly |
//! | `handle` | the public name of an owner's session, 16 bytes |
//! | `body` | the encoded [`Record`](super::Record) or [`Tombstone`](super::Tombstone), or the mark's 32 bytes |
//!
//! The values in `body` are in clear, too: whoever reads the table or a backup of it reads the sessions, but cannot take
//! one over.
//!
//! A read is one statement. A write is one statement whose condition names the version and the deadline, a touch
//! too, which leaves the body alone. Signing in is three and revoking at most five. None is part of a transaction, so
//! connections are held for one statement each, and nothing depends on the isolation level.
//!
//! A call that is dropped half-way closes its connection, unless the database is SQLite, since the answer that is under way
//! must never become somebody else's. A record that cannot be read (damaged, of a newer format) is absent, with a warning, and
//! stays until its deadline.
//!
//! A pool that does not test its connections before it hands them out (`test_before_acquire(false)`), as those of `connect`, saves
//! each read a round trip: the store then tests before a write, and sends a read again for which the connection was
//! closed.
//!
//! The pool must lead to one server that reads what it has written, not to replicas that lag behind.
//!
//! Deadlines go by the clock of the program, never by that of the database.

#[macro_use]
mod facade;

// In what the databases differ, and the statements.
mod dialect;
// One statement on one connection.
mod driver;
// What an error means.
mod failure;
// Sign-ins and revocations.
mod owners;
// All other steps.
mod table;

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

/// The table's name unless another is chosen.
const DEFAULT_TABLE: &str = "tower_session_layer";

/// What a row holds, for the fuzz targets; in no other build.
#[cfg(any(test, fuzzing))]
#[allow(missing_docs, reason = "nobody sees it")]
pub mod bytes {
    use std::time::SystemTime;

    use super::driver::Row;
    use super::table::{is_expired, read, signed};
    use crate::store::Loaded;

    pub fn decode(
        kind: i64,
        version: i64,
        (deadline, seen): (SystemTime, SystemTime),
        owner: Option<Vec<u8>>,
        body: Vec<u8>,
        now: SystemTime,
    ) -> Loaded {
        let (deadline, seen) = (signed(deadline), signed(seen));
        let row = Row { id: vec![7; 32], kind, version, deadline, seen, owner, body };
        if is_expired(&row, now) { Loaded::Absent } else { read(row, now) }
    }
}
