//! Neither keys nor passwords are in anything that is shown.

use tower_session_layer::SessionConfig;

use super::{Log, PREFIX, three, toml_of};

const KEY: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e7beef";

#[tokio::test]
async fn debug_shows_no_secret() {
    let toml = format!(
        "store = 'redis://shop:hunter2@host:1/?pass=hunter2'\n\
         [cookie]\nkeys = ['{KEY}', '{KEY}']\nrevocations = 'postgres://shop:hunter2@host/shop?password=hunter2'"
    );
    for (of, config) in three(&toml) {
        let shown = format!("{config:?} {config:#?} {:?}", config.clone());
        assert!(!shown.contains("hunter2") && !shown.contains("5ec2e7"), "{of}: {shown}");
        assert!(shown.contains("redis://host:1/") && shown.contains("cookie.keys: [2 of them]"), "{of}: {shown}");
    }
}

#[tokio::test]
async fn no_error_shows_a_secret() {
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = place.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let broken = write("broken", format!("{KEY}\nhunter2 hunter2\n").as_bytes());
    let raw = write("raw", &[0xff; 32]);
    let empty = write("empty", b"\n# none\n");
    let url = write("url", b"hunter2\n");
    let commented = write("commented", b"# the URL\nredis://:hunter2@host\n");
    let two = write("two", b"redis://:hunter2@host\nredis://:hunter2@host2\n");
    let quoted = write("quoted", b"'redis://:hunter2@host'\n");
    let exported = write("exported", b"export STORE=redis://:hunter2@host\n");
    for (toml, said) in [
        (
            "store = 'cookie:'\n[cookie]\nkeys = ['hunter2!']".to_owned(),
            "cookie.keys: key 1: expected at least 32 bytes",
        ),
        (format!("store = 'cookie:'\n[cookie]\nkeys = ['{KEY}', 'hunter2!']"), "cookie.keys: key 2: expected"),
        ("store = 'cookie:'\n[cookie]\nkeys = ['abcd']".to_owned(), "key of 2 bytes: expected at least 32"),
        (format!("store = 'cookie:'\n[cookie]\nkeys = ['{}']", "0".repeat(64)), "key of zeros only"),
        ("store = 'cookie:'\n[cookie]\nkeys = []".to_owned(), "no key: expected at least one"),
        (format!("store = 'cookie:'\n[cookie]\nkey_file = '{broken}'"), "key 2: expected at least 32 bytes in hex"),
        (
            format!("store = 'cookie:'\n[cookie]\nkey_file = '{raw}'"),
            "expected text in UTF-8, one key a line, in hex or base64",
        ),
        (
            format!("store = 'cookie:'\n[cookie]\nkey_file = '{empty}'"),
            "holds no key: expected at least 32 bytes in hex",
        ),
        (format!("store = 'cookie:'\n[cookie]\nkey_file = '{broken}x'"), "cannot be read: No such file"),
        (
            format!("store = 'cookie:'\n[cookie]\nkey_file = '{}'", "5ec2e7".repeat(11)),
            "cookie.key_file …: cannot be read",
        ),
        ("store_url_file = 'postgres://u:hunter2@h/db'".to_owned(), "store_url_file …: cannot be read in "),
        (format!("store_url_file = '{url}x'"), "store_url_file"),
        (format!("store_url_file = '{url}'"), ": has no scheme: expected SCHEME:PLACE"),
        (format!("store_url_file = '{commented}'"), "commented: expected one line, the URL of a store alone"),
        (format!("store_url_file = '{two}'"), "two: expected one line, the URL of a store alone"),
        (format!("store_url_file = '{quoted}'"), "quoted: begins with a quotation mark"),
        (format!("store_url_file = '{exported}'"), "exported: has no scheme: expected SCHEME:PLACE"),
        (format!("store_url_file = '{empty}'"), "empty: expected one line"),
        ("store = 'memory://hunter2'".to_owned(), "store \"memory:…\": expected \"memory:\" and nothing behind it"),
        ("store = 'redis:hunter2@host'".to_owned(), "store \"redis:…\": expected a URL"),
        ("store = './hunter2'".to_owned(), "store: has no scheme"),
        ("store = 'hunter2'".to_owned(), "store: has no scheme: expected SCHEME:PLACE"),
        ("store = 'mongodb://shop:hunter2@host'".to_owned(), "store \"mongodb:\": expected one of memory:"),
        ("store = 'redis://shop:hunter2@host:port'".to_owned(), ""),
        ("store = 'postgres://shop:hunter2@host:port/shop'".to_owned(), ""),
        ("store = 'mysql://shop:hunter2@127.0.0.1:1/shop'".to_owned(), "store \"mysql://127.0.0.1:1/shop\": "),
        ("store = 'cookie:'\n[cookie]\nkeys = 'x'\nrevocations = 'cookie:hunter2'".to_owned(), ""),
        (
            format!("store = 'cookie:'\n[cookie]\nkeys = '{KEY}'\nrevocations = 'cookie:'"),
            "revocations with a store whose token is the session itself",
        ),
    ] {
        let log = Log::capture();
        let error = toml_of(&toml).build().await.unwrap_err();
        let shown = format!("{error} {error:?} {}", log.text());
        assert!(error.to_string().contains(said), "{toml}: {error}");
        assert!(!shown.contains("hunter2") && !shown.contains("5ec2e7"), "{shown}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn no_parser_is_given_a_secret_to_quote() {
    for text in [
        "redis = 'redis://:hunter2@host'",
        "cookie = 'hunter2'",
        "cookie = ['hunter2']",
        "[cookie]\nkeys = { hunter2 = 'hunter2' }",
        "store = { url = 'hunter2' }",
        "store = ['hunter2']",
        "'redis://:x@host' = 1",
    ] {
        let error = toml::from_str::<SessionConfig>(text).unwrap_err();
        assert!(!error.message().contains("hunter2"), "{text}: {}", error.message());
    }
    for text in ["store = 471147114711", "[cookie]\nkeys = 471147114711", "[cookie]\nrevocations = 471147114711"] {
        let error = toml::from_str::<SessionConfig>(text).unwrap_err();
        assert!(!error.message().contains("4711"), "{text}: {}", error.message());
    }
    for (name, value) in [("STORES", "hunter2"), ("COOKIE_KEY", "hunter2"), ("REDIS_URL", "redis://:hunter2@host")] {
        let error = SessionConfig::from_vars(PREFIX, [(format!("{PREFIX}{name}"), value)]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}
