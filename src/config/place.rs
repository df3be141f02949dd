//! Where sessions live, as one line that may hold a password.

use std::fmt;
use std::path::PathBuf;

use super::setting::{Raw, Setting};
use crate::error::{ConfigError, Stores};

/// A store by scheme and address. What shows it leaves out whatever may be a secret.
#[derive(Clone)]
pub(super) struct Place(String);

/// What a [`Place`] says.
pub(super) enum Kind {
    Cookie,
    Memory,
    File(PathBuf),
    Redis,
    Postgres,
    MySql,
    Sqlite,
}

impl Place {
    pub(super) fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The whole of it, for the store alone.
    #[cfg_attr(
        not(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite")),
        expect(dead_code, reason = "only engines are reached by it")
    )]
    pub(super) fn url(&self) -> &str {
        &self.0
    }

    /// What it says, or what is wrong with it where `by` has set it.
    pub(super) fn kind(&self, by: &str) -> Result<Kind, ConfigError> {
        let lacks = |name: String, reason: String| Err(ConfigError::Setting { name, reason });
        let (scheme, rest) = self.0.split_once(':').unwrap_or((&self.0, ""));
        // The scheme is a known one, what is behind it may be a secret.
        let expected = |what: &str| {
            let hidden = if rest.is_empty() { "" } else { "…" };
            lacks(format!("{by} \"{scheme}:{hidden}\""), format!("expected {what}"))
        };
        let reached_by = |kind, url| if rest.starts_with("//") { Ok(kind) } else { expected(url) };
        match scheme {
            "cookie" | "memory" if !rest.is_empty() => expected(&format!("\"{scheme}:\" and nothing behind it")),
            "cookie" => Ok(Kind::Cookie),
            "memory" => Ok(Kind::Memory),
            "file" | "sqlite" if rest.starts_with('~') => {
                expected(&format!("the whole path, as {scheme}:/PATH: no `~` is replaced"))
            }
            "file" if rest.is_empty() => expected("a directory, as in file:./sessions"),
            // A host, in URLs of this scheme.
            "file" if rest.starts_with("//") && !rest.starts_with("///") => {
                expected("a directory without two slashes before it, as in file:./sessions or file:/var/sessions")
            }
            "file" => Ok(Kind::File(rest.into())),
            "sqlite" if rest.is_empty() => expected("a file, as in sqlite:./shop.db"),
            "sqlite" => Ok(Kind::Sqlite),
            "redis" | "rediss" | "redis+cluster" | "rediss+cluster" | "redis+unix" | "valkey" | "valkeys"
            | "valkey+cluster" | "valkeys+cluster" => reached_by(Kind::Redis, "a URL, as redis://HOST:PORT"),
            "postgres" | "postgresql" => {
                reached_by(Kind::Postgres, "a URL, as postgres://USER:PASSWORD@HOST:PORT/DATABASE")
            }
            "mysql" | "mariadb" => reached_by(Kind::MySql, "a URL, as mysql://USER:PASSWORD@HOST:PORT/DATABASE"),
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

    /// The scheme with its colon, or nothing: a line without one may be a password that went astray.
    fn scheme(&self) -> &str {
        let scheme = &self.0[..self.0.find(':').map_or(0, |at| at + 1)];
        let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:".contains(&byte);
        if scheme.bytes().all(is_one) { scheme } else { "" }
    }

    /// Without user and password, and without the query, which may hold them too.
    fn shown(&self) -> Option<String> {
        match self.kind("").ok()? {
            Kind::Cookie => return Some("cookie:".to_owned()),
            Kind::Memory => return Some("memory:".to_owned()),
            Kind::File(_) => return Some(self.0.clone()),
            Kind::Sqlite => return self.0.split('?').next().map(str::to_owned),
            _ => {}
        }
        let (scheme, rest) = self.0.split_once("://")?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // Perhaps a password that is not percent-encoded: nobody knows where it ends.
        if rest.contains('@') {
            return None;
        }
        // Or one whose `@HOST` is missing: then it stands where the port should be.
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

impl Setting for Place {
    const EXPECTED: &'static str = "a store such as \"memory:\" or \"redis://HOST:PORT\"";
    const IS_SECRET: bool = true;

    /// Anything: what it means is looked at when the store is opened, since parsers quote the line of their errors.
    fn read(raw: &Raw) -> Option<Self> {
        raw.text().map(Self::new)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shown() {
            Some(shown) => f.write_str(&shown),
            None => write!(f, "{}…", self.scheme()),
        }
    }
}

impl fmt::Debug for Place {
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
            let place = Place::new(url);
            assert_eq!(place.to_string(), shown, "{url}");
            assert_eq!(format!("{place:?}"), format!("{shown:?}"), "{url}");
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
            let Err(error) = Place::new(url).kind("store") else { panic!("{url}") };
            let text = error.to_string();
            assert!(text.starts_with(said) && !text.to_lowercase().contains("secret"), "{url}: {text}");
        }
        for good in ["cookie", " memory:\n", "file:///var/x", "file:x", "sqlite://x.db", "valkey+cluster://a:1,b:2"] {
            assert!(Place::new(good).kind("store").is_ok(), "{good}");
        }
    }
}
