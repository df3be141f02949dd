//! A statement of the store, which tells whether a reply is its own.
//!
//! A server prepares a statement first, and executes it with arguments afterwards. A proxy that hands out connections by
//! transaction may lead to another connection in between, where the statement of that name is another one. The arguments
//! of one statement then run under another, and nothing in the protocol tells.
//!
//! So where a [`Dialect`] asks for it, each statement has a mark: a number that follows from its text. The mark is its first
//! argument, and the statement does nothing if that argument is another number. Each row of its reply begins with the mark.
//! Arguments under another statement of the store therefore change nothing, and a reply without the mark is an error. A
//! reply without a row may be that of any statement, so a statement replies with a row even if it finds nothing, unless the
//! store then looks for itself.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::dialect::Dialect;

/// A statement, whose first argument is its mark where the dialect asks for one.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: Arc<str>,
    /// Zero without one.
    pub(super) mark: i64,
    /// The reply has a row even if nothing was found.
    pub(super) always_replies: bool,
}

impl Statement {
    /// Writes a statement that reads, of the text after `SELECT`: the mark comes before its columns. If it finds nothing
    /// and has a mark, the reply is one row whose other columns are null.
    pub(super) fn select(rest: &str, dialect: &Dialect) -> Self {
        Self::new(rest, dialect, true, |mark| match mark {
            None => format!("SELECT 0, {rest}"),
            Some(mark) => {
                format!("SELECT {mark}, found.* FROM (SELECT) always LEFT JOIN (SELECT {rest}) found ON $1 = {mark}")
            }
        })
    }

    /// Writes a statement that changes rows, of a text that ends with a condition, and what comes after it.
    ///
    /// With a mark, the reply is one row: the mark and the number of rows.
    pub(super) fn change(text: &str, end: &str, dialect: &Dialect) -> Self {
        Self::new(text, dialect, true, |mark| match mark {
            None => format!("{text}{end}"),
            Some(mark) => {
                format!("WITH done AS ({text} AND $1 = {mark}{end} RETURNING 1) SELECT {mark}, count(*) FROM done")
            }
        })
    }

    /// Writes a statement that changes at most one row, like [`change`](Self::change), but cheaper: with a mark, the reply
    /// is one row if it changed one, and none otherwise.
    pub(super) fn change_one(text: &str, end: &str, dialect: &Dialect) -> Self {
        Self::new(text, dialect, false, |mark| match mark {
            None => format!("{text}{end}"),
            Some(mark) => format!("{text} AND $1 = {mark}{end} RETURNING {mark}"),
        })
    }

    fn new(text: &str, dialect: &Dialect, always_replies: bool, marked: impl FnOnce(Option<String>) -> String) -> Self {
        if !dialect.is_marked {
            return Self { sql: marked(None).into(), mark: 0, always_replies };
        }
        let digest = Sha256::digest(text);
        let mark = i64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes")) & i64::MAX;
        Self { sql: numbered(&marked(Some(format!("CAST({mark} AS BIGINT)")))).into(), mark, always_replies }
    }
}

/// Numbers the placeholders of a statement: `$2`, `$3`, …, since the mark is `$1`.
fn numbered(sql: &str) -> String {
    let pieces = sql.split('?').enumerate();
    pieces.map(|(index, piece)| if index == 0 { piece.to_owned() } else { format!("${}{piece}", index + 1) }).collect()
}
