//! Every option of a builder is a key, and every key is documented.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::SessionConfig;
use super::kind::{OrOff, SettingKind};
use super::settings::{KEYS, variable};

/// The options that only a program can set.
const CODE: [&str; 3] = ["clock", "on_event", "insecure_random_source"];

/// The keys that are no option of a builder: the URL of the store, its wrappers, and files of secrets.
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
        ("", include_str!("../builder/token.rs"), "impl<S: SessionStore> SessionLayerBuilder<S> {"),
        ("", include_str!("../builder/timeouts.rs"), "impl<S: SessionStore> SessionLayerBuilder<S> {"),
        ("", include_str!("../cookie/builder.rs"), "impl SessionCookieBuilder {"),
        ("cookie.", include_str!("../store/cookie/builder.rs"), "impl CookieStoreBuilder {"),
        ("memory.", include_str!("../store/memory.rs"), "impl MemoryStoreBuilder {"),
        ("file.", include_str!("../store/file.rs"), "impl FileStoreBuilder {"),
        ("redis.", include_str!("../store/redis/builder.rs"), "impl RedisStoreBuilder {"),
        ("sql.", include_str!("../store/sql/engine.rs"), "        impl $builder {"),
        ("cached.", include_str!("../store/cached.rs"), "impl<S: SessionStore> CachedStoreBuilder<S> {"),
    ];
    let mut expected: BTreeSet<_> = OWN.into_iter().map(str::to_owned).collect();
    for (table, source, begin) in builders {
        for option in options(source, begin) {
            match option {
                option if CODE.contains(&option) => {}
                // The option of a cookie that the layer's builder calls `cookie_name`.
                "name" => assert!(expected.contains("cookie_name")),
                "nist_aal1" | "nist_aal2" | "nist_aal3" => assert!(expected.contains("nist")),
                option => drop(expected.insert(format!("{table}{option}"))),
            }
        }
    }
    let keys: BTreeSet<_> = KEYS.iter().map(|key| (*key).to_owned()).collect();
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
    let rows = documented();
    assert_eq!(rows.iter().map(|[key, ..]| *key).collect::<Vec<_>>(), KEYS, "in the same order");
    for [key, value, default] in rows {
        // No key takes null.
        let refused = SessionConfig::default().set(key, Value::Null).unwrap_err().to_string();
        let expected = refused.strip_prefix("expected ").unwrap();
        let of_kinds = [
            (Duration::expected(), "duration"),
            (OrOff::<Duration>::expected(), "duration or \"off\""),
            (OrOff::<usize>::expected(), "number or \"off\""),
            (u64::expected(), "size"),
            (SystemTime::expected(), "time"),
            (bool::expected(), "true or false"),
            (usize::expected(), "number"),
            (String::expected(), "text"),
        ];
        let (word, needs_default) = match of_kinds.iter().find(|(of_kind, _)| of_kind == expected) {
            Some((_, word)) => (*word, true),
            None if expected.starts_with('"') => (expected, key != "nist"),
            None => ("", false),
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
    let distinct: BTreeSet<_> = KEYS.iter().map(|key| variable("", key)).collect();
    assert_eq!(distinct.len(), KEYS.len());
}
