//! From a configuration to the store that it names.

use std::io;
use std::path::{Path, PathBuf};

use super::SessionConfig;
#[cfg(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite"))]
use super::engines;
use super::place::{Kind, Place};
use super::setting::OrOff;
use super::store::ConfiguredStore;
#[cfg(feature = "cookie")]
use super::vars::variable;
use crate::error::ConfigError;
use crate::store::memory::MemoryStore;
use crate::store::sealed::Sealed;

/// A store that is yet to be opened, with everything in order that can be told before.
pub(super) struct Unopened<'a> {
    config: &'a SessionConfig,
    store: Planned,
}

enum Planned {
    OnServer(Found),
    /// With the list of revocations.
    #[cfg(feature = "cookie")]
    InCookie(crate::CookieStoreBuilder, Option<Found>),
}

/// A place, and by what it was set: a key, a variable, a file.
struct Found {
    by: String,
    place: Place,
    kind: Kind,
}

impl<'a> Unopened<'a> {
    /// Reads the files that the configuration names, each once: they may be pipes.
    pub(super) fn new(config: &'a SessionConfig) -> Result<Self, ConfigError> {
        let file = config.store_url_file.as_ref();
        let store = found(config, ["store", "store_url_file"], config.store.as_ref(), file)?;
        let store = match store.ok_or(ConfigError::NoStore)? {
            store if matches!(store.kind, Kind::Cookie) => cookie(config, &store)?,
            store => Planned::OnServer(store),
        };
        Ok(Self { config, store })
    }

    /// A store for which nothing is opened, and around which the same is refused as around this one.
    pub(super) fn stand_in(&self) -> Result<ConfiguredStore, ConfigError> {
        let kept = match &self.store {
            Planned::OnServer(_) => ConfiguredStore::new(MemoryStore::new()),
            #[cfg(feature = "cookie")]
            Planned::InCookie(builder, _) => ConfiguredStore::new(builder.clone().build()?),
        };
        wrapped(self.config, kept)
    }

    pub(super) async fn open(self) -> Result<ConfiguredStore, ConfigError> {
        let kept = match self.store {
            Planned::OnServer(store) => on_server(self.config, &store).await?,
            #[cfg(feature = "cookie")]
            Planned::InCookie(builder, None) => ConfiguredStore::new(builder.build()?),
            #[cfg(feature = "cookie")]
            Planned::InCookie(builder, Some(list)) => {
                ConfiguredStore::new(builder.revocations(on_server(self.config, &list).await?).build()?)
            }
        };
        wrapped(self.config, kept)
    }
}

fn wrapped(config: &SessionConfig, kept: ConfiguredStore) -> Result<ConfiguredStore, ConfigError> {
    let is_sealed = config.sealed == Some(true);
    let Some(max_staleness) = config.cached.max_staleness.and_then(OrOff::on) else {
        if config.cached.max_staleness.is_none() && config.cached.max_bytes.is_some() {
            return Err(setting(
                config.by("cached.max_bytes"),
                "expected cached.max_staleness beside it, which turns the cache on",
            ));
        }
        return Ok(if is_sealed { ConfiguredStore::new(Sealed::new(kept)?) } else { kept });
    };
    #[cfg(feature = "cached")]
    return if is_sealed {
        cached(config, max_staleness, Sealed::new(kept)?)
    } else {
        cached(config, max_staleness, kept)
    };
    #[cfg(not(feature = "cached"))]
    Err(ConfigError::FeatureOff { what: format!("cached.max_staleness {max_staleness:?}"), feature: "cached" })
}

#[cfg(feature = "cached")]
fn cached(
    config: &SessionConfig,
    max_staleness: std::time::Duration,
    store: impl crate::SessionStore + Clone,
) -> Result<ConfiguredStore, ConfigError> {
    let mut builder = crate::CachedStore::builder(store).max_staleness(max_staleness);
    if let Some(max_bytes) = config.cached.max_bytes {
        builder = builder.max_bytes(max_bytes.0);
    }
    builder.build().map(ConfiguredStore::new)
}

#[cfg(feature = "cookie")]
fn cookie(config: &SessionConfig, _: &Found) -> Result<Planned, ConfigError> {
    let settings = &config.cookie;
    let mut builder = crate::CookieStore::builder(keys(config)?);
    if let Some(audience) = &settings.audience {
        builder = builder.audience(audience);
    }
    if let Some(max_chunks) = settings.max_chunks {
        builder = builder.max_chunks(max_chunks);
    }
    let keys = ["cookie.revocations", "cookie.revocations_url_file"];
    let list = found(config, keys, settings.revocations.as_ref(), settings.revocations_url_file.as_ref())?;
    Ok(Planned::InCookie(builder, list))
}

#[cfg(feature = "cookie")]
fn keys(config: &SessionConfig) -> Result<Vec<crate::CookieKey>, ConfigError> {
    const FORM: &str = "expected at least 32 bytes in hex or base64, as `openssl rand -hex 32` makes them";
    let (by, ring) = match (&config.cookie.keys, &config.cookie.key_file) {
        (Some(_), Some(_)) => return Err(both(config, "cookie.keys", "cookie.key_file")),
        (Some(keys), None) => (config.by("cookie.keys").to_owned(), keys.clone()),
        (None, Some(path)) => {
            let (by, text) = read(config.by("cookie.key_file"), path, "one key a line, in hex or base64")?;
            let ring = super::secret::Keys::of_file(&text);
            if ring.is_empty() {
                return Err(setting(&by, &format!("holds no key: {FORM}")));
            }
            (by, ring)
        }
        (None, None) => {
            // Where the store comes from the environment, the keys should too.
            let prefix = config.variables.get("store").and_then(|name| name.strip_suffix("STORE"));
            let [keys, file] = ["cookie.keys", "cookie.key_file"].map(|key| match prefix {
                Some(prefix) => variable(prefix, key),
                None => key.to_owned(),
            });
            return Err(setting(&keys, &format!("expected it or {file}: the cookie store needs a key")));
        }
    };
    let decoded = ring.decode().map_err(|at| setting(&by, &format!("key {at}: {FORM}")))?;
    decoded.iter().map(|bytes| crate::CookieKey::new(bytes).map_err(|error| set_by(&by, error))).collect()
}

