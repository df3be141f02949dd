//! What a variable has set is named by it, and what a file has set by its key.

use tower_session_layer::{ConfigError, SessionConfig};

use super::{PREFIX, toml_of};

const KEY: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e7beef";

async fn over(file: &str, vars: &[(&str, &str)]) -> ConfigError {
    let vars = vars.iter().map(|(name, value)| (format!("{PREFIX}{name}"), *value));
    toml_of(file).override_with_vars(PREFIX, vars).unwrap().build().await.unwrap_err()
}

#[tokio::test]
async fn an_option_that_is_refused_names_its_variables() {
    for (vars, said) in [
        (&[("COOKIE_NAME", "a b")][..], "SHOP_SESSION_COOKIE_NAME: cookie_name \"a b\": expected"),
        (
            &[("COOKIE_NAME", "__Host-x"), ("PATH", "/shop"), ("INSECURE_HTTP", "false")],
            "SHOP_SESSION_COOKIE_NAME, SHOP_SESSION_PATH: cookie_name \"__Host-x\" with another path: ",
        ),
        (
            &[("FORMERLY", "example.com/, /app")],
            "SHOP_SESSION_FORMERLY: cookie_name \"__Host-sid\" with a former domain or path: ",
        ),
        (&[("DOMAIN", "example.com")], "SHOP_SESSION_DOMAIN: cookie_name \"__Host-sid\" with a domain: "),
        (
            &[("COOKIE_NAME", "__Secure-x"), ("INSECURE_HTTP", "true")],
            "SHOP_SESSION_COOKIE_NAME, SHOP_SESSION_INSECURE_HTTP: cookie_name \"__Secure-x\"",
        ),
        (
            &[("COOKIE_NAME", "__Http-x"), ("INSECURE_SCRIPT_ACCESS", "true")],
            "SHOP_SESSION_COOKIE_NAME, SHOP_SESSION_INSECURE_SCRIPT_ACCESS: cookie_name \"__Http-x\"",
        ),
        (
            &[("SAME_SITE", "none"), ("INSECURE_HTTP", "true")],
            "SHOP_SESSION_INSECURE_HTTP, SHOP_SESSION_SAME_SITE: same_site None",
        ),
        (
            &[("PARTITIONED", "true"), ("INSECURE_HTTP", "true")],
            "SHOP_SESSION_INSECURE_HTTP, SHOP_SESSION_PARTITIONED: partitioned with",
        ),
        (&[("COOKIE_NAME", "a"), ("PATH", "shop")], "SHOP_SESSION_PATH: path \"shop\": expected"),
        (&[("COOKIE_NAME", "a"), ("DOMAIN", "a:b")], "SHOP_SESSION_DOMAIN: domain \"a:b\": expected"),
        (
            &[("IDLE_TIMEOUT", "40d")],
            "SHOP_SESSION_IDLE_TIMEOUT: idle_timeout 40d: expected at most the absolute_timeout, which is 30d by default",
        ),
        (
            &[("IDLE_TIMEOUT", "90m"), ("ABSOLUTE_TIMEOUT", "1h")],
            "SHOP_SESSION_ABSOLUTE_TIMEOUT, SHOP_SESSION_IDLE_TIMEOUT: idle_timeout 90m: expected at most the \
             absolute_timeout, which is 1h; raising absolute_timeout is the other way out",
        ),
        (
            &[("IDLE_TIMEOUT", "401d"), ("ABSOLUTE_TIMEOUT", "1d")],
            "SHOP_SESSION_IDLE_TIMEOUT: idle_timeout 401d: expected more than zero",
        ),
        (&[("ABSOLUTE_TIMEOUT", "401d")], "SHOP_SESSION_ABSOLUTE_TIMEOUT: absolute_timeout 401d: expected"),
        (&[("RENEW_AFTER", "1500ms")], "SHOP_SESSION_RENEW_AFTER: renew_after 1.5s: expected at least 60"),
        (&[("TOKEN_HEADER", "cookie")], "SHOP_SESSION_TOKEN_HEADER: token_header \"cookie\": expected"),
        (
            &[("TOKEN_HEADER", "a"), ("TOKEN_HEADER_ALONE", "b")],
            "SHOP_SESSION_TOKEN_HEADER: expected this or SHOP_SESSION_TOKEN_HEADER_ALONE, not both",
        ),
        (&[("STORE_TIMEOUT", "0s")], "SHOP_SESSION_STORE_TIMEOUT: store_timeout 0: expected"),
        (&[("MAX_RECORD_BYTES", "0")], "SHOP_SESSION_MAX_RECORD_BYTES: max_record_bytes 0: expected"),
        (&[("MAX_SESSIONS_PER_OWNER", "0")], "SHOP_SESSION_MAX_SESSIONS_PER_OWNER: max_sessions_per_owner 0: "),
        (&[("MEMORY_MAX_SESSIONS", "0")], "SHOP_SESSION_MEMORY_MAX_SESSIONS: max_sessions 0: expected"),
        (&[("CACHED_MAX_BYTES", "1")], "SHOP_SESSION_CACHED_MAX_BYTES: expected cached.max_staleness beside it"),
    ] {
        let error = over("store = 'memory:'", vars).await.to_string();
        assert!(error.starts_with(said) && !error.contains('\n'), "{vars:?}: {error}");
    }
}

