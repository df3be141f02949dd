//! From a configuration to the store that it names.

use std::io;
use std::path::{Path, PathBuf};

use super::SessionConfig;
#[cfg(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite"))]
use super::engines;
use super::place::{Kind, Place};
use super::setting::OrOff;
use super::store::{ConfiguredStore, Kept, Wrapped};
use crate::error::ConfigError;
use crate::store::memory::MemoryStore;
use crate::store::sealed::Sealed;

pub(super) async fn open(config: &SessionConfig) -> Result<ConfiguredStore, ConfigError> {
    let file = ("store_url_file", config.store_url_file.as_ref());
    let place = place(("store", config.store.as_ref()), file)?;
    let place = place.ok_or(ConfigError::NoStore)?;
    let kept = match place.kind()? {
        Kind::Cookie => cookie(config, &place).await?,
        kind => on_server(config, &place, kind).await?,
    };
    wrapped(config, kept).map(ConfiguredStore)
}

fn wrapped(config: &SessionConfig, kept: Kept) -> Result<Wrapped, ConfigError> {
    let is_sealed = config.sealed == Some(true);
    let Some(max_staleness) = config.cached.max_staleness.and_then(OrOff::on) else {
        if config.cached.max_staleness.is_none() && config.cached.max_bytes.is_some() {
            return Err(setting(
                "cached.max_bytes",
                "expected cached.max_staleness beside it, which turns the cache on",
            ));
        }
        return Ok(if is_sealed { Wrapped::Sealed(Sealed::new(kept)?) } else { Wrapped::Plain(kept) });
    };
    #[cfg(feature = "cached")]
    return Ok(if is_sealed {
        Wrapped::CachedSealed(cached(config, max_staleness, Sealed::new(kept)?)?)
    } else {
        Wrapped::Cached(cached(config, max_staleness, kept)?)
    });
    #[cfg(not(feature = "cached"))]
    Err(ConfigError::FeatureOff { what: format!("cached.max_staleness {max_staleness:?}"), feature: "cached" })
}

#[cfg(feature = "cached")]
fn cached<S: crate::SessionStore>(
    config: &SessionConfig,
    max_staleness: std::time::Duration,
    store: S,
) -> Result<crate::CachedStore<S>, ConfigError> {
    let mut builder = crate::CachedStore::builder(store).max_staleness(max_staleness);
    if let Some(max_bytes) = config.cached.max_bytes {
        builder = builder.max_bytes(max_bytes.0);
    }
    builder.build()
}

#[cfg(feature = "cookie")]
async fn cookie(config: &SessionConfig, _: &Place) -> Result<Kept, ConfigError> {
    let settings = &config.cookie;
    let mut builder = crate::CookieStore::builder(keys(settings)?);
    if let Some(audience) = &settings.audience {
        builder = builder.audience(audience);
    }
    if let Some(max_chunks) = settings.max_chunks {
        builder = builder.max_chunks(max_chunks);
    }
    let file = ("cookie.revocations_url_file", settings.revocations_url_file.as_ref());
    if let Some(list) = place(("cookie.revocations", settings.revocations.as_ref()), file)? {
        builder = builder.revocations(on_server(config, &list, list.kind()?).await?);
    }
    builder.build().map(Kept::Cookie)
}

#[cfg(feature = "cookie")]
fn keys(settings: &super::CookieSettings) -> Result<Vec<crate::CookieKey>, ConfigError> {
    const FORM: &str = "expected at least 32 bytes in hex or base64, as `openssl rand -hex 32` makes them";
    let (name, ring) = match (&settings.keys, &settings.key_file) {
        (Some(_), Some(_)) => return Err(both("cookie.keys", "cookie.key_file")),
        (Some(keys), None) => ("cookie.keys".to_owned(), keys.clone()),
        (None, Some(path)) => {
            let ring =
                super::secret::Keys::of_file(&read("cookie.key_file", path, "one key a line, in hex or base64")?);
            let name = format!("cookie.key_file {}", path.display());
            if ring.is_empty() {
                return Err(setting(&name, &format!("holds no key: {FORM}")));
            }
            (name, ring)
        }
        (None, None) => {
            return Err(setting("cookie.keys", "expected it or cookie.key_file: the cookie store needs a key"));
        }
    };
    let decoded = ring.decode().map_err(|at| setting(&name, &format!("key {at}: {FORM}")))?;
    decoded.iter().map(|bytes| crate::CookieKey::new(bytes)).collect()
}

