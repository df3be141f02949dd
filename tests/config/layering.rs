//! The environment over a file.

use tower_session_layer::{ConfigError, SessionConfig};

use super::support::Log;
use super::{PREFIX, toml_of};

fn over(file: &str, vars: &[(&str, &str)]) -> Result<String, ConfigError> {
    let vars = vars.iter().map(|(name, value)| (format!("{PREFIX}{name}"), *value));
    toml_of(file).override_with_vars(PREFIX, vars).map(|config| format!("{config:?}"))
}

#[test]
fn a_variable_outweighs_the_file_and_leaves_the_rest() {
    let file =
        "store = 'memory:'\nlazy = true\nidle_timeout = '30m'\n[redis]\nprefix = 'shop:'\nconnect_timeout = '1s'";
    for (vars, expected) in [
        (
            &[][..],
            r#"{store: "memory:", idle_timeout: 1800s, lazy: true, redis.prefix: "shop:", redis.connect_timeout: 1s}"#,
        ),
        (
            &[("STORE", "redis://host"), ("LAZY", "false"), ("REDIS_PREFIX", "test:")],
            r#"{store: "redis://host", idle_timeout: 1800s, lazy: false, redis.prefix: "test:", redis.connect_timeout: 1s}"#,
        ),
    ] {
        assert_eq!(over(file, vars).unwrap(), expected);
    }
}