#[tokio::test]
async fn a_store_that_is_refused_names_its_variable() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = place.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (empty, url) = (file("empty", "\n"), file("url", "# in production\nredis://:hunter2@host\n"));
    let elsewhere = file("elsewhere", "mongodb://:hunter2@host");
    for (name, value, said) in [
        ("STORE", "memory://hunter2", "SHOP_SESSION_STORE \"memory:…\": expected \"memory:\" and nothing".to_owned()),
        ("STORE", "./hunter2", "SHOP_SESSION_STORE: has no scheme: expected SCHEME:PLACE, one of memory:".to_owned()),
        ("STORE", " ", "SHOP_SESSION_STORE: is empty: expected SCHEME:PLACE, one of memory:".to_owned()),
        ("STORE", "\"redis://:hunter2@host\"", "SHOP_SESSION_STORE: begins with a quotation mark".to_owned()),
        ("STORE", "mongodb://hunter2", "SHOP_SESSION_STORE: store \"mongodb:\": expected one of memory:".to_owned()),
        ("STORE", "mysql://:hunter2@127.0.0.1:1/a", "SHOP_SESSION_STORE: store \"mysql://127.0.0.1:1/a\": ".to_owned()),
        ("STORE", "redis://:hunter2@", "SHOP_SESSION_STORE: ".to_owned()),
        ("STORE", "file:/dev/null/a", "SHOP_SESSION_STORE: ".to_owned()),
        (
            "STORE_URL_FILE",
            &empty,
            format!("SHOP_SESSION_STORE_URL_FILE {empty}: is empty: expected one line, the URL"),
        ),
        (
            "STORE_URL_FILE",
            &url,
            format!("SHOP_SESSION_STORE_URL_FILE {url}: expected one line, the URL of a store alone"),
        ),
        (
            "STORE_URL_FILE",
            &elsewhere,
            format!("SHOP_SESSION_STORE_URL_FILE {elsewhere}: store \"mongodb:\": expected"),
        ),
        ("STORE_URL_FILE", "/dev/null/a", "SHOP_SESSION_STORE_URL_FILE /dev/null/a: cannot be read".to_owned()),
        ("STORE_URL_FILE", "redis://:hunter2@h", "SHOP_SESSION_STORE_URL_FILE …: cannot be read".to_owned()),
    ] {
        let error = over("", &[(name, value)]).await;
        let shown = format!("{error} {error:?}");
        assert!(error.to_string().starts_with(&said), "{name}={value}: {error}");
        assert!(!shown.contains("hunter2") && !error.to_string().contains('\n'), "{shown}");
    }
}

