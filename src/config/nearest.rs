//! The key that was meant where another name is written.

use strsim::osa_distance;

use super::settings::KEYS;

/// A key or table, and the names that other programs have for it.
const ELSEWHERE: [(&str, &[&str]); 11] = [
    ("cookie.key_file", &["key_file_path"]),
    ("store", &["url", "dir", "directory", "file_path"]),
    ("cookie_name", &["name"]),
    ("same_site", &["samesite"]),
    ("cookie.keys", &["secret", "secret_key"]),
    ("idle_timeout", &["max_age", "maxage", "expires", "expiry", "ttl"]),
    ("insecure_http", &["secure"]),
    ("insecure_script_access", &["http_only", "httponly"]),
    ("sql", &["postgres", "postgresql", "pg", "mysql", "mariadb", "sqlite", "database", "db"]),
    ("sql.max_connections", &["pool_size"]),
    ("redis", &["valkey"]),
];

/// The kind of name that is looked for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sought {
    /// A key of a file, or a table.
    Key,
    Variable,
}

/// Returns the key that was probably meant: one that has this name in other programs or stands in another table, otherwise
/// the first of those with the least distance. `None` if that distance is half of the name or more.
///
/// The table's name, if there is one, is separated by a dot or an underscore.
pub(super) fn nearest(written: &str, sought: Sought) -> Option<&'static str> {
    // No key is nearly as long.
    const MAX_CHARS: usize = 64;
    let written: String = written.chars().take(MAX_CHARS).collect::<String>().to_ascii_lowercase();
    let flat = written.replace('.', "_");
    let is_called = |elsewhere: &&str| {
        let is_behind = |table: &str| table.is_empty() || table.ends_with('_');
        let is_nearly = elsewhere.len() > 4 && osa_distance(&flat, elsewhere) < 2;
        is_nearly || flat.strip_suffix(elsewhere).is_some_and(is_behind)
    };
    if let Some((here, _)) = ELSEWHERE.iter().find(|(_, elsewhere)| elsewhere.iter().any(is_called)) {
        // No variable stands for a table, so its first key is named.
        let is_in = |key: &&&str| sought == Sought::Variable && table_of(key) == Some(here);
        return Some(KEYS.iter().find(is_in).unwrap_or(here));
    }
    // Without its table and the plural.
    let (table, word) = written.split_once('.').unwrap_or(("", &written));
    let word = word.strip_suffix('s').unwrap_or(word);
    let keys = KEYS.iter().map(|key| {
        let name = key.replace('.', "_");
        let contains_word = |rest: &str| word.len() > 2 && rest.replace('.', "_").contains(word);
        (*key, key.strip_prefix(table).is_some_and(contains_word) || flat.ends_with(&format!("_{name}")))
    });
    let is_root = sought == Sought::Key && !written.contains('.');
    let tables = KEYS.iter().filter_map(|key| table_of(key)).filter(|_| is_root);
    let tables = tables.map(|table| (table, flat.strip_prefix(table).is_some_and(|rest| rest.starts_with('_'))));
    let ranks = keys.chain(tables).map(|(name, is_part)| {
        let distance = osa_distance(&flat, &name.replace('.', "_"));
        (if is_part { distance.min(1) } else { distance }, distance, name)
    });
    let (rank, _, name) = ranks.min_by_key(|(rank, distance, _)| (*rank, *distance))?;
    (rank <= 1 || rank * 2 < flat.chars().count()).then_some(name)
}

fn table_of(key: &str) -> Option<&str> {
    key.split_once('.').map(|(table, _)| table)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(nearest(written, Sought::Key), Some(meant), "{written}");
        }
        for (written, meant) in
            [("redis", "redis.prefix"), ("rediss_prefix", "redis.prefix"), ("sqlite_table", "sql.table")]
        {
            assert_eq!(nearest(written, Sought::Variable), Some(meant), "{written}");
        }
        for nothing_like_it in ["", "rolling", "resave", "colour", &"é".repeat(1 << 20)] {
            assert_eq!(nearest(nothing_like_it, Sought::Key), None, "and soon");
        }
    }

    #[test]
    fn what_is_called_otherwise_elsewhere_is_a_key_here() {
        for (here, elsewhere) in ELSEWHERE {
            assert!(KEYS.iter().any(|key| *key == here || table_of(key) == Some(here)), "{here}");
            assert!(!elsewhere.iter().any(|elsewhere| KEYS.contains(elsewhere)), "{elsewhere:?}");
        }
    }
}