#[cfg(feature = "cached")]
#[tokio::test]
async fn the_example_configurations_lack_nothing_but_a_server_and_a_key() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&key, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap();
    let key = ("A_COOKIE_KEY_FILE", key.path().to_str().unwrap());
    let mut seen = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/config")).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let config = match file.extension().unwrap().to_str() {
            Some("json") => serde_json::from_str(&text).unwrap(),
            _ => toml_of(&text),
        };
        let has_key = format!("{config:?}").contains("cookie.key_file");
        let vars = [("A_STORE", "memory:")].into_iter().chain(has_key.then_some(key));
        let built = config.override_with_vars("A_", vars).unwrap().build().await;
        assert!(built.is_ok(), "{}: {:?}", file.display(), built.err());
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn what_says_the_same_is_put_aside() {
    for (file, variable, expected) in [
        ("store = 'memory:'", ("STORE_URL_FILE", "a"), r#"{store_url_file: "a"}"#),
        ("store_url_file = 'a'", ("STORE", "memory:"), r#"{store: "memory:"}"#),
        ("[cookie]\nkeys = 'a'", ("COOKIE_KEY_FILE", "b"), r#"{cookie.key_file: "b"}"#),
        ("[cookie]\nkey_file = 'b'", ("COOKIE_KEYS", "a,b"), "{cookie.keys: [2 of them]}"),
        (
            "[cookie]\nrevocations = 'memory:'",
            ("COOKIE_REVOCATIONS_URL_FILE", "a"),
            r#"{cookie.revocations_url_file: "a"}"#,
        ),
        (
            "[cookie]\nrevocations_url_file = 'a'",
            ("COOKIE_REVOCATIONS", "memory:"),
            r#"{cookie.revocations: "memory:"}"#,
        ),
        ("token_header = 'a'", ("TOKEN_HEADER_ALONE", "b"), r#"{token_header_alone: "b"}"#),
        ("token_header_alone = 'a'", ("TOKEN_HEADER", "b"), r#"{token_header: "b"}"#),
        ("idle_timeout = '7d'\nabsolute_timeout = '30d'", ("NIST", "aal3"), "{nist: Aal3}"),
        ("nist = 'aal3'", ("IDLE_TIMEOUT", "5m"), "{nist: Aal3, idle_timeout: 300s}"),
    ] {
        assert_eq!(over(file, &[variable]).unwrap(), expected, "{file}");
    }
    let file = "renew_after = '1h'\nmax_sessions_per_owner = 1\n[cached]\nmax_staleness = '1s'\nmax_bytes = 1";
    let off = ["RENEW_AFTER", "MAX_SESSIONS_PER_OWNER", "CACHED_MAX_STALENESS"].map(|name| (name, "off"));
    assert_eq!(
        over(file, &off).unwrap(),
        r#"{renew_after: "off", max_sessions_per_owner: "off", cached.max_staleness: "off", cached.max_bytes: 1}"#
    );
    let both = over("idle_timeout = '7d'", &[("IDLE_TIMEOUT", "5m"), ("NIST", "aal3")]).unwrap();
    assert_eq!(both, "{nist: Aal3, idle_timeout: 300s}", "both are of the environment, in whichever order");
}

#[test]
fn variables_of_others_are_left_alone() {
    let vars = [("HOME", "/root"), ("SHOP_SESSIONS", "x"), ("shop_session_store", "x"), ("STORE", "x")];
    assert_eq!(format!("{:?}", SessionConfig::from_vars(PREFIX, vars).unwrap()), "{}");
    let desktop = [("SESSION_MANAGER", "local/host:@/tmp/.ICE-unix/1"), ("SESSION_LAZY", "true")];
    assert_eq!(format!("{:?}", SessionConfig::from_vars("SESSION_", desktop).unwrap()), "{lazy: true}");
}

/// What Kubernetes sets in each pod beside the services `shop-session`, `shop-session-redis` and `shop-session-port`.
#[test]
fn variables_of_services_are_passed_over_with_a_note() {
    for (prefix, service) in [
        (PREFIX, "SHOP_SESSION"),
        (PREFIX, "SHOP_SESSION_REDIS"),
        (PREFIX, "SHOP_SESSION_PORT"),
        ("SHOP_SESSION", "SHOP_SESSION"),
    ] {
        let given = [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "6379"),
            ("SERVICE_PORT_HTTP_2", "6379"),
            ("PORT", "tcp://10.0.0.1:6379"),
            ("PORT_6379_TCP", "tcp://10.0.0.1:6379"),
            ("PORT_6379_TCP_PROTO", "tcp"),
            ("PORT_6379_TCP_PORT", "6379"),
            ("PORT_6379_TCP_ADDR", "10.0.0.1"),
            ("PORT_53_UDP", "udp://10.0.0.1:53"),
            ("PORT_132_SCTP_ADDR", "[fd00::1]"),
        ];
        let given = given.map(|(name, value)| (format!("{service}_{name}"), value));
        let ours = (format!("{prefix}LAZY"), "true");
        let log = Log::capture();
        let config = SessionConfig::from_vars(prefix, given.iter().cloned().chain([ours])).unwrap();
        assert_eq!(format!("{config:?}"), "{lazy: true}", "{prefix} {service}");
        let text = log.text();
        assert_eq!(text.matches("are passed over").count(), 1, "{text}");
        assert!(given.iter().all(|(name, _)| text.contains(name.as_str())) && !text.contains("10.0.0.1"), "{text}");
    }
    for (name, value) in [
        ("SHOP_SESSION_REDIS_PORT", "6379"),
        ("SHOP_SESSION_REDIS_PORT", "redis://10.0.0.1"),
        ("SHOP_SESSION_REDIS_HOST", "10.0.0.1"),
        ("SHOP_SESSION_REDIS_PORT_TCP", "tcp://10.0.0.1:6379"),
        ("SHOP_SESSION_REDIS_PORT_6379", "tcp://10.0.0.1:6379"),
        ("SHOP_SESSION_REDIS_PORT_6379_TCP_NAME", "redis"),
        ("SHOP_SESSION_REDIS_SUPPORT", "tcp://10.0.0.1:6379"),
    ] {
        let error = SessionConfig::from_vars(PREFIX, [(name, value)]).unwrap_err();
        assert!(matches!(&error, ConfigError::UnknownVariable { name: told, .. } if told == name), "{name}: {error}");
    }
}

#[test]
fn variables_of_ours_are_all_known() {
    for (name, nearest) in [
        ("SHOP_SESSION_IDEL_TIMEOUT", "SHOP_SESSION_IDLE_TIMEOUT"),
        ("SHOP_SESSION_idle_timeout", "SHOP_SESSION_IDLE_TIMEOUT"),
        ("SHOP_SESSION_REDIS__PREFIX", "SHOP_SESSION_REDIS_PREFIX"),
        ("SHOP_SESSION_REDIS", "SHOP_SESSION_REDIS_PREFIX"),
        ("SHOP_SESSION_SECRET_KEY", "SHOP_SESSION_COOKIE_KEYS"),
        ("SHOP_SESSION_REDIS_URL", "SHOP_SESSION_STORE"),
        ("SHOP_SESSION_KEY_FILE", "SHOP_SESSION_COOKIE_KEY_FILE"),
        ("SHOP_SESSION_SQLITE", "SHOP_SESSION_SQL_TABLE"),
    ] {
        let error = SessionConfig::from_vars(PREFIX, [(name, "secret")]).unwrap_err();
        assert_eq!(error, ConfigError::UnknownVariable { name: name.to_owned(), nearest: Some(nearest.to_owned()) });
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(nearest) && !text.contains("secret"), "{text}");
    }
    for name in ["SHOP_SESSION_", "SHOP_SESSION_ROLLING"] {
        let error = SessionConfig::from_vars(PREFIX, [(name, "secret")]).unwrap_err();
        assert_eq!(error, ConfigError::UnknownVariable { name: name.to_owned(), nearest: None });
        assert_eq!(
            error.to_string(),
            format!(
                "environment variable {name}: stands for no key; expected one of those in the documentation of SessionConfig"
            )
        );
    }
    let error = SessionConfig::from_vars("SHOP_SESSION", [("SHOP_SESSION_STORE", "secret")]).unwrap_err().to_string();
    assert!(error.starts_with("SHOP_SESSION_STORE: is STORE behind the prefix \"SHOP_SESSION_\""), "{error}");
}

#[test]
fn a_value_that_cannot_be_names_its_variable() {
    for (name, value, said) in [
        ("IDLE_TIMEOUT", "soon", "expected a duration with its unit, such as \"30m\", \"7d\" or \"1h 30m\""),
        ("IDLE_TIMEOUT", "", "is empty: expected a duration with its unit"),
        ("IDLE_TIMEOUT", "-5", "got \"-5\""),
        ("COOKIE_NAME", "", "is empty"),
        ("LAZY", "maybe", "expected true or false, got \"maybe\""),
        ("MAX_RECORD_BYTES", "1M", "expected whole bytes, or a size"),
        ("MAX_SESSIONS_PER_OWNER", "99999999999999999999", "expected a whole number"),
        ("SAME_SITE", "loose", "expected \"lax\", \"strict\" or \"none\", got \"loose\""),
        ("NOT_BEFORE", "yesterday", "expected a time such as \"2026-01-31T12:00:00Z\""),
        ("COOKIE_MAX_CHUNKS", "999", "expected 1, 2 or 3, got \"999\""),
        ("FILE_DURABILITY", "ever", "expected \"process\" or \"system\""),
        ("NIST", "aal4", "expected \"aal1\", \"aal2\" or \"aal3\""),
    ] {
        let error = over("", &[(name, value)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("SHOP_SESSION_{name}: ")), "{error}");
        assert!(error.contains(said) && !error.contains('\n'), "{error}");
    }
    let long = over("", &[("IDLE_TIMEOUT", &"x".repeat(100_000))]).unwrap_err().to_string();
    assert!(long.len() < 300, "{long}");
}
