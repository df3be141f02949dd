//! The chosen store, and the layer on it.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use tower_session_layer::{ConfigError, CookieKey, CookieStore, MemoryStore, SessionLayer, SessionStore, StoreError};

use crate::keys;
use crate::options::{Engine, Options, Place, StoreChoice};

/// The time that an engine has to become ready; longer than the stores' own timeouts for a silent server.
const PATIENCE: Duration = Duration::from_secs(8);

/// Builds the layer. An error is one line of text.
pub(crate) async fn layer(options: &Options) -> Result<SessionLayer, String> {
    if options.key_file.is_some() && options.store != StoreChoice::Cookie {
        crate::warnings::add("--key-file is for the cookie store only".into());
    }
    match &options.store {
        StoreChoice::Cookie => build(cookie_store(options.key_file.as_deref())?, options),
        StoreChoice::Memory => build(MemoryStore::new(), options),
        #[cfg(unix)]
        StoreChoice::File(directory) => {
            build(tower_session_layer::FileStore::new(directory).map_err(|error| as_typed(&error))?, options)
        }
        #[cfg(not(unix))]
        StoreChoice::File(_) => Err("--store file: is for Unix only".to_owned()),
        StoreChoice::Engine(engine, place) => match timeout(PATIENCE, on(*engine, place, options)).await {
            Ok(Ok(layer)) => layer,
            Ok(Err(error)) => Err(match error.get_ref() {
                Some(reason) => format!("--store {place}: {reason}"),
                None => format!("--store {place}: {error}"),
            }),
            Err(_) => Err(format!("--store {place}: was not ready within {PATIENCE:?}")),
        },
    }
}

/// Connects to the engine, and makes the table if sessions are rows.
#[cfg_attr(
    not(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite")),
    expect(unused_variables, reason = "without any engine there is no layer to build")
)]
#[allow(clippy::unused_async, reason = "only some engines are waited for")]
async fn on(engine: Engine, place: &Place, options: &Options) -> Result<Result<SessionLayer, String>, StoreError> {
    Ok(match engine {
        #[cfg(feature = "redis")]
        Engine::Redis => build(tower_session_layer::RedisStore::new(place.url()).await?, options),
        #[cfg(not(feature = "redis"))]
        Engine::Redis => missing(place, "redis"),
        #[cfg(feature = "postgres")]
        Engine::Postgres => {
            let store = tower_session_layer::PostgresStore::connect(place.url()).await?;
            store.migrate().await?;
            build(store, options)
        }
        #[cfg(not(feature = "postgres"))]
        Engine::Postgres => missing(place, "postgres"),
        #[cfg(feature = "mysql")]
        Engine::MySql => {
            let store = tower_session_layer::MySqlStore::connect(place.url()).await?;
            store.migrate().await?;
            build(store, options)
        }
        #[cfg(not(feature = "mysql"))]
        Engine::MySql => missing(place, "mysql"),
        #[cfg(feature = "sqlite")]
        Engine::Sqlite => {
            let store = tower_session_layer::SqliteStore::connect(place.url()).await?;
            store.migrate().await?;
            build(store, options)
        }
        #[cfg(not(feature = "sqlite"))]
        Engine::Sqlite => missing(place, "sqlite"),
    })
}

#[cfg(not(all(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite")))]
fn missing(place: &Place, feature: &str) -> Result<SessionLayer, String> {
    Err(format!("--store {place}: not in this build: `cargo run --example storefront --features {feature}`"))
}

fn cookie_store(key_file: Option<&Path>) -> Result<CookieStore, String> {
    let keys = if let Some(path) = key_file {
        keys::from_file(path)?
    } else {
        crate::warnings::add("no --key-file, so the sessions end with this process".into());
        vec![CookieKey::generate().map_err(|error| error.to_string())?]
    };
    CookieStore::builder(keys).build().map_err(|error| error.to_string())
}

fn build(store: impl SessionStore, options: &Options) -> Result<SessionLayer, String> {
    let mut builder = SessionLayer::builder(store);
    if let Some(absolute) = options.absolute {
        builder = builder.absolute_timeout(absolute);
    }
    if let Some(idle) = options.idle {
        builder = builder.idle_timeout(idle);
    }
    if options.insecure_cookies {
        builder = builder.insecure_http();
    }
    builder.build().map_err(|error| as_typed(&error))
}

/// Makes a message with the options of the command line, not those of the builders.
fn as_typed(error: &ConfigError) -> String {
    match error {
        ConfigError::IdleOverAbsolute { idle, absolute } => {
            let (idle, absolute) = (idle.as_secs(), absolute.as_secs());
            format!("--idle {idle}: expected at most the absolute timeout, --absolute {absolute}")
        }
        ConfigError::Directory { path, reason } => {
            format!("--store file:{}: expected a directory that can be written: {reason}", path.display())
        }
        other => other.to_string(),
    }
}

#[cfg(all(test, not(all(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite"))))]
mod tests {
    use crate::options::{Command, parse};

    #[tokio::test]
    async fn store_that_is_not_built_in_names_its_feature() {
        for (url, feature, is_built) in [
            ("redis://:secret@host", "redis", cfg!(feature = "redis")),
            ("redis+cluster://:secret@a:1,b:2", "redis", cfg!(feature = "redis")),
            ("postgres://shop:secret@host/shop", "postgres", cfg!(feature = "postgres")),
            ("mariadb://shop:secret@host/shop", "mysql", cfg!(feature = "mysql")),
            ("sqlite:shop.db", "sqlite", cfg!(feature = "sqlite")),
        ] {
            if is_built {
                continue;
            }
            let Ok(Command::Serve(options)) = parse(["--store", url].map(Into::into)) else { panic!("{url}") };
            let error = super::layer(&options).await.unwrap_err();
            assert!(error.ends_with(&format!("--features {feature}`")), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
