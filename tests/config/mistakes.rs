//! What cannot be, told in one line that says what would be right.

use tower_session_layer::{ConfigError, SessionConfig};

use super::{refused, toml_of};

fn toml_error(text: &str) -> (String, Option<std::ops::Range<usize>>) {
    let error = toml::from_str::<SessionConfig>(text).unwrap_err();
    (error.message().to_owned(), error.span())
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest() {
    for (text, said, at) in [
        (
            "idel_timeout = '30m'",
            "unknown key idel_timeout: the nearest is idle_timeout; here are store, ",
            "idel_timeout",
        ),
        ("store = 'memory:'\nidle = '30m'", "unknown key idle: the nearest is idle_timeout", "idle"),
        ("[redis]\npefix = 'a'", "unknown key redis.pefix: the nearest is redis.prefix; here are prefix, ", "pefix"),
        (
            "[cookie]\nname = 'a'",
            "unknown key cookie.name: the nearest is cookie_name, outside of this table (in TOML above all tables); here",
            "name",
        ),
        (
            "[redis]\nprefix = 'a'\nidle_timeout = '1h'",
            "unknown key redis.idle_timeout: the nearest is idle_timeout, outside of this table",
            "idle_timeout",
        ),
        ("key_file = 'a'", "unknown key key_file: the nearest is cookie.key_file; here are", "key_file"),
        ("[postgres]\ntable = 'a'", "unknown key postgres: the nearest is sql; here are", "postgres"),
        ("[rediss]\nprefix = 'a'", "unknown key rediss: the nearest is redis; here are", "rediss"),
        ("[sessions]\nlazy = true", "unknown key sessions: the keys stand here by themselves; here are", "sessions"),
        ("rolling = true", "unknown key rolling; here are store, ", "rolling"),
    ] {
        let (message, span) = toml_error(text);
        assert!(message.starts_with(said), "{message}");
        assert_eq!(span.map(|span| &text[span]), Some(at), "{text}");
    }
    let json = "{\n  \"redis\": { \"pefix\": \"a\" }\n}";
    let error = serde_json::from_str::<SessionConfig>(json).unwrap_err();
    assert!(error.to_string().starts_with("unknown key redis.pefix: the nearest is redis.prefix"), "{error}");
    assert_eq!(error.line(), 2);
}

#[test]
fn a_value_that_cannot_be_names_its_key_and_place() {
    for (text, said, at) in [
        ("lazy = true\nidle_timeout = 'soon'", "idle_timeout: expected a duration with its unit", "'soon'"),
        (
            "idle_timeout = -1",
            "idle_timeout: expected a duration with its unit, such as \"30m\", \"7d\" or \"1h 30m\" (w, d, h, m, s, ms), got -1",
            "-1",
        ),
        ("idle_timeout = 1.5", "idle_timeout: expected a duration with its unit", "1.5"),
        ("idle_timeout = 1800000", "idle_timeout: expected a duration with its unit, such as \"30m\"", "1800000"),
        ("idle_timeout = '1800'", "idle_timeout: expected a duration with its unit, such as \"30m\"", "'1800'"),
        ("renew_after = 3600", "renew_after: expected a duration with its unit", "3600"),
        ("not_before = 1767225600000", "not_before: expected a time such as", "1767225600000"),
        ("idle_timeout = true", "idle_timeout: expected a duration with its unit", "true"),
        ("lazy = 1", "lazy: expected true or false, got 1", "1"),
        ("cookie_name = ['a']", "cookie_name: expected a text, got a list", "['a']"),
        ("store = 5", "store: expected a store such as", "5"),
        ("[cookie]\nkeys = [5]", "cookie.keys: expected a list of keys, each a text", "[5]"),
        ("[cookie]\nmax_chunks = 300", "cookie.max_chunks: expected 1, 2 or 3, got 300", "300"),
        ("redis = 'redis://host'", "invalid type: a text, expected a table of settings for `redis`", "'redis://host'"),
        ("[lazy]\na = 1", "lazy: expected true or false, got a table", "[lazy]"),
    ] {
        let (message, span) = toml_error(text);
        assert!(message.starts_with(said), "{text}: {message}");
        assert_eq!(span.map(|span| &text[span]), Some(at), "{text}: {message}");
    }
}

#[test]
fn json_is_as_strict() {
    for (text, said) in [
        (r#"{"lazy": true, "lazy": false}"#, "lazy is given twice"),
        (r#"{"idle_timeout": null}"#, "idle_timeout: expected a duration with its unit"),
        (r#"{"redis": {"prefix": "a", "prefix": "b"}}"#, "redis.prefix is given twice"),
        (r#"{"redis": []}"#, "invalid type: sequence, expected a table of settings for `redis`"),
        ("[]", "invalid type: sequence, expected a table of session settings"),
    ] {
        let error = serde_json::from_str::<SessionConfig>(text).unwrap_err().to_string();
        assert!(error.starts_with(said) && error.contains("line 1"), "{error}");
    }
}

#[tokio::test]
async fn what_the_builders_refuse_is_refused_as_they_do() {
    for (toml, expected) in [
        ("cookie_name = 'a b'", ConfigError::CookieName("a b".to_owned())),
        ("path = 'shop'\ncookie_name = 'a'", ConfigError::Path("shop".to_owned())),
        ("domain = ''\ncookie_name = 'a'", ConfigError::Domain(String::new())),
        ("cookie_name = '__Secure-a'\ninsecure_http = true", ConfigError::SecurePrefix("__Secure-a".to_owned())),
        ("same_site = 'none'\ninsecure_http = true", ConfigError::SameSiteNone),
        ("partitioned = true\ninsecure_http = true", ConfigError::Partitioned),
        ("store_timeout = '0s'", ConfigError::StoreTimeout),
        ("max_record_bytes = 0", ConfigError::MaxRecordBytes),
        ("max_sessions_per_owner = 0", ConfigError::MaxSessionsPerOwner),
        ("token_header = 'cookie'", ConfigError::TokenHeader("cookie".to_owned())),
        ("renew_after = '1h'", ConfigError::RenewalKeys),
    ] {
        assert_eq!(refused(&format!("store = 'memory:'\n{toml}")).await, expected);
    }
    for (toml, said) in [
        ("domain = 'example.com'", "cookie_name \"__Host-sid\" with a domain"),
        ("formerly = ['/app']", "cookie_name \"__Host-sid\" with a former domain or path"),
        (
            "cookie_name = 'a'\ndomain = 'example.com'\nformerly = ['/', 'Example.com/']",
            "formerly \"Example.com/\": expected another domain or path than the cookie has now",
        ),
        ("cookie_name = 'a'\nformerly = ['a b/']", "domain \"a b\": expected"),
        ("idle_timeout = '0s'", "idle_timeout 0: expected more than zero"),
        (
            "idle_timeout = '401d'\nabsolute_timeout = '401d'",
            "absolute_timeout 401d: expected more than zero and at most",
        ),
        (
            "idle_timeout = '31d'",
            "idle_timeout 31d: expected at most the absolute_timeout, which is 30d by default; raising absolute_timeout is the",
        ),
        ("renew_after = '1s'", "renew_after 1s: expected at least 60 seconds"),
        (
            "nist = 'aal3'\nidle_timeout = '13h'",
            "idle_timeout 13h: expected at most the absolute_timeout, which is 12h; raising",
        ),
    ] {
        let error = refused(&format!("store = 'memory:'\n{toml}")).await.to_string();
        assert!(error.starts_with(said), "{error}");
    }
}

#[tokio::test]
async fn what_contradicts_itself_is_refused() {
    for (toml, said) in [
        ("store = 'memory:'\nstore_url_file = 'a'", "store: expected this or store_url_file, not both"),
        (
            "token_header = 'a'\ntoken_header_alone = 'b'\nstore = 'memory:'",
            "token_header: expected this or token_header_alone",
        ),
        ("store = 'cookie:'\n[cookie]\nkeys = 'a'\nkey_file = 'b'", "cookie.keys: expected this or cookie.key_file"),
        ("store = 'memory:'\n[cached]\nmax_bytes = 1", "cached.max_bytes: expected cached.max_staleness beside it"),
        ("store = 'cookie:'", "cookie.keys: the cookie store needs a key: set `cookie.keys` or `cookie.key_file`"),
    ] {
        let error = refused(toml).await.to_string();
        assert!(error.starts_with(said), "{error}");
    }
    assert_eq!(refused("").await, ConfigError::NoStore);
    let (error, here) = (refused("store_url_file = '~/url'").await.to_string(), std::env::current_dir().unwrap());
    assert!(error.starts_with(&format!("store_url_file ~/url: cannot be read in {}: ", here.display())), "{error}");
    assert!(refused("").await.to_string().starts_with("no store: expected the key store, "));
    assert!(toml_of("").builder_on(tower_session_layer::MemoryStore::new()).is_ok(), "the program has a store");
}

#[tokio::test]
async fn a_store_that_there_is_not_is_named() {
    for (store, said) in [
        ("carrier-pigeon:", "store \"carrier-pigeon:\": expected one of memory:, "),
        ("memory:x", "store \"memory:…\": expected \"memory:\" and nothing behind it"),
        ("./x", "store: has no scheme: expected SCHEME:PLACE, one of memory:, "),
        ("", "store: is empty: expected SCHEME:PLACE, one of memory:, "),
        ("file:", "store \"file:\": expected a directory"),
        ("sqlite:", "store \"sqlite:\": expected a file"),
    ] {
        let error = refused(&format!("store = '{store}'")).await.to_string();
        assert!(error.starts_with(said) && !error.contains('\n'), "{error}");
    }
}

/// With all features on nothing is off, and what is left to see is that nothing is said to be.
#[tokio::test]
async fn a_store_that_is_not_built_in_names_itself_and_its_feature() {
    for (store, shown, feature, is_built_in) in [
        ("redis://:secret@127.0.0.1:1", "redis://127.0.0.1:1", "redis", cfg!(feature = "redis")),
        ("redis+cluster://:secret@127.0.0.1:1", "redis+cluster://127.0.0.1:1", "redis", cfg!(feature = "redis")),
        ("postgres://shop:secret@127.0.0.1:1/a", "postgres://127.0.0.1:1/a", "postgres", cfg!(feature = "postgres")),
        ("mysql://shop:secret@127.0.0.1:1/a", "mysql://127.0.0.1:1/a", "mysql", cfg!(feature = "mysql")),
        ("sqlite:/dev/null/a.db", "sqlite:/dev/null/a.db", "sqlite", cfg!(feature = "sqlite")),
    ] {
        let error = refused(&format!("store = '{store}'")).await;
        let is_off = matches!(&error, ConfigError::FeatureOff { what, feature: named } if *named == feature && what.ends_with(&format!("{shown:?}")));
        assert_eq!(is_off, !is_built_in, "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("store {shown:?}: ")), "{text}");
        assert_eq!(text.contains(&format!("without the feature {feature:?}")), !is_built_in, "{text}");
        assert!(!text.contains("secret") && !text.contains('\n'), "{text}");
    }
}
