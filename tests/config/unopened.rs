//! What is refused is refused before a store is opened, and leaves nothing behind.

use tower_session_layer::ConfigError;

use super::{refused, three, toml_of};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

#[tokio::test]
async fn a_wrong_option_leaves_no_directory_behind() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("sessions");
    let file = format!("store = 'file:{}'", directory.display());
    let cookie = format!("[cookie]\nkeys = '{KEY}'\nrevocations = 'file:{}'", directory.display());
    for toml in [
        format!("{file}\ncookie_name = '__Host-x'\npath = '/shop'"),
        format!("{file}\nidle_timeout = '40d'"),
        format!("{file}\nstore_timeout = '0s'"),
        format!("{file}\nrenew_after = '1s'"),
        format!("{file}\ntoken_header = 'cookie'"),
        format!("{file}\ntoken_header = 'a'\ntoken_header_alone = 'b'"),
        format!("{file}\n[cached]\nmax_bytes = 1"),
        format!("{file}\n[cached]\nmax_staleness = '0s'"),
        format!("store = 'cookie:'\npath = 'shop'\n{cookie}"),
        format!("store = 'cookie:'\nsealed = true\n{cookie}"),
        format!("store = 'cookie:'\nrenew_after = '1h'\n{cookie}"),
        format!("store = 'cookie:'\nmax_sessions_per_owner = 1\n{cookie}"),
        format!("store = 'cookie:'\n{cookie}\nmax_chunks = 4"),
        format!("store = 'cookie:'\n{}", cookie.replace(KEY, "short")),
        format!("store = 'cookie:'\n{}", cookie.replace(KEY, &"0".repeat(64))),
    ] {
        for (of, config) in three(&toml) {
            let error = config.build().await.unwrap_err();
            assert!(!directory.exists(), "{of}: {toml}: {error}");
        }
    }
    // A store alone looks at what is around it.
    let error = toml_of(&format!("{file}\n[cached]\nmax_bytes = 1")).store().await.unwrap_err();
    assert!(matches!(error, ConfigError::Setting { .. }) && !directory.exists(), "{error}");
    #[cfg(all(feature = "file", unix))]
    {
        toml_of(&file).build().await.unwrap();
        assert!(directory.exists(), "nothing but the mistakes was in the way");
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_wrong_table_leaves_no_database_behind() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("shop.db");
    let error = refused(&format!("store = 'sqlite:{}'\n[sql]\ntable = 'a b'", file.display())).await;
    assert_eq!(error, ConfigError::TableName("a b".to_owned()));
    assert!(!file.exists());
}

/// What opens the store may set what others lack.
#[tokio::test]
async fn the_program_may_complete_the_options() {
    let config = toml_of("store = 'memory:'\ndomain = 'example.com'");
    assert!(matches!(config.build().await.unwrap_err(), ConfigError::HostPrefix { .. }));
    assert!(config.builder().await.unwrap().cookie_name("shop").build().is_ok());
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("sessions");
    let config = toml_of(&format!("store = 'file:{}'\nidle_timeout = '401d'", directory.display()));
    let config = config.override_with_vars("A_", [("A_ABSOLUTE_TIMEOUT", "400d")]).unwrap();
    assert!(matches!(config.builder().await.unwrap_err(), ConfigError::IdleTimeout(_)), "wrong by itself");
    let error = config.override_with_vars("A_", [("A_IDLE_TIMEOUT", "0s")]).unwrap().builder().await.unwrap_err();
    assert!(error.to_string().starts_with("A_IDLE_TIMEOUT: idle_timeout 0: expected more"), "{error}");
    assert!(!directory.exists());
}

#[cfg(all(feature = "cookie", unix))]
#[tokio::test]
async fn a_file_of_secrets_is_read_once_since_it_may_be_a_pipe() {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    for toml in ["store = 'cookie:'\n[cookie]\nkey_file = '{}'", "store_url_file = '{}'"] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(if toml.contains("key_file") { KEY.as_bytes() } else { b"memory:" }).unwrap();
        drop(writer);
        let toml = toml.replace("{}", &format!("/dev/fd/{}", reader.as_raw_fd()));
        assert!(toml_of(&toml).build().await.is_ok(), "{toml}");
        let error = refused(&toml).await.to_string();
        assert!(error.contains("is empty"), "now it has been read: {error}");
    }
}
