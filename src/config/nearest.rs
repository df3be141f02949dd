//! What somebody meant who wrote something else.

use super::vars::names;

/// What other programs call what has another name here.
const ELSEWHERE: [(&str, &str); 27] = [
    ("url", "store"),
    ("dir", "store"),
    ("directory", "store"),
    ("key_file_path", "cookie.key_file"),
    ("file_path", "store"),
    ("name", "cookie_name"),
    ("samesite", "same_site"),
    ("secret", "cookie.keys"),
    ("secret_key", "cookie.keys"),
    ("max_age", "idle_timeout"),
    ("maxage", "idle_timeout"),
    ("expires", "idle_timeout"),
    ("expiry", "idle_timeout"),
    ("ttl", "idle_timeout"),
    ("secure", "insecure_http"),
    ("http_only", "insecure_script_access"),
    ("httponly", "insecure_script_access"),
    ("postgres", "sql"),
    ("postgresql", "sql"),
    ("pg", "sql"),
    ("mysql", "sql"),
    ("mariadb", "sql"),
    ("sqlite", "sql"),
    ("database", "sql"),
    ("db", "sql"),
    ("pool_size", "sql.max_connections"),
    ("valkey", "redis"),
];

/// What an unknown name may have been meant for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sought {
    /// A key of a file, or a table.
    Key,
    Variable,
}

/// The key that somebody may have meant, with its table: one that is called so elsewhere or stands in another table, otherwise
/// the one that takes the fewest letters changed, left out, added or exchanged with the next, of several the first. None
/// where that would leave little of what is written.
///
/// `written` has a dot or underscore behind its table, if any.
pub(super) fn nearest(written: &str, sought: Sought) -> Option<String> {
    let written = &written.to_ascii_lowercase()[..];
    let flat = written.replace('.', "_");
    let bytes = &flat.as_bytes()[..flat.len().min(MAX_LEN)];
    let names = names();
    let mut tables: Vec<_> = names.iter().filter_map(|(_, path)| Some(path.split_once('.')?.0)).collect();
    tables.dedup();
    let is_called = |elsewhere: &str| {
        let is_behind = |table: &str| table.is_empty() || table.ends_with('_');
        let is_nearly = elsewhere.len() > 4 && distance(bytes, elsewhere.as_bytes()) < 2;
        is_nearly || flat.strip_suffix(elsewhere).is_some_and(is_behind)
    };
    if let Some((_, here)) = ELSEWHERE.iter().find(|(elsewhere, _)| is_called(elsewhere)) {
        // No variable is a table: then its first key.
        let is_in =
            |path: &&String| sought == Sought::Variable && path.split_once('.').is_some_and(|(of, _)| of == *here);
        return Some(names.iter().map(|(_, path)| path).find(is_in).map_or((*here).to_owned(), String::clone));
    }
    let rank = |name: &str, is_part| match distance(bytes, name.as_bytes()) {
        far @ 2.. if is_part => (1, far),
        far => (far, far),
    };
    // Without its table and the plural.
    let (table, word) = written.split_once('.').unwrap_or(("", written));
    let word = word.strip_suffix('s').unwrap_or(word);
    let keys = names.iter().map(|(variable, path)| {
        let name = variable.to_ascii_lowercase();
        let is_part =
            word.len() > 2 && path.strip_prefix(table).is_some_and(|name| name.replace('.', "_").contains(word));
        let is_part = is_part || flat.ends_with(&format!("_{name}"));
        (rank(&name, is_part), path.clone())
    });
    let is_root = sought == Sought::Key && !written.contains('.');
    let tables = tables.into_iter().filter(|_| is_root).map(|table| {
        let is_part = flat.strip_prefix(table).is_some_and(|rest| rest.starts_with('_'));
        (rank(table, is_part), table.to_owned())
    });
    let ((far, _), path) = keys.chain(tables).min_by_key(|(rank, _)| *rank)?;
    (far <= 1 || far * 2 < bytes.len()).then_some(path)
}

/// No name is nearly as long.
const MAX_LEN: usize = 64;

/// Optimal string alignment, a row at a time. What is written may be long, names are short.
fn distance(written: &[u8], name: &[u8]) -> usize {
    let (mut before, mut above): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=name.len()).collect());
    for (at, byte) in written.iter().enumerate() {
        let mut row = vec![at + 1];
        for (other, of_name) in name.iter().enumerate() {
            let change = above[other] + usize::from(byte != of_name);
            let mut least = change.min(above[other + 1] + 1).min(row[other] + 1);
            if at > 0 && other > 0 && (byte, &written[at - 1]) == (&name[other - 1], of_name) {
                least = least.min(before[other - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters() {
        for (written, name, letters) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("idel", "idle", 1),
            ("idletimeout", "idle_timeout", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(written.as_bytes(), name.as_bytes()), letters, "{written} {name}");
        }
    }

    #[test]
    fn the_nearest_is_what_was_meant() {
        for (written, meant) in [
            ("idle", "idle_timeout"),
            ("idle_timout", "idle_timeout"),
            ("absoluteTimeout", "absolute_timeout"),
            ("redis.pefix", "redis.prefix"),
            ("redis_pefix", "redis.prefix"),
            ("redis.idle_timeout", "idle_timeout"),
            ("redis.url", "store"),
            ("redis_url", "store"),
            ("cookie.name", "cookie_name"),
            ("cookie.same_site", "same_site"),
            ("key_file", "cookie.key_file"),
            ("prefix", "redis.prefix"),
            ("sql.tabel", "sql.table"),
            ("mysql", "sql"),
            ("Secure", "insecure_http"),
            ("cookie.sameSite", "same_site"),
            ("cookie_name_", "cookie_name"),
            ("rediss", "redis"),
            ("valkey", "redis"),
            ("cookies", "cookie"),
            ("cookie_store", "cookie"),
            ("memry", "memory"),
            ("redis.timeout", "redis.connect_timeout"),
            ("timeouts", "idle_timeout"),
            ("file.path", "store"),
            ("file.dir", "store"),
            ("cookie.key_file_path", "cookie.key_file"),
            ("sql.pool_size", "sql.max_connections"),
            ("memory_store", "memory"),
            ("files", "file"),
            ("sqlite3", "sql"),
            ("postgress", "sql"),
            ("pg", "sql"),
            ("caches", "cached"),
        ] {
            assert_eq!(nearest(written, Sought::Key).as_deref(), Some(meant), "{written}");
        }
        for (written, meant) in
            [("redis", "redis.prefix"), ("rediss_prefix", "redis.prefix"), ("sqlite_table", "sql.table")]
        {
            assert_eq!(nearest(written, Sought::Variable).as_deref(), Some(meant), "{written}");
        }
        for nothing_like_it in ["", "rolling", "resave", "colour", &"é".repeat(1 << 20)] {
            assert_eq!(nearest(nothing_like_it, Sought::Key), None, "and soon");
        }
    }

    #[test]
    fn what_is_called_otherwise_elsewhere_is_a_key_here() {
        let keys = names();
        for (elsewhere, here) in ELSEWHERE {
            let is_table = keys.iter().any(|(_, path)| path.split_once('.').is_some_and(|(table, _)| table == here));
            assert!(is_table || keys.iter().any(|(_, path)| path == here), "{here}");
            assert!(!keys.iter().any(|(_, path)| path == elsewhere), "{elsewhere}");
        }
    }
}