#[cfg(feature = "cookie")]
#[tokio::test]
async fn what_the_cookie_store_refuses_names_its_variable() {
    let place = tempfile::tempdir().unwrap();
    let empty = place.path().join("empty");
    std::fs::write(&empty, "\u{feff}\r\n").unwrap();
    let empty = empty.display().to_string();
    let keys = ("COOKIE_KEYS", KEY);
    for (vars, said) in [
        (
            &[][..],
            "SHOP_SESSION_COOKIE_KEYS: the cookie store needs a key: set `SHOP_SESSION_COOKIE_KEYS` or `SHOP_SESSION_COOKIE_KEY_FILE`",
        ),
        (&[("COOKIE_KEYS", "hunter2!")], "SHOP_SESSION_COOKIE_KEYS: key 1: expected at least 32 bytes"),
        (&[("COOKIE_KEYS", "5ec2e7")], "SHOP_SESSION_COOKIE_KEYS: key of 3 bytes: expected at least 32"),
        (
            &[("COOKIE_KEY_FILE", &empty)],
            &format!("SHOP_SESSION_COOKIE_KEY_FILE {empty}: is empty: expected one key a"),
        ),
        (&[keys, ("COOKIE_KEY_FILE", "a")], "SHOP_SESSION_COOKIE_KEYS: expected this or SHOP_SESSION_COOKIE_KEY_FILE"),
        (&[keys, ("COOKIE_MAX_CHUNKS", "9")], "SHOP_SESSION_COOKIE_MAX_CHUNKS: max_chunks 9: expected 1, 2 or 3"),
        (&[keys, ("SEALED", "true")], "SHOP_SESSION_SEALED: Sealed with a store whose token is the session"),
        (&[keys, ("RENEW_AFTER", "1h")], "SHOP_SESSION_RENEW_AFTER: renew_after with a store whose token"),
        (&[keys, ("COOKIE_REVOCATIONS", "cookie:")], "SHOP_SESSION_COOKIE_REVOCATIONS: revocations with a store whose"),
        (&[keys, ("COOKIE_REVOCATIONS", "hunter2")], "SHOP_SESSION_COOKIE_REVOCATIONS: has no scheme: expected SCHEME"),
        (
            &[keys, ("COOKIE_REVOCATIONS", "s3://hunter2")],
            "SHOP_SESSION_COOKIE_REVOCATIONS: store \"s3:\": expected one",
        ),
    ] {
        let error = over("", &[&[("STORE", "cookie:")], vars].concat()).await;
        let shown = format!("{error} {error:?}");
        assert!(error.to_string().starts_with(said), "{vars:?}: {error}");
        assert!(!shown.contains("hunter2") && !shown.contains("5ec2e7"), "{shown}");
    }
    // In a file the key says which of the two stores it is.
    let toml = format!("store = 'cookie:'\n[cookie]\nkeys = '{KEY}'\nrevocations = 's3://hunter2'");
    let error = super::refused(&toml).await.to_string();
    assert!(error.starts_with("cookie.revocations: store \"s3:\": expected one of memory:"), "{error}");
}

#[tokio::test]
async fn a_file_is_named_by_its_keys_where_a_variable_has_set_the_rest() {
    let file = "store = 'memory:'\npath = '/shop'\nidle_timeout = '40d'";
    for (vars, said) in [
        (
            &[("COOKIE_NAME", "__Host-x"), ("IDLE_TIMEOUT", "1h")][..],
            "SHOP_SESSION_COOKIE_NAME: cookie_name \"__Host-x\"",
        ),
        (&[("COOKIE_NAME", "x")], "idle_timeout 40d: expected at most"),
        (&[("COOKIE_NAME", "x"), ("ABSOLUTE_TIMEOUT", "20d")], "SHOP_SESSION_ABSOLUTE_TIMEOUT: idle_timeout 40d: "),
    ] {
        let error = over(file, vars).await.to_string();
        assert!(error.starts_with(said), "{vars:?}: {error}");
    }
    // The last to set it is named, and nobody who was put aside.
    let config = SessionConfig::from_vars("A_", [("A_STORE_URL_FILE", "/dev/null/a"), ("A_PATH", "a")]).unwrap();
    let config = config.override_with_vars("B_", [("B_STORE", "x"), ("B_PATH", "b"), ("B_COOKIE_NAME", "b")]).unwrap();
    assert!(config.build().await.unwrap_err().to_string().starts_with("B_STORE: has no scheme"));
    let config = config.override_with_vars("C_", [("C_STORE", "memory:")]).unwrap();
    assert!(config.build().await.unwrap_err().to_string().starts_with("B_PATH: path \"b\": expected"));
    let config = config.override_with_vars("D_", [("D_PATH", "/"), ("D_IDLE_TIMEOUT", "1m")]).unwrap();
    let nist = [("E_NIST", "aal3"), ("E_ABSOLUTE_TIMEOUT", "5m")];
    let error = config.clone().override_with_vars("E_", nist).unwrap().build().await.unwrap_err().to_string();
    assert!(error.starts_with("E_ABSOLUTE_TIMEOUT, E_NIST: idle_timeout 15m: expected at most"), "{error}");
    let config = config.override_with_vars("F_", [("F_PATH", "f")]).unwrap();
    let error = config.builder_on(tower_session_layer::MemoryStore::new()).unwrap().build().unwrap_err();
    assert_eq!(error, ConfigError::Path("f".to_owned()), "the program's own builder knows of no variables");
}
