//! The store that was asked for, and the layer around it.

use std::path::Path;

use tower_session_layer::{ConfigError, CookieKey, CookieStore, MemoryStore, SessionLayer, SessionStore};

use crate::keys;
use crate::options::{Options, StoreChoice};

/// Builds the layer. An error is one line.
pub(crate) fn layer(options: &Options) -> Result<SessionLayer, String> {
    if options.key_file.is_some() && options.store != StoreChoice::Cookie {
        crate::warnings::add("--key-file is for the cookie store only".into());
    }
    match &options.store {
        StoreChoice::Cookie => build(cookie_store(options.key_file.as_deref())?, options),
        StoreChoice::Memory => build(MemoryStore::new(), options),
        #[cfg(unix)]
        StoreChoice::File(directory) => build(
            tower_session_layer::FileStore::new(directory).map_err(|error| format!("--store file: {error}"))?,
            options,
        ),
        #[cfg(not(unix))]
        StoreChoice::File(_) => Err("--store file: is for Unix only".to_owned()),
    }
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
    builder.build().map_err(|error| explain(&error))
}

/// Says it in the words of the command line.
fn explain(error: &ConfigError) -> String {
    const DAYS: &str = "expected 1 to 34560000 seconds, which is 400 days";
    match error {
        ConfigError::IdleTimeout(is) => format!("--idle {}: {DAYS}", is.as_secs()),
        ConfigError::AbsoluteTimeout(is) => format!("--absolute {}: {DAYS}", is.as_secs()),
        ConfigError::IdleOverAbsolute { idle, absolute } => {
            let (idle, absolute) = (idle.as_secs(), absolute.as_secs());
            format!("--idle {idle}: expected at most --absolute, which is {absolute} seconds")
        }
        other => other.to_string(),
    }
}