#[cfg(not(feature = "cookie"))]
fn cookie(_: &SessionConfig, store: &Found) -> Result<Planned, ConfigError> {
    Err(set_by(&store.by, off(&store.place, "cookie")))
}

/// Opens any store but that of the client.
async fn on_server(config: &SessionConfig, store: &Found) -> Result<ConfiguredStore, ConfigError> {
    // What else it may be is a setting of that store.
    let of_place = |error: ConfigError| if error.options().is_empty() { set_by(&store.by, error) } else { error };
    at(config, &store.place, &store.kind).await.map_err(of_place)
}

#[allow(clippy::unused_async, reason = "only engines are waited for")]
async fn at(config: &SessionConfig, place: &Place, kind: &Kind) -> Result<ConfiguredStore, ConfigError> {
    match kind {
        Kind::Cookie => Err(ConfigError::ClientSideStore("revocations")),
        Kind::Memory => memory(config),
        Kind::File(directory) => file(config, place, directory),
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

fn memory(config: &SessionConfig) -> Result<ConfiguredStore, ConfigError> {
    let mut builder = MemoryStore::builder();
    if let Some(max_sessions) = config.memory.max_sessions {
        builder = builder.max_sessions(max_sessions);
    }
    if let Some(max_bytes) = config.memory.max_bytes {
        builder = builder.max_bytes(max_bytes.bytes());
    }
    builder.build().map(ConfiguredStore::new)
}

#[cfg(all(feature = "file", unix))]
fn file(config: &SessionConfig, _: &Place, directory: &Path) -> Result<ConfiguredStore, ConfigError> {
    let mut builder = crate::FileStore::builder(directory);
    if let Some(durability) = config.file.durability {
        use super::setting::Outlives;
        builder = builder.durability(match durability {
            Outlives::Process => crate::Durability::Process,
            Outlives::System => crate::Durability::System,
        });
    }
    builder.build().map(ConfiguredStore::new)
}

#[cfg(not(all(feature = "file", unix)))]
fn file(_: &SessionConfig, place: &Place, _: &Path) -> Result<ConfiguredStore, ConfigError> {
    if cfg!(not(unix)) {
        return Err(ConfigError::Unreachable {
            store: place.to_string(),
            reason: "files are for Unix only".to_owned(),
        });
    }
    Err(off(place, "file"))
}

/// A place, given as it is or as a file that holds it.
fn found(
    config: &SessionConfig,
    [key, file_key]: [&str; 2],
    place: Option<&Place>,
    file: Option<&PathBuf>,
) -> Result<Option<Found>, ConfigError> {
    const LINE: &str = "one line, the URL of a store alone";
    let (by, place) = match (place, file) {
        (Some(_), Some(_)) => return Err(both(config, key, file_key)),
        (Some(place), None) => (config.by(key).to_owned(), place.clone()),
        (None, Some(path)) => {
            let (by, text) = read(config.by(file_key), path, LINE)?;
            if text.starts_with('#') || text.lines().count() > 1 {
                return Err(setting(&by, &format!("expected {LINE}, without comments or further lines")));
            }
            (by, Place::new(&text))
        }
        (None, None) => return Ok(None),
    };
    let kind = place.kind(&by).map_err(|error| set_by(&by, error))?;
    Ok(Some(Found { by, place, kind }))
}

/// The text of a file, without blanks around it, and how errors name it.
fn read(by: &str, path: &Path, what: &str) -> Result<(String, String), ConfigError> {
    // Perhaps the secret itself, where the file that holds it was asked for.
    let shown = path.to_string_lossy();
    let is_secret = shown.contains("://") || (!shown.starts_with(['/', '.']) && super::secret::is_key(&shown));
    let name = format!("{by} {}", if is_secret { "…" } else { &shown });
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => setting(&name, &format!("expected text in UTF-8, {what}")),
        _ if path.is_relative() => setting(&name, &format!("cannot be read{}: {error}", here())),
        _ => setting(&name, &format!("cannot be read: {error}")),
    })?;
    // Some editors begin with a byte order mark.
    match text.trim_start_matches('\u{feff}').trim() {
        "" => Err(setting(&name, &format!("is empty: expected {what}"))),
        text => Ok((name, text.to_owned())),
    }
}

/// Where relative paths begin, and those with a `~`, which nothing replaces.
fn here() -> String {
    std::env::current_dir().map_or(String::new(), |directory| format!(" in {}", directory.display()))
}

pub(super) fn both(config: &SessionConfig, one: &str, other: &str) -> ConfigError {
    setting(config.by(one), &format!("expected this or {}, not both", config.by(other)))
}

/// Says what has set it, where that is not said.
fn set_by(by: &str, error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Setting { .. } => error,
        _ if by == "store" => error,
        _ => ConfigError::SetBy { by: by.to_owned(), error: Box::new(error) },
    }
}

fn setting(name: &str, reason: &str) -> ConfigError {
    ConfigError::Setting { name: name.to_owned(), reason: reason.to_owned() }
}

#[allow(dead_code, reason = "with all features nothing is off")]
fn off(place: &Place, feature: &'static str) -> ConfigError {
    ConfigError::FeatureOff { what: format!("store {place:?}"), feature }
}
