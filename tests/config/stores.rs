//! Each store by its line, and its settings.

use tower_session_layer::{ConfigError, CookieKey, CookieStore, SessionLayer};

use super::{browser, refused, three};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// A layer on the cookie store, without a configuration.
fn by_hand(keys: &[[u8; 32]], audience: &str) -> SessionLayer {
    let keys = keys.iter().map(|key| CookieKey::new(key).unwrap());
    SessionLayer::new(CookieStore::builder(keys).audience(audience).build().unwrap())
}

fn key() -> [u8; 32] {
    std::array::from_fn(|at| at.try_into().unwrap())
}

/// Whether what one layer has written another one reads.
async fn reads(writer: &SessionLayer, reader: &SessionLayer) -> bool {
    let mut one = browser(writer);
    one.get("/set").await;
    let mut other = browser(reader);
    other.cookies = one.cookies;
    other.get("/").await.body == "Ada"
}

#[tokio::test]
async fn sessions_are_kept_by_the_store_that_is_named() {
    for (store, debug) in [("memory:", "MemoryStore"), ("memory", "MemoryStore")] {
        for (of, config) in three(&format!("store = '{store}'")) {
            let layer = config.build().await.unwrap();
            assert!(format!("{layer:?}").contains(debug), "{of}: {layer:?}");
            assert!(reads(&layer, &layer).await, "{of}: {store}");
        }
    }
}

#[tokio::test]
async fn memory_has_its_bounds() {
    for (of, config) in three("store = 'memory:'\n[memory]\nmax_sessions = 1") {
        let layer = config.build().await.unwrap();
        let (mut first, mut second) = (browser(&layer), browser(&layer));
        first.get("/set").await;
        second.get("/set").await;
        let names = [first.get("/").await.body, second.get("/").await.body];
        assert_eq!(names.iter().filter(|name| *name == "Ada").count(), 1, "{of}: {names:?}");
    }
    for (of, config) in three("store = 'memory:'\n[memory]\nmax_bytes = '4KiB'") {
        let answer = browser(&config.build().await.unwrap()).get("/large").await;
        assert_eq!(answer.status, 413, "{of}");
    }
    assert_eq!(refused("store = 'memory:'\n[memory]\nmax_bytes = 0").await, ConfigError::ZeroBound("max_bytes"));
}

#[tokio::test]
async fn files_are_kept_in_the_directory() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("sessions");
    for (durability, shown) in [("process", "Process"), ("system", "System")] {
        let toml = format!("store = 'file:{}'\n[file]\ndurability = '{durability}'", directory.display());
        for (of, config) in three(&toml) {
            let layer = config.build().await.unwrap();
            assert!(format!("{layer:?}").contains(&format!("durability: {shown}")), "{of}: {layer:?}");
            assert!(reads(&layer, &config.build().await.unwrap()).await, "{of}");
        }
    }
    assert!(directory.is_dir());
    assert!(matches!(refused("store = 'file:/dev/null/x'").await, ConfigError::Directory { .. }));
}

#[tokio::test]
async fn cookies_are_sealed_by_the_key_in_any_form() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("keys");
    std::fs::write(&file, format!("# since May\n{KEY}\n\n{OTHER} # until May\n")).unwrap();
    let file = format!("key_file = '{}'", file.display());
    for keys in [
        &format!("keys = ['{KEY}']"),
        &format!("keys = '{}'", KEY.to_uppercase()),
        "keys = ['AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=']",
        "keys = ['AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8']",
        &format!("keys = ['{KEY}', '{OTHER}']"),
        &file,
    ] {
        for (of, config) in three(&format!("store = 'cookie:'\n[cookie]\n{keys}")) {
            let layer = config.build().await.unwrap();
            assert!(reads(&layer, &by_hand(&[key()], "")).await, "{of}: the first key seals: {keys}");
            assert!(reads(&by_hand(&[key()], ""), &layer).await, "{of}: {keys}");
            let has_both = keys == file || keys.contains(OTHER);
            assert_eq!(reads(&by_hand(&[[0x5a; 32]], ""), &layer).await, has_both, "{of}: all open: {keys}");
        }
    }
}

#[tokio::test]
async fn cookies_have_their_settings() {
    let with = |settings: &str| three(&format!("store = 'cookie:'\n[cookie]\nkeys = ['{KEY}']\n{settings}"));
    for (of, config) in with("audience = 'shop'") {
        let layer = config.build().await.unwrap();
        assert!(reads(&by_hand(&[key()], "shop"), &layer).await, "{of}");
        assert!(!reads(&by_hand(&[key()], ""), &layer).await, "{of}");
    }
    for (of, config) in with("max_chunks = 3") {
        let answer = browser(&config.build().await.unwrap()).get("/large").await;
        assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (200, 3), "{of}");
    }
    let ended = tempfile::tempdir().unwrap();
    let file = ended.path().join("url");
    std::fs::write(&file, "memory:\n").unwrap();
    for (list, ends) in [
        ("max_chunks = 1", false),
        ("revocations = 'memory:'", true),
        (&format!("revocations = 'file:{}'", ended.path().display()), true),
        (&format!("revocations_url_file = '{}'", file.display()), true),
    ] {
        for (of, config) in with(list) {
            let mut browser = browser(&config.build().await.unwrap());
            browser.get("/set").await;
            let copy = browser.cookies.clone();
            browser.get("/destroy").await;
            browser.cookies = copy;
            assert_eq!(browser.get("/").await.body.is_empty(), ends, "{of}: {list}");
        }
    }
}

