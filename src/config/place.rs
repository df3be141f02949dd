//! Where sessions live, as one line that may hold a password.

use std::fmt;
use std::path::PathBuf;

use super::setting::{Raw, Setting};
use crate::error::ConfigError;

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

    pub(super) fn kind(&self) -> Result<Kind, ConfigError> {
        let lacks = |what: &str| ConfigError::Setting { name: format!("store {:?}", self.0), reason: what.to_owned() };
        let (scheme, rest) = self.0.split_once(':').unwrap_or((&self.0, ""));
        Ok(match (scheme, rest) {
            ("cookie", "") => Kind::Cookie,
            ("memory", "") => Kind::Memory,
            ("file", "") => return Err(lacks("expected a directory, as in file:./sessions")),
            ("file", directory) => Kind::File(directory.into()),
            ("sqlite", "") => return Err(lacks("expected a file, as in sqlite:./shop.db")),
            ("sqlite", _) => Kind::Sqlite,
            ("redis" | "rediss" | "redis+cluster" | "rediss+cluster" | "redis+unix" | "valkey" | "valkeys", _) => {
                Kind::Redis
            }
            ("postgres" | "postgresql", _) => Kind::Postgres,
            ("mysql" | "mariadb", _) => Kind::MySql,
            _ => return Err(ConfigError::UnknownStore(self.scheme().to_owned())),
        })
    }

    /// The scheme with its colon, or nothing: a line without one may be a password that went astray.
    fn scheme(&self) -> &str {
        let scheme = &self.0[..self.0.find(':').map_or(0, |at| at + 1)];
        let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:".contains(&byte);
        if scheme.bytes().all(is_one) { scheme } else { "" }
    }

    /// Without user and password, and without the query, which may hold them too.
    fn shown(&self) -> Option<String> {
        match self.kind().ok()? {
            Kind::Cookie | Kind::Memory => return Some(self.scheme().to_owned()),
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
            ("carrier-pigeon:north", "store \"carrier-pigeon:\": expected cookie:, memory:, file:DIR"),
            ("cookie:x", "store \"cookie:\": expected"),
            ("memory:x", "store \"memory:\": expected"),
            ("secret", "store \"\": expected"),
            ("", "store \"\": expected"),
            ("file:", "store \"file:\": expected a directory"),
            ("sqlite:", "store \"sqlite:\": expected a file"),
        ] {
            let Err(error) = Place::new(url).kind() else { panic!("{url}") };
            assert!(error.to_string().starts_with(said), "{url}: {error}");
        }
        assert!(Place::new("cookie").kind().is_ok() && Place::new(" memory:\n").kind().is_ok());
    }
}
