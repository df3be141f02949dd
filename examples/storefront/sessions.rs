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
        StoreChoice::File(directory) => {
            build(tower_session_layer::FileStore::new(directory).map_err(|error| as_typed(&error))?, options)
        }
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
    builder.build().map_err(|error| as_typed(&error))
}

/// Names the options of the command line, not those of the builders.
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
