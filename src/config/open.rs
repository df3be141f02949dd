//! From a configuration to the store that it names.

use std::io;
use std::path::{Path, PathBuf};

use super::SessionConfig;
use super::key_ring::{KeyRing, is_key};
use super::kind::OrOff;
use super::settings::Settings;
use super::store::ConfiguredStore;
use super::store_url::{StoreKind, StoreUrl};
use super::stores;
#[cfg(any(feature = "cookie", feature = "cached"))]
use super::stores::apply;
use crate::error::ConfigError;
use crate::key::CookieKey;
use crate::store::memory::MemoryStore;
use crate::store::sealed::Sealed;

/// A store that is not open yet. Everything that can be checked before is in order.
pub(super) struct Unopened<'a> {
    config: &'a SessionConfig,
    store: Planned,
}

enum Planned {
    OnServer(Located),
    /// With the list of revocations.
    #[cfg(feature = "cookie")]
    InCookie(crate::CookieStoreBuilder, Option<Located>),
}

/// A URL, and the key, variable or file that has set it.
struct Located {
    by: String,
    url: StoreUrl,
    kind: StoreKind,
}

impl<'a> Unopened<'a> {
    /// Reads the files that the configuration names, each once, since a file may be a pipe.
    pub(super) fn new(config: &'a SessionConfig) -> Result<Self, ConfigError> {
        let settings = &config.settings;
        let keys = ["store", "store_url_file"];
        let store = locate(config, keys, settings.store.as_ref(), settings.store_url_file.as_ref())?;
        let store = match store.ok_or(ConfigError::NoStore)? {
            store if matches!(store.kind, StoreKind::Cookie) => cookie(config, &store)?,
            store => Planned::OnServer(store),
        };
        Ok(Self { config, store })
    }

    pub(super) fn is_on_server(&self) -> bool {
        matches!(self.store, Planned::OnServer(_))
    }

    /// Returns a store for which nothing is opened. It refuses the same options as the store that is named.
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
            Planned::OnServer(store) => on_server(&self.config.settings, &store).await?,
            #[cfg(feature = "cookie")]
            Planned::InCookie(mut builder, list) => {
                if let Some(list) = list {
                    builder = builder.revocations(on_server(&self.config.settings, &list).await?);
                }
                ConfiguredStore::new(builder.build()?)
            }
        };
        wrapped(self.config, kept)
    }
}

fn wrapped(config: &SessionConfig, kept: ConfiguredStore) -> Result<ConfiguredStore, ConfigError> {
    let settings = &config.settings;
    if settings.cached_max_staleness.is_none() && settings.cached_max_bytes.is_some() {
        let reason = "expected cached.max_staleness beside it, which turns the cache on";
        return Err(setting(config.by("cached.max_bytes"), reason));
    }
    let is_sealed = settings.sealed == Some(true);
    match settings.cached_max_staleness.and_then(OrOff::on) {
        None if is_sealed => Ok(ConfiguredStore::new(Sealed::new(kept)?)),
        None => Ok(kept),
        #[cfg(feature = "cached")]
        Some(max_staleness) if is_sealed => cached(settings, max_staleness, Sealed::new(kept)?),
        #[cfg(feature = "cached")]
        Some(max_staleness) => cached(settings, max_staleness, kept),
        #[cfg(not(feature = "cached"))]
        Some(max_staleness) => {
            Err(ConfigError::FeatureOff { what: format!("cached.max_staleness {max_staleness:?}"), feature: "cached" })
        }
    }
}

#[cfg(feature = "cached")]
fn cached(
    settings: &Settings,
    max_staleness: std::time::Duration,
    store: impl crate::SessionStore + Clone,
) -> Result<ConfiguredStore, ConfigError> {
    let builder = crate::CachedStore::builder(store).max_staleness(max_staleness);
    apply!(builder; max_bytes: settings.cached_max_bytes).build().map(ConfiguredStore::new)
}

#[cfg(feature = "cookie")]
fn cookie(config: &SessionConfig, _: &Located) -> Result<Planned, ConfigError> {
    let settings = &config.settings;
    let builder = apply!(
        crate::CookieStore::builder(keys(config)?);
        audience: settings.cookie_audience.as_deref(),
        max_chunks: settings.cookie_max_chunks
    );
    let places = ["cookie.revocations", "cookie.revocations_url_file"];
    let (url, file) = (settings.cookie_revocations.as_ref(), settings.cookie_revocations_url_file.as_ref());
    Ok(Planned::InCookie(builder, locate(config, places, url, file)?))
}

/// Returns the keys for `renew_after`, which are those of the cookie store. Without any, the builder refuses the option.
pub(super) fn renewal_keys(config: &SessionConfig) -> Result<Vec<CookieKey>, ConfigError> {
    let settings = &config.settings;
    let is_needed = settings.renew_after.and_then(OrOff::on).is_some();
    let is_set = settings.cookie_keys.is_some() || settings.cookie_key_file.is_some();
    if is_needed && is_set { keys(config) } else { Ok(Vec::new()) }
}

