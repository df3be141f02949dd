//! The SQL, written once, and in what the databases differ.

use std::sync::Arc;

use crate::error::ConfigError;

/// The longest name, in bytes: the names of the indexes, which are longer, must not exceed PostgreSQL's 63.
const MAX_NAME: usize = 48;

/// In what the databases differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    /// What the database is called in messages.
    pub(super) name: &'static str,
    /// What stands around the table's name.
    pub(super) quote: char,
    /// Whether the placeholders are `$1`, `$2`, … and not `?`.
    pub(super) numbers_arguments: bool,
    /// What makes an insert that finds the key taken an insert of no row, where that is no error already.
    pub(super) or_nothing: &'static str,
    /// Makes the table; `{table}` is its quoted name and `{name}` the bare one.
    pub(super) schema: &'static str,
    /// Removes rows whose deadline is at or before the first argument, as many as the second says.
    pub(super) sweep: &'static str,
    /// Whether there is a server at the other end.
    pub(super) is_remote: bool,
}

/// What a row is.
pub(super) mod kind {
    /// A session.
    pub(crate) const LIVE: i64 = 1;
    /// A session of somebody who signs in, absent for everybody until the owner's mark has been looked at.
    pub(crate) const ARRIVING: i64 = 2;
    /// What is left of a session.
    pub(crate) const TOMBSTONE: i64 = 3;
    /// An owner's mark.
    pub(crate) const MARK: i64 = 4;
}

/// The statements on one table.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) table: Box<str>,
    pub(super) schema: Box<str>,
    pub(super) probe: Arc<str>,
    pub(super) find: Arc<str>,
    pub(super) peek: Arc<str>,
    pub(super) owned: Arc<str>,
    pub(super) insert: Arc<str>,
    pub(super) admit: Arc<str>,
    pub(super) withdraw: Arc<str>,
    pub(super) replace: Arc<str>,
    pub(super) retire: Arc<str>,
    pub(super) touch: Arc<str>,
    pub(super) end: Arc<str>,
    pub(super) end_one: Arc<str>,
    pub(super) end_others: Arc<str>,
    pub(super) turn_away: Arc<str>,
    pub(super) mark: Arc<str>,
    pub(super) expire: Arc<str>,
    pub(super) expire_owned: Arc<str>,
    pub(super) sweep: Arc<str>,
}

impl Statements {
    /// Writes the statements on the table of that name.
    pub(super) fn new(name: &str, dialect: &Dialect) -> Result<Self, ConfigError> {
        check_name(name)?;
        let table = format!("{quote}{name}{quote}", quote = dialect.quote);
        let fill = |text: &str| text.replace("{table}", &table).replace("{name}", name);
        let statement = |text: &str| Arc::from(numbered(&fill(text), dialect));
        // Where the session ends, in whichever way, nothing of its owner stays.
        const RETIRE: &str =
            "UPDATE {table} SET kind = 3, version = 0, owner = NULL, handle = NULL, deadline = ?, seen = ?, body = ?";
        // As far as it is not earlier: a threshold of 0 keeps the deadline, and one of 2⁶³ − 1 sets it.
        const REPLACE: &str = "UPDATE {table} SET version = ?, seen = ?, body = ?, \
             deadline = CASE WHEN deadline < ? THEN ? ELSE deadline END";
        const TOUCH: &str = "UPDATE {table} SET deadline = CASE WHEN deadline < ? THEN ? ELSE deadline END, \
             seen = CASE WHEN seen < ? THEN ? ELSE seen END";
        const LIVE_AT_VERSION: &str = "WHERE id = ? AND kind = 1 AND version = ? AND deadline > ?";
        let owned = |which: &str| statement(&format!("{RETIRE} WHERE owner = ? AND kind = 1 AND handle {which} ?"));
        Ok(Self {
            schema: fill(dialect.schema).into(),
            // Names every column.
            probe: statement(
                "SELECT id, kind, version, deadline, seen, owner, body FROM {table} WHERE id = ? AND handle = ?",
            ),
            find: statement("SELECT id, kind, version, deadline, seen, owner, body FROM {table} WHERE id = ?"),
            // The same columns, but a short one in place of the body.
            peek: statement("SELECT id, kind, version, deadline, seen, owner, id FROM {table} WHERE id = ?"),
            owned: statement(
                "SELECT id, kind, version, deadline, seen, owner, body FROM {table} WHERE owner = ? AND kind = 1",
            ),
            insert: statement(&format!(
                "INSERT INTO {{table}} (id, kind, version, deadline, seen, owner, handle, body) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?){}",
                dialect.or_nothing
            )),
            admit: statement("UPDATE {table} SET kind = 1 WHERE id = ? AND kind = 2 AND version = ?"),
            withdraw: statement("DELETE FROM {table} WHERE id = ? AND kind IN (1, 2) AND version = ?"),
            replace: statement(&format!("{REPLACE} {LIVE_AT_VERSION}")),
            retire: statement(&format!("{RETIRE} {LIVE_AT_VERSION}")),
            touch: statement(&format!("{TOUCH} {LIVE_AT_VERSION}")),
            end: statement(&format!("{RETIRE} WHERE id = ? AND kind = 1 AND deadline > ?")),
            end_one: owned("="),
            end_others: owned("<>"),
            turn_away: statement("DELETE FROM {table} WHERE owner = ? AND kind = 2"),
            mark: statement("UPDATE {table} SET deadline = ?, seen = ?, body = ? WHERE id = ? AND body = ?"),
            expire: statement("DELETE FROM {table} WHERE id = ? AND deadline <= ?"),
            expire_owned: statement("DELETE FROM {table} WHERE owner = ? AND deadline <= ?"),
            sweep: statement(dialect.sweep),
            table: name.into(),
        })
    }
}

/// Refuses what is no name of a table.
pub(crate) fn check_name(name: &str) -> Result<(), ConfigError> {
    if is_name(name) { Ok(()) } else { Err(ConfigError::TableName(name.to_owned())) }
}

/// A name that means the same in every database and needs no escape in any.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.as_bytes()[0].is_ascii_digit()
        // Those are SQLite's own.
        && !name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"))
}

fn numbered(sql: &str, dialect: &Dialect) -> String {
    if !dialect.numbers_arguments {
        return sql.to_owned();
    }
    let pieces = sql.split('?').enumerate();
    pieces.map(|(index, piece)| if index == 0 { piece.to_owned() } else { format!("${index}{piece}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_tables() {
        let longest = "t".repeat(MAX_NAME);
        for name in ["t", "_", "order", "Sessions_2", &longest] {
            assert!(is_name(name), "{name}");
        }
        let longer = "t".repeat(MAX_NAME + 1);
        for name in [
            "", "1t", "a.b", "a b", "a-b", "a\"b", "a`b", "a;b", "a?b", "a$b", "é", "a\0", "sqlite_t", "SQLite_t",
            &longer,
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn touch_writes_no_body() {
        use crate::store::sql::driver::Engine as _;

        let statements = Statements::new("t", &sqlx::Sqlite::DIALECT).unwrap();
        assert!(!statements.touch.contains("body"), "{}", statements.touch);
    }

    #[test]
    fn arguments_are_numbered_where_the_database_wants_it() {
        let dialect = |numbers_arguments| Dialect {
            name: "",
            quote: '"',
            numbers_arguments,
            or_nothing: "",
            schema: "",
            sweep: "",
            is_remote: false,
        };
        assert_eq!(numbered("a = ? AND b = ?", &dialect(true)), "a = $1 AND b = $2");
        assert_eq!(numbered("a = ? AND b = ?", &dialect(false)), "a = ? AND b = ?");
    }
}
