//! That nothing is forgotten: every option of a builder is a key, and every key is documented.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::setting::{OrOff, Setting, Size};
use super::table::Table as _;
use super::{SessionConfig, vars};

/// What only a program can set.
const CODE: [&str; 3] = ["clock", "on_event", "insecure_random_source"];

/// What no builder has as an option: where the store is, what is around it, and secrets in files.
const OWN: [&str; 9] = [
    "store",
    "store_url_file",
    "sealed",
    "nist",
    "cookie.keys",
    "cookie.key_file",
    "cookie.revocations_url_file",
    "sql.max_connections",
    "sql.migrate",
];

/// The methods of a builder, as they stand in its source.
fn options<'a>(source: &'a str, begin: &str) -> Vec<&'a str> {
    let indent = &begin[..begin.len() - begin.trim_start().len()];
    let (_, body) = source.split_once(&format!("\n{begin}\n")).unwrap_or_else(|| panic!("{begin}"));
    let (body, _) = body.split_once(&format!("\n{indent}}}\n")).unwrap();
    let names = body.split("    pub ").skip(1).filter_map(|item| item.split('(').next()?.split("fn ").nth(1));
    let names: Vec<_> = names.map(|name| name.split('<').next().unwrap()).filter(|name| *name != "build").collect();
    assert!(!names.is_empty(), "{begin}");
    names
}

#[test]
fn every_option_of_a_builder_is_a_key() {
    let builders = [
        ("", include_str!("../builder.rs"), "impl<S: SessionStore> SessionLayerBuilder<S> {"),
        ("", include_str!("../cookie/builder.rs"), "impl SessionCookieBuilder {"),
        ("cookie.", include_str!("../store/cookie/builder.rs"), "impl CookieStoreBuilder {"),
        ("memory.", include_str!("../store/memory.rs"), "impl MemoryStoreBuilder {"),
        ("file.", include_str!("../store/file.rs"), "impl FileStoreBuilder {"),
        ("redis.", include_str!("../store/redis/builder.rs"), "impl RedisStoreBuilder {"),
        ("sql.", include_str!("../store/sql/store.rs"), "impl<Pool: SqlPool> SqlStoreBuilder<Pool> {"),
        ("cached.", include_str!("../store/cached.rs"), "impl<S: SessionStore> CachedStoreBuilder<S> {"),
    ];
    let mut expected: BTreeSet<_> = OWN.into_iter().map(str::to_owned).collect();
    for (table, source, begin) in builders {
        for option in options(source, begin) {
            match option {
                option if CODE.contains(&option) => {}
                // Of a cookie, whose name the layer's builder calls `cookie_name`.
                "name" => assert!(expected.contains("cookie_name")),
                "nist_aal1" | "nist_aal2" | "nist_aal3" => assert!(expected.contains("nist")),
                option => drop(expected.insert(format!("{table}{option}"))),
            }
        }
    }
    let keys: BTreeSet<_> = vars::names().into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys, expected);
}

/// The rows of the tables of keys: key, value, default.
fn documented() -> Vec<[&'static str; 3]> {
    let (keys, _) = include_str!("keys.md").split_once("# Stores").unwrap();
    let rows = keys.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("{row}")))
        .map(|[key, value, default]: [&str; 3]| [key.trim_end_matches('`'), value, default])
        .collect()
}

#[test]
fn every_key_is_documented_with_unit_and_default() {
    let keys: Vec<_> = vars::names().into_iter().map(|(_, key)| key).collect();
    let rows = documented();
    assert_eq!(rows.iter().map(|[key, ..]| *key).collect::<Vec<_>>(), keys, "in the same order");
    let mut root = SessionConfig::default();
    for [key, value, default] in rows {
        let expected = match key.split_once('.') {
            Some((table, key)) => root.table(table).unwrap().expected(key),
            None => root.expected(key),
        };
        let (word, needs_default) = match expected {
            Duration::EXPECTED => ("duration", true),
            OrOff::<Duration>::EXPECTED => ("duration or \"off\"", true),
            OrOff::<usize>::EXPECTED => ("number or \"off\"", true),
            Size::EXPECTED => ("size", true),
            SystemTime::EXPECTED => ("time", true),
            <bool as Setting>::EXPECTED => ("true or false", true),
            <usize as Setting>::EXPECTED => ("number", true),
            <String as Setting>::EXPECTED => ("text", true),
            words if words.starts_with('"') => (words, key != "nist"),
            _ => ("", false),
        };
        assert!(value.replace('`', "").contains(word), "{key}: {value} says nothing of {word}");
        assert!(!needs_default || !default.trim().is_empty(), "{key} has no default");
    }
}

/// The defaults are the builders' own, whose documentation states them.
#[test]
fn documented_defaults_are_those_of_the_builders() {
    let default = |key: &str| documented().into_iter().find(|[name, ..]| *name == key).unwrap()[2];
    let built = format!("{:?}", crate::MemoryStore::builder());
    assert_eq!(built, "MemoryStoreBuilder { max_sessions: 1000000, max_bytes: 1073741824 }");
    assert_eq!((default("memory.max_sessions"), default("memory.max_bytes")), ("1,000,000", "1 GiB"));
    #[cfg(feature = "cached")]
    {
        let built = format!("{:?}", crate::CachedStore::builder(crate::MemoryStore::new()));
        assert!(built.contains("max_bytes: 67108864"), "{built}");
        assert_eq!(default("cached.max_bytes"), "64 MiB");
    }
    #[cfg(feature = "redis")]
    {
        let built = format!("{:?}", crate::RedisStore::builder("redis://host"));
        assert!(built.contains("prefix: \"session:\", timeouts: Timeouts { connect: 2s, response: 5s }"), "{built}");
        assert_eq!(default("redis.prefix"), "`\"session:\"`");
        assert_eq!((default("redis.connect_timeout"), default("redis.response_timeout")), ("2 seconds", "5 seconds"));
    }
}

#[cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
#[test]
fn documented_defaults_are_those_of_the_pools() {
    let of = [crate::PostgresStore::CONNECTIONS, crate::MySqlStore::CONNECTIONS, crate::SqliteStore::CONNECTIONS];
    assert_eq!(of, [10, 10, 4]);
    assert!(documented().contains(&[
        "sql.max_connections",
        "number: how large the pool may become",
        "10; of SQLite 4"
    ]));
    assert!(documented().contains(&["sql.table", "text", "`\"tower_session_layer\"`"]));
}

#[test]
fn variables_are_distinct() {
    let names = vars::names();
    let distinct: BTreeSet<_> = names.iter().map(|(variable, _)| variable).collect();
    assert_eq!(distinct.len(), names.len());
}