#[cfg(not(feature = "cookie"))]
#[allow(clippy::unused_async, reason = "with the feature it is")]
async fn cookie(_: &SessionConfig, place: &Place) -> Result<Kept, ConfigError> {
    Err(off(place, "cookie"))
}

/// Opens any store but that of the client.
#[allow(clippy::unused_async, reason = "only engines are waited for")]
async fn on_server(config: &SessionConfig, place: &Place, kind: Kind) -> Result<Kept, ConfigError> {
    match kind {
        Kind::Cookie => Err(ConfigError::ClientSideStore("revocations")),
        Kind::Memory => memory(config),
        Kind::File(directory) => file(config, place, &directory),
        #[cfg(feature = "redis")]
        Kind::Redis => engines::patiently(place, engines::redis(config, place)).await,
        #[cfg(not(feature = "redis"))]
        Kind::Redis => Err(off(place, "redis")),
        #[cfg(feature = "postgres")]
        Kind::Postgres => engines::patiently(place, engines::postgres(config, place)).await,
        #[cfg(not(feature = "postgres"))]
        Kind::Postgres => Err(off(place, "postgres")),
        #[cfg(feature = "mysql")]
        Kind::MySql => engines::patiently(place, engines::mysql(config, place)).await,
        #[cfg(not(feature = "mysql"))]
        Kind::MySql => Err(off(place, "mysql")),
        #[cfg(feature = "sqlite")]
        Kind::Sqlite => engines::patiently(place, engines::sqlite(config, place)).await,
        #[cfg(not(feature = "sqlite"))]
        Kind::Sqlite => Err(off(place, "sqlite")),
    }
}

fn memory(config: &SessionConfig) -> Result<Kept, ConfigError> {
    let mut builder = MemoryStore::builder();
    if let Some(max_sessions) = config.memory.max_sessions {
        builder = builder.max_sessions(max_sessions);
    }
    if let Some(max_bytes) = config.memory.max_bytes {
        builder = builder.max_bytes(max_bytes.bytes());
    }
    builder.build().map(Kept::Memory)
}

#[cfg(all(feature = "file", unix))]
fn file(config: &SessionConfig, _: &Place, directory: &Path) -> Result<Kept, ConfigError> {
    let mut builder = crate::FileStore::builder(directory);
    if let Some(durability) = config.file.durability {
        use super::setting::Outlives;
        builder = builder.durability(match durability {
            Outlives::Process => crate::Durability::Process,
            Outlives::System => crate::Durability::System,
        });
    }
    builder.build().map(Kept::File)
}

#[cfg(not(all(feature = "file", unix)))]
fn file(_: &SessionConfig, place: &Place, _: &Path) -> Result<Kept, ConfigError> {
    if cfg!(not(unix)) {
        return Err(ConfigError::Unreachable {
            store: place.to_string(),
            reason: "files are for Unix only".to_owned(),
        });
    }
    Err(off(place, "file"))
}

/// A place, given as it is or as a file that holds it.
fn place(
    (name, place): (&str, Option<&Place>),
    (file_name, file): (&str, Option<&PathBuf>),
) -> Result<Option<Place>, ConfigError> {
    match (place, file) {
        (Some(_), Some(_)) => Err(both(name, file_name)),
        (Some(place), None) => Ok(Some(place.clone())),
        (None, Some(path)) => Ok(Some(Place::new(&read(file_name, path, "one line, the URL of a store")?))),
        (None, None) => Ok(None),
    }
}

fn read(name: &str, path: &Path, what: &str) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| {
        // Perhaps the secret itself, where the file that holds it was asked for.
        let shown = path.to_string_lossy();
        let is_secret = shown.contains("://") || (!shown.starts_with(['/', '.']) && super::secret::is_key(&shown));
        let name = format!("{name} {}", if is_secret { "…" } else { &shown });
        match error.kind() {
            io::ErrorKind::InvalidData => setting(&name, &format!("expected text, {what}")),
            _ => setting(&name, &format!("cannot be read: {error}")),
        }
    })
}

pub(super) fn both(one: &str, other: &str) -> ConfigError {
    setting(one, &format!("expected this or {other}, not both"))
}

fn setting(name: &str, reason: &str) -> ConfigError {
    ConfigError::Setting { name: name.to_owned(), reason: reason.to_owned() }
}

#[allow(dead_code, reason = "with all features nothing is off")]
fn off(place: &Place, feature: &'static str) -> ConfigError {
    ConfigError::FeatureOff { what: format!("store {place:?}"), feature }
}
