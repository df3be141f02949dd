//! The SQL, written once, and the differences between the databases.

use super::statement::Statement;
use crate::error::ConfigError;

/// The longest name, in bytes: the names of the indexes, which are longer, must not exceed PostgreSQL's 63.
const MAX_NAME: usize = 48;

/// The number of handles that one statement of a revocation names.
pub(super) const THESE: usize = 128;

/// The differences between the databases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    /// The database's name in messages.
    pub(super) name: &'static str,
    /// The store's public name, for `Debug`.
    pub(super) store: &'static str,
    /// The shape of a URL of the database, for messages.
    pub(super) url: &'static str,
    /// The quotation mark around the table's name.
    pub(super) quote: char,
    /// The statements are [marked](super::statement), and their placeholders are `$2`, `$3`, … and not `?`.
    pub(super) is_marked: bool,
    /// The end of an `INSERT` that inserts no row where the key is taken; empty where that is an error of its own.
    pub(super) or_nothing: &'static str,
    /// The function that returns the greatest of its arguments.
    pub(super) greatest: &'static str,
    /// The database's clock as a number: microseconds since the Unix epoch, read where the expression is evaluated.
    pub(super) clock: &'static str,
    /// The most sessions that a statement of a revocation ends, where others cannot write while it runs.
    pub(super) chunk: Option<u64>,
    /// The statements that make the table; `{table}` stands for its quoted name and `{name}` for the bare one.
    pub(super) schema: &'static str,
    /// Removes rows whose deadline is at or before the first argument, at most as many as the second says; marks only if
    /// their deadline is past by `{clock}`, too.
    pub(super) sweep: &'static str,
    /// The database is a server at the other end of a connection, not a file.
    pub(super) is_remote: bool,
}

/// A statement that ends sessions.
#[derive(Debug)]
pub(super) struct End {
    /// Replaces them by a tombstone, which is in the first three arguments.
    pub(super) retire: Statement,
    /// Removes them, with the other arguments, where there is no room for a tombstone.
    pub(super) remove: Statement,
}

/// The statements on one table.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) table: Box<str>,
    pub(super) schema: Box<str>,
    pub(super) find: Statement,
    pub(super) peek: Statement,
    pub(super) owned: Statement,
    pub(super) count: Statement,
    pub(super) insert: Statement,
    pub(super) arrive: Statement,
    pub(super) order: Statement,
    pub(super) raise: Statement,
    pub(super) admit: Statement,
    pub(super) withdraw: Statement,
    pub(super) give_way: Statement,
    pub(super) replace: Statement,
    pub(super) retire: End,
    pub(super) touch: Statement,
    pub(super) end: End,
    pub(super) end_one: End,
    pub(super) end_these: End,
    pub(super) end_others: End,
    pub(super) turn_away: Statement,
    pub(super) mark: Statement,
    pub(super) expire: Statement,
    pub(super) expire_owned: Statement,
    pub(super) sweep: Statement,
}