#[tokio::test]
async fn a_store_is_named_in_a_file() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("url");
    std::fs::write(&file, "memory:\n").unwrap();
    for (of, config) in three(&format!("store_url_file = '{}'", file.display())) {
        let layer = config.build().await.unwrap();
        assert!(reads(&layer, &layer).await, "{of}");
    }
}

#[tokio::test]
async fn what_is_around_a_store_is_there() {
    for (toml, shown) in [
        ("", "ConfiguredStore(MemoryStore {"),
        ("sealed = false", "ConfiguredStore(MemoryStore {"),
        ("[cached]\nmax_staleness = 'off'\nmax_bytes = 1", "ConfiguredStore(MemoryStore {"),
        ("sealed = true", "ConfiguredStore(Sealed { store: ConfiguredStore(MemoryStore {"),
        (
            "[cached]\nmax_staleness = '2s'\nmax_bytes = '1MiB'",
            "ConfiguredStore(CachedStore { back: ConfiguredStore(MemoryStore {",
        ),
        (
            "sealed = true\n[cached]\nmax_staleness = '1s'",
            "ConfiguredStore(CachedStore { back: Sealed { store: ConfiguredStore(MemoryStore {",
        ),
    ] {
        for (of, config) in three(&format!("store = 'memory:'\n{toml}")) {
            let layer = config.build().await.unwrap();
            assert!(format!("{layer:?}").contains(shown), "{of}: {toml}: {layer:?}");
            assert!(reads(&layer, &layer).await, "{of}: {toml}");
            browser(&layer).get("/sign-in").await;
            assert_eq!(layer.owners().list("ada").await.unwrap().len(), 1, "{of}: {toml}");
        }
    }
    let client = format!("store = 'cookie:'\n{{}}\n[cookie]\nkeys = ['{KEY}']");
    assert_eq!(refused(&client.replace("{}", "sealed = true")).await, ConfigError::ClientSideStore("Sealed"));
    assert_eq!(
        refused(&client.replace("{}", "[cached]\nmax_staleness = '1s'")).await,
        ConfigError::ClientSideStore("CachedStore")
    );
    let zero = refused("store = 'memory:'\n[cached]\nmax_staleness = '0s'").await;
    assert_eq!(zero, ConfigError::ZeroBound("max_staleness"));
}

/// A configured store is a store like any other.
mod conformance {
    use std::task::{Context, Poll, Waker};

    use tower_session_layer::{ConfiguredStore, session_store_conformance};

    use super::KEY;

    /// Opens a store that nothing is waited for, within the suite's runtime.
    fn store(toml: &str) -> ConfiguredStore {
        let config = crate::toml_of(toml);
        let mut opening = std::pin::pin!(config.store());
        match opening.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(store) => store.unwrap(),
            Poll::Pending => panic!("{toml}"),
        }
    }

    mod plain {
        super::session_store_conformance!(super::store("store = 'memory:'"));
    }

    mod wrapped {
        super::session_store_conformance!(super::store(
            "store = 'memory:'\nsealed = true\n[cached]\nmax_staleness = '3s'"
        ));
    }

    mod client {
        super::session_store_conformance!(
            client_side: super::store(&format!("store = 'cookie:'\n[cookie]\nkeys = '{}'", super::KEY))
        );
    }
}

#[test]
fn what_opens_a_store_can_be_spawned() {
    fn is_send(_: impl Send + 'static) {}
    let config = crate::toml_of("store = 'memory:'");
    is_send(async move { config.build().await });
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn rows_are_kept_in_the_table() {
    let place = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/shop.db", place.path().display());
    let not_made = format!("store = '{url}'\n[sql]\ntable = 'shop_sessions'\nmigrate = false");
    for (of, config) in three(&not_made) {
        let answer = browser(&config.build().await.unwrap()).get("/set").await;
        assert_eq!(answer.status, 503, "{of}: there is no table");
    }
    for (of, config) in three(&not_made.replace("false", "true\nmax_connections = 1")) {
        let layer = config.build().await.unwrap();
        assert!(format!("{layer:?}").contains("table: \"shop_sessions\""), "{of}: {layer:?}");
        assert!(reads(&layer, &config.build().await.unwrap()).await, "{of}");
    }
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM shop_sessions").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 3);
    for (toml, expected) in [
        ("table = 'a b'", ConfigError::TableName("a b".to_owned())),
        ("max_connections = 0", ConfigError::ZeroBound("max_connections")),
    ] {
        assert_eq!(refused(&format!("store = '{url}'\n[sql]\n{toml}")).await, expected);
    }
}

/// Refused before anything is connected to, and so without a server.
#[cfg(feature = "redis")]
#[tokio::test]
async fn settings_of_redis_reach_its_builder() {
    let with = |settings: &str| format!("store = 'redis://127.0.0.1:1'\n[redis]\n{settings}");
    for (toml, expected) in [
        ("prefix = 'a b'", ConfigError::KeyPrefix("a b".to_owned())),
        ("connect_timeout = '0s'", ConfigError::ZeroBound("connect_timeout")),
        ("response_timeout = '0ms'", ConfigError::ZeroBound("response_timeout")),
    ] {
        for (of, config) in three(&with(toml)) {
            let error = match config.build().await.unwrap_err() {
                ConfigError::SetBy { by, error } if by.starts_with("SHOP_SESSION_REDIS_") => *error,
                error => error,
            };
            assert_eq!(error, expected, "{of}");
        }
    }
}