/// Returns the keys that are set.
fn keys(config: &SessionConfig) -> Result<Vec<CookieKey>, ConfigError> {
    const FORM: &str = "expected at least 32 bytes in hex or base64, as `openssl rand -hex 32` makes them";
    let (by, ring) = match (&config.settings.cookie_keys, &config.settings.cookie_key_file) {
        (Some(_), Some(_)) => return Err(both(config, "cookie.keys", "cookie.key_file")),
        (Some(keys), None) => (config.by("cookie.keys").to_owned(), keys.clone()),
        (None, Some(path)) => {
            let (by, text) = read(config.by("cookie.key_file"), path, "one key a line, in hex or base64")?;
            let ring = KeyRing::of_file(&text);
            if ring.is_empty() {
                return Err(setting(&by, format!("holds no key: {FORM}")));
            }
            (by, ring)
        }
        (None, None) => {
            // If a variable has set the store, variables should set the keys too.
            let prefix = config.variables.get("store").and_then(|name| name.strip_suffix("STORE"));
            let [keys, file] = ["cookie.keys", "cookie.key_file"].map(|key| match prefix {
                Some(prefix) => super::settings::variable(prefix, key),
                None => key.to_owned(),
            });
            return Err(setting(&keys, format!("the cookie store needs a key: set `{keys}` or `{file}`")));
        }
    };
    let decoded = ring.decode().map_err(|at| setting(&by, format!("key {at}: {FORM}")))?;
    decoded.iter().map(|bytes| CookieKey::new(bytes).map_err(|error| set_by(&by, error))).collect()
}

#[cfg(not(feature = "cookie"))]
fn cookie(_: &SessionConfig, store: &Located) -> Result<Planned, ConfigError> {
    Err(set_by(&store.by, stores::off(&store.url, "cookie")))
}

/// Opens a server-side store.
async fn on_server(settings: &Settings, Located { by, url, kind }: &Located) -> Result<ConfiguredStore, ConfigError> {
    let opened = match kind {
        StoreKind::Cookie => Err(ConfigError::ClientSideStore("revocations")),
        StoreKind::Memory => stores::memory(settings),
        StoreKind::File(directory) => stores::file(settings, url, directory),
        StoreKind::Redis => stores::redis(settings, url).await,
        StoreKind::Postgres => stores::postgres(settings, url).await,
        StoreKind::MySql => stores::mysql(settings, url).await,
        StoreKind::Sqlite => stores::sqlite(settings, url).await,
    };
    // An error about options is about settings of that store, not about its URL.
    opened.map_err(|error| if error.options().is_empty() { set_by(by, error) } else { error })
}

/// Returns the URL that a key or the file of another key holds, if one of the two is set.
fn locate(
    config: &SessionConfig,
    [key, file_key]: [&str; 2],
    url: Option<&StoreUrl>,
    file: Option<&PathBuf>,
) -> Result<Option<Located>, ConfigError> {
    const LINE: &str = "one line, the URL of a store alone";
    let (by, url) = match (url, file) {
        (Some(_), Some(_)) => return Err(both(config, key, file_key)),
        (Some(url), None) => (config.by(key).to_owned(), url.clone()),
        (None, Some(path)) => {
            let (by, text) = read(config.by(file_key), path, LINE)?;
            if text.starts_with('#') || text.lines().count() > 1 {
                return Err(setting(&by, format!("expected {LINE}, without comments or further lines")));
            }
            (by, StoreUrl::new(&text))
        }
        (None, None) => return Ok(None),
    };
    let kind = url.kind(&by).map_err(|error| set_by(&by, error))?;
    Ok(Some(Located { by, url, kind }))
}

/// Returns the name of a file for errors, and its text without blanks around it.
fn read(by: &str, path: &Path, what: &str) -> Result<(String, String), ConfigError> {
    // The secret itself may stand where the file that holds it was asked for.
    let shown = path.to_string_lossy();
    let is_secret = shown.contains("://") || (!shown.starts_with(['/', '.']) && is_key(&shown));
    let name = format!("{by} {}", if is_secret { "…" } else { &shown });
    let text = std::fs::read_to_string(path).map_err(|error| {
        if error.kind() == io::ErrorKind::InvalidData {
            return setting(&name, format!("expected text in UTF-8, {what}"));
        }
        // A path that begins with `~` is relative, since nothing replaces the `~`.
        let directory = std::env::current_dir().ok().filter(|_| path.is_relative());
        let place = directory.map_or(String::new(), |directory| format!(" in {}", directory.display()));
        setting(&name, format!("cannot be read{place}: {error}"))
    })?;
    // Some editors begin with a byte order mark.
    match text.trim_start_matches('\u{feff}').trim() {
        "" => Err(setting(&name, format!("is empty: expected {what}"))),
        text => Ok((name, text.to_owned())),
    }
}

pub(super) fn both(config: &SessionConfig, one: &str, other: &str) -> ConfigError {
    setting(config.by(one), format!("expected this or {}, not both", config.by(other)))
}

/// Names the key, variable or file that an error is about, unless the error names it already.
fn set_by(by: &str, error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Setting { .. } => error,
        _ if by == "store" => error,
        _ => ConfigError::SetBy { by: by.to_owned(), error: Box::new(error) },
    }
}

fn setting(name: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Setting { name: name.to_owned(), reason: reason.into() }
}
