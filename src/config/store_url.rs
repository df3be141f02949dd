//! The URL of a store, which may hold a password.

use std::fmt;
use std::path::PathBuf;

use crate::error::{ConfigError, Stores};

/// A store by scheme and address. Neither `Debug` nor `Display` shows a part that may be a secret.
#[derive(Clone)]
pub(super) struct StoreUrl(String);

/// The store that a [`StoreUrl`] names.
pub(super) enum StoreKind {
    Cookie,
    Memory,
    File(PathBuf),
    Redis,
    Postgres,
    MySql,
    Sqlite,
}

impl StoreUrl {
    pub(super) fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// Returns the whole URL, for the store alone.
    #[cfg_attr(
        not(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite")),
        expect(dead_code, reason = "only engines are reached by it")
    )]
    pub(super) fn url(&self) -> &str {
        &self.0
    }

    /// Returns the store that it names. An error says that `by` has set it.
    pub(super) fn kind(&self, by: &str) -> Result<StoreKind, ConfigError> {
        let lacks = |name: String, reason: String| Err(ConfigError::Setting { name, reason });
        let (scheme, rest) = self.0.split_once(':').unwrap_or((&self.0, ""));
        // The scheme is a known one. The rest may be a secret.
        let expected = |what: &str| {
            let hidden = if rest.is_empty() { "" } else { "…" };
            lacks(format!("{by} \"{scheme}:{hidden}\""), format!("expected {what}"))
        };
        let reached_by = |kind, url| if rest.starts_with("//") { Ok(kind) } else { expected(url) };
        match scheme {
            "cookie" | "memory" if !rest.is_empty() => expected(&format!("\"{scheme}:\" and nothing behind it")),
            "cookie" => Ok(StoreKind::Cookie),
            "memory" => Ok(StoreKind::Memory),
            "file" | "sqlite" if rest.starts_with('~') => {
                expected(&format!("the whole path, as {scheme}:/PATH: no `~` is replaced"))
            }
            "file" if rest.is_empty() => expected("a directory, as in file:./sessions"),
            // A host, in URLs of this scheme.
            "file" if rest.starts_with("//") && !rest.starts_with("///") => {
                expected("a directory without two slashes before it, as in file:./sessions or file:/var/sessions")
            }
            "file" => Ok(StoreKind::File(rest.into())),
            "sqlite" if rest.is_empty() => expected("a file, as in sqlite:./shop.db"),
            "sqlite" => Ok(StoreKind::Sqlite),
            "redis" | "rediss" | "redis+cluster" | "rediss+cluster" | "redis+unix" | "valkey" | "valkeys"
            | "valkey+cluster" | "valkeys+cluster" => reached_by(StoreKind::Redis, "a URL, as redis://HOST:PORT"),
            "postgres" | "postgresql" => {
                reached_by(StoreKind::Postgres, "a URL, as postgres://USER:PASSWORD@HOST:PORT/DATABASE")
            }
            "mysql" | "mariadb" => reached_by(StoreKind::MySql, "a URL, as mysql://USER:PASSWORD@HOST:PORT/DATABASE"),
            _ if self.scheme().is_empty() => {
                let what = match self.0.chars().next() {
                    None => "is empty",
                    Some('"' | '\'') => "begins with a quotation mark, which is no part of a store",
                    Some('$') => "begins with `$`, and no variable is put in its place",
                    Some(_) => "has no scheme",
                };
                let directory = if cfg!(all(feature = "file", unix)) { "; a directory is file:./sessions" } else { "" };
                lacks(by.to_owned(), format!("{what}: expected SCHEME:PLACE, one of {Stores}{directory}"))
            }
            _ => Err(ConfigError::UnknownStore(self.scheme().to_owned())),
        }
    }

    /// Returns the scheme with its colon, or nothing if there is none: the whole may be a password in the wrong place.
    fn scheme(&self) -> &str {
        let scheme = &self.0[..self.0.find(':').map_or(0, |at| at + 1)];
        let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:".contains(&byte);
        if scheme.bytes().all(is_one) { scheme } else { "" }
    }

    /// Returns the URL without user and password, and without the query, which may hold them too.
    fn shown(&self) -> Option<String> {
        match self.kind("").ok()? {
            StoreKind::Cookie => return Some("cookie:".to_owned()),
            StoreKind::Memory => return Some("memory:".to_owned()),
            StoreKind::File(_) => return Some(self.0.clone()),
            StoreKind::Sqlite => return self.0.split('?').next().map(str::to_owned),
            _ => {}
        }
        let (scheme, rest) = self.0.split_once("://")?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // The password may not be percent-encoded: then its end is unknown.
        if rest.contains('@') {
            return None;
        }
        // The `@HOST` may be missing: then the password stands where the port should be.
        let is_port = |host: &str| {
            let port = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or("", |(_, port)| port);
            port.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !authority.rsplit('@').next()?.split(',').all(is_port) {
            return None;
        }
        let (hosts, path) = (authority.rsplit('@').next()?, rest.split(['?', '#']).next()?);
        Some(format!("{scheme}://{hosts}{path}"))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shown() {
            Some(shown) => f.write_str(&shown),
            None => write!(f, "{}…", self.scheme()),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_url_is_shown() {
        for (url, shown) in [
            ("cookie:", "cookie:"),
            ("memory:", "memory:"),
            ("file:a=b/c@d:e?f", "file:a=b/c@d:e?f"),
            ("redis://host:1/2", "redis://host:1/2"),
            ("redis://:secret@host:1", "redis://host:1"),
            ("redis+cluster://user:secret@a:1,b:2", "redis+cluster://a:1,b:2"),
            ("redis+unix:///run/redis?pass=secret", "redis+unix:///run/redis"),
            ("redis://:se@cret@host", "redis://host"),
            ("postgres://user:secret@[::1]:5432/shop?sslmode=require", "postgres://[::1]:5432/shop"),
            ("postgres://host/shop?user=shop&password=secret", "postgres://host/shop"),
            ("postgres://host/shop?password=secr@et", "postgres:…"),
            ("mysql://user:sec/ret@host/shop", "mysql:…"),
            ("mysql://user:sec#ret@host/shop", "mysql:…"),
            ("mysql:user:secret@host", "mysql:…"),
            ("mysql://user:secret", "mysql:…"),
            ("postgres://user:secret/shop", "postgres:…"),
            ("redis://:secret%40host", "redis:…"),
            ("redis+cluster://a:1,user:secret", "redis+cluster:…"),
            ("mongodb://user:secret@host", "mongodb:…"),
            ("secret", "…"),
            ("memory", "memory:"),
            ("memory:secret", "memory:…"),
            ("cookie:secret", "cookie:…"),
            ("redis:secret", "redis:…"),
            ("file:~secret", "file:…"),
            ("sec/ret:x", "…"),
            ("sqlite:a/shop@home.db?mode=rwc", "sqlite:a/shop@home.db"),
            ("sqlite:///var/shop.db", "sqlite:///var/shop.db"),
        ] {
            let store = StoreUrl::new(url);
            assert_eq!(store.to_string(), shown, "{url}");
            assert_eq!(format!("{store:?}"), format!("{shown:?}"), "{url}");
        }
    }

    #[test]
    fn what_is_no_store_is_told_without_secrets() {
        for (url, said) in [
            ("carrier-pigeon:north", "store \"carrier-pigeon:\": expected one of memory:, "),
            ("cookie:secret", "store \"cookie:…\": expected \"cookie:\" and nothing behind it"),
            ("memory:secret", "store \"memory:…\": expected \"memory:\" and nothing behind it"),
            ("memory://", "store \"memory:…\": expected \"memory:\" and nothing behind it"),
            ("secret", "store: has no scheme: expected SCHEME:PLACE, one of memory:, "),
            ("./secret", "store: has no scheme: expected SCHEME:PLACE, one of memory:, "),
            ("", "store: is empty: expected SCHEME:PLACE, one of memory:, "),
            ("\"redis://:secret@host\"", "store: begins with a quotation mark"),
            ("$SECRET_URL", "store: begins with `$`"),
            ("${SECRET_URL}", "store: begins with `$`"),
            ("redis", "store \"redis:\": expected a URL, as redis://HOST:PORT"),
            ("redis:secret", "store \"redis:…\": expected a URL, as redis://HOST:PORT"),
            ("postgres:secret@host/shop", "store \"postgres:…\": expected a URL, as postgres://"),
            ("mariadb:secret@host/shop", "store \"mariadb:…\": expected a URL, as mysql://"),
            ("file://secret", "store \"file:…\": expected a directory without two slashes before it, as in file:./"),
            ("file:~/secret", "store \"file:…\": expected the whole path"),
            ("sqlite:~/secret.db", "store \"sqlite:…\": expected the whole path"),
            ("file:", "store \"file:\": expected a directory"),
            ("sqlite:", "store \"sqlite:\": expected a file"),
        ] {
            let Err(error) = StoreUrl::new(url).kind("store") else { panic!("{url}") };
            let text = error.to_string();
            assert!(text.starts_with(said) && !text.to_lowercase().contains("secret"), "{url}: {text}");
        }
        for good in ["cookie", " memory:\n", "file:///var/x", "file:x", "sqlite://x.db", "valkey+cluster://a:1,b:2"] {
            assert!(StoreUrl::new(good).kind("store").is_ok(), "{good}");
        }
    }
}