impl Statements {
    /// Writes the statements on the table of a name that was [checked](check_name).
    pub(super) fn new(name: &str, dialect: &Dialect) -> Self {
        let table = format!("{quote}{name}{quote}", quote = dialect.quote);
        let fill =
            |text: &str| text.replace("{table}", &table).replace("{name}", name).replace("{clock}", dialect.clock);
        let statement = |text: &str| Statement::change(&fill(text), "", dialect);
        // If one of these finds nothing, the store reads the row.
        let guarded = |text: &str| Statement::change_one(&fill(text), "", dialect);
        let query = |rest: &str| Statement::select(&fill(rest), dialect);
        // A tombstone keeps nothing of the session's owner.
        const RETIRE: &str = "UPDATE {table} SET version = 0, owner = NULL, handle = NULL, sign_in = NULL, \
             deadline = ?, seen = ?, body = ?";
        // The deadline moves only if it is below a threshold: 0 keeps it, 2⁶³ − 1 sets it, the new one extends it.
        const REPLACE: &str = "UPDATE {table} SET version = ?, seen = ?, body = ?, \
             deadline = CASE WHEN deadline < ? THEN ? ELSE deadline END";
        const TOUCH: &str = "UPDATE {table} SET deadline = CASE WHEN deadline < ? THEN ? ELSE deadline END, \
             seen = CASE WHEN seen < ? THEN ? ELSE seen END";
        const LIVE: &str = "version <> 0 AND seen IS NOT NULL";
        const LIVE_AT_VERSION: &str = "WHERE id = ? AND version = ? AND seen IS NOT NULL AND deadline > ?";
        let select = |last: &str, which: &str| {
            const COLUMNS: &str = "id, version, deadline, seen, owner, handle, sign_in";
            query(&format!("{COLUMNS}, {last} FROM {{table}} WHERE {which}"))
        };
        let insert = |sign_in: &str| {
            // Values alone have no condition.
            let (values, end) = if dialect.is_marked { ("SELECT", " WHERE TRUE") } else { ("VALUES (", ")") };
            let text = format!(
                "INSERT INTO {{table}} (id, version, deadline, seen, owner, handle, sign_in, body) \
                 {values} ?, ?, ?, ?, ?, ?, {sign_in}, ?{end}",
            );
            Statement::change_one(&fill(&text), dialect.or_nothing, dialect)
        };
        let end = |which: &str, statement: &dyn Fn(&str) -> Statement| End {
            retire: statement(&format!("{RETIRE} {which}")),
            remove: statement(&format!("DELETE FROM {{table}} {which}")),
        };
        let end_owned = |which: &str| {
            let which = format!("owner = ? AND {LIVE} AND handle {which}");
            let which = match dialect.chunk {
                Some(most) => format!("id IN (SELECT id FROM {{table}} WHERE {which} LIMIT {most})"),
                None => which,
            };
            end(&format!("WHERE {which}"), &statement)
        };
        Self {
            schema: fill(dialect.schema).into(),
            // Names every column, so that a table of another format is an error.
            find: select("body", "id = ?"),
            // The columns of `find`, with a short one in place of the body.
            peek: select("id", "id = ?"),
            owned: select("body", &format!("owner = ? AND {LIVE}")),
            count: query(&format!("COUNT(*) FROM {{table}} WHERE owner = ? AND {LIVE}")),
            insert: insert("?"),
            // The argument is zero unless the program's clock is the database's.
            arrive: insert(&format!("{}(?, {{clock}})", dialect.greatest)),
            // The clock comes last, so that it is read after the mark.
            order: query(
                "(SELECT MAX(sign_in) FROM {table} WHERE owner = ?), \
                 (SELECT sign_in FROM {table} WHERE id = ? AND version = ?), \
                 (SELECT body FROM {table} WHERE id = ? AND version IS NULL), {clock}",
            ),
            raise: statement("UPDATE {table} SET sign_in = ? WHERE id = ? AND seen IS NULL AND version = ?"),
            admit: statement("UPDATE {table} SET seen = ? WHERE id = ? AND seen IS NULL AND version = ?"),
            withdraw: statement("DELETE FROM {table} WHERE id = ? AND version = ?"),
            give_way: statement("DELETE FROM {table} WHERE id = ? AND seen IS NULL AND version = ?"),
            replace: guarded(&format!("{REPLACE} {LIVE_AT_VERSION}")),
            retire: end(LIVE_AT_VERSION, &guarded),
            touch: guarded(&format!("{TOUCH} {LIVE_AT_VERSION}")),
            end: end(&format!("WHERE id = ? AND {LIVE} AND deadline > ?"), &guarded),
            end_one: end_owned("= ?"),
            end_these: end_owned(&format!("IN ({})", ["?"; THESE].join(", "))),
            end_others: end_owned("<> ? AND sign_in <= ?"),
            turn_away: statement("DELETE FROM {table} WHERE owner = ? AND (seen IS NULL OR deadline <= ?)"),
            mark: statement("UPDATE {table} SET deadline = ?, seen = ?, body = ? WHERE id = ? AND body = ?"),
            expire: guarded("DELETE FROM {table} WHERE id = ? AND deadline <= ?"),
            expire_owned: statement("DELETE FROM {table} WHERE owner = ? AND deadline <= ?"),
            sweep: statement(dialect.sweep),
            table: name.into(),
        }
    }
}

/// Checks a table's name: it has to mean the same in every database and to need no escape in any.
pub(crate) fn check_name(name: &str) -> Result<(), ConfigError> {
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
        // SQLite keeps these names for itself.
        && !name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"));
    if is_name { Ok(()) } else { Err(ConfigError::TableName(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_tables() {
        let longest = "t".repeat(MAX_NAME);
        for name in ["t", "_", "order", "Sessions_2", &longest] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let longer = "t".repeat(MAX_NAME + 1);
        for name in [
            "", "1t", "a.b", "a b", "a-b", "a\"b", "a`b", "a;b", "a?b", "a$b", "é", "a\0", "sqlite_t", "SQLite_t",
            &longer,
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn touch_writes_no_body() {
        use crate::store::sql::driver::Engine as _;

        let statements = Statements::new("t", &sqlx::Sqlite::DIALECT);
        assert!(!statements.touch.sql.contains("body"), "{}", statements.touch.sql);
    }
}
