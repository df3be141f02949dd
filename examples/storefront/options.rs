//! The command line.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
A small shop that shows the use of sessions.

Usage: storefront [OPTIONS]

  --listen ADDR        address to serve on, port 0 picks one [127.0.0.1:3000]
  --store STORE        where the sessions live [cookie:]
                         cookie: | memory: | file:DIR
                         redis://HOST:PORT | rediss://HOST:PORT | redis+cluster://HOST:PORT,HOST:PORT (feature redis)
                         postgres://USER:PASSWORD@HOST:PORT/DATABASE (feature postgres)
                         mysql://USER:PASSWORD@HOST:PORT/DATABASE, mariadb:// too (feature mysql)
                         sqlite:PATH (feature sqlite)
  --key-file PATH      keys of the cookie store: one a line, 32 to 64 bytes in hex; the first key seals, all keys open;
                       made if it does not exist. Without it the sessions end with the process
  --idle SECONDS       time without use after which a session ends [7 days]
  --absolute SECONDS   time after which a session ends in any case [30 days]
  --insecure-cookies   cookies for plain http: no `__Host-` name and no Secure
  --help               this text
";

/// The longest lifetime of a cookie (RFC 6265bis), and the most that the layer accepts.
const LONGEST: u64 = 400 * 24 * 60 * 60;

/// The parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Serve(Options),
    Help,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) listen: String,
    pub(crate) store: StoreChoice,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) idle: Option<Duration>,
    pub(crate) absolute: Option<Duration>,
    pub(crate) insecure_cookies: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:3000".to_owned(),
            store: StoreChoice::Cookie,
            key_file: None,
            idle: None,
            absolute: None,
            insecure_cookies: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreChoice {
    Cookie,
    Memory,
    File(PathBuf),
    Engine(Engine, Place),
}

/// An engine that keeps sessions for several processes. Each needs the feature of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Redis,
    Postgres,
    MySql,
    Sqlite,
}

impl Engine {
    fn of(scheme: &str) -> Option<Self> {
        Some(match scheme {
            "redis" | "rediss" | "redis+cluster" | "rediss+cluster" => Self::Redis,
            "postgres" | "postgresql" => Self::Postgres,
            "mysql" | "mariadb" => Self::MySql,
            "sqlite" => Self::Sqlite,
            _ => return None,
        })
    }
}

/// The URL of an engine. Its `Debug` and `Display` leave out every part that may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place(String);

impl Place {
    /// Returns the whole URL, for the store alone.
    pub(crate) fn url(&self) -> &str {
        &self.0
    }

    /// Returns the URL without user and password, and without the query, which may hold them too.
    fn shown(&self) -> Option<String> {
        let (scheme, rest) = self.url().split_once(':')?;
        let Some(rest) = rest.strip_prefix("//").filter(|_| scheme != "sqlite") else {
            return (scheme == "sqlite").then(|| self.url().split('?').next().unwrap_or_default().to_owned());
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // It may be a password that is not percent-encoded, whose end is unknown.
        if rest.contains('@') {
            return None;
        }
        let (hosts, path) = (authority.rsplit('@').next()?, rest.split(['?', '#']).next()?);
        Some(format!("{scheme}://{hosts}{path}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = || self.0.split(':').next().unwrap_or_default().to_owned() + "://…";
        f.write_str(&self.shown().unwrap_or_else(scheme))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// Parses the arguments, without the program's name. An error is one line for the person who typed them.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, String> {
    let mut options = Options::default();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let argument = text(argument)?;
        let (name, attached) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let mut value = || match attached.clone() {
            Some(value) => Ok(value),
            None => match arguments.next() {
                Some(value) => text(value).map_err(|error| format!("{name} {error}")),
                None => Err(format!("{name} needs a value")),
            },
        };
        match name {
            "--listen" => options.listen = value()?,
            "--store" => options.store = store(&value()?)?,
            "--key-file" => options.key_file = Some(value()?.into()),
            "--idle" => options.idle = Some(seconds(name, &value()?)?),
            "--absolute" => options.absolute = Some(seconds(name, &value()?)?),
            "--insecure-cookies" if attached.is_none() => options.insecure_cookies = true,
            "--help" | "-h" if attached.is_none() => return Ok(Command::Help),
            _ => return Err(format!("unknown option {argument:?}; --help lists all options")),
        }
    }
    Ok(Command::Serve(options))
}

fn text(argument: OsString) -> Result<String, String> {
    argument.into_string().map_err(|argument| format!("{} is not UTF-8", argument.display()))
}

fn store(text: &str) -> Result<StoreChoice, String> {
    match text.split_once(':') {
        Some(("cookie", "")) => Ok(StoreChoice::Cookie),
        Some(("memory", "")) => Ok(StoreChoice::Memory),
        Some(("file", "")) => Err("--store file: needs a directory, as in file:./sessions".to_owned()),
        Some(("file", directory)) => Ok(StoreChoice::File(directory.into())),
        Some(("sqlite", "")) => Err("--store sqlite: needs a file, as in sqlite:./shop.db".to_owned()),
        // The text after an unknown scheme may hold a password, so the message does not repeat it.
        Some((scheme, _)) if !["cookie", "memory"].contains(&scheme) => match Engine::of(scheme) {
            Some(engine) => Ok(StoreChoice::Engine(engine, Place(text.to_owned()))),
            None => Err(format!("--store {scheme}: is not a store of this program; --help lists them all")),
        },
        _ => Err(format!("--store {text:?}: expected cookie:, memory:, file:DIR or another that --help lists")),
    }
}

fn seconds(name: &str, text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (1..=LONGEST).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        format!("{name} {text}: expected a whole number of seconds from 1 to {LONGEST}, which are 400 days")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_are_read_in_both_spellings() {
        assert_eq!(parsed(""), Ok(Command::Serve(Options::default())));
        let all = Options {
            listen: "[::1]:0".to_owned(),
            store: StoreChoice::File("a=b/c:d".into()),
            key_file: Some("keys".into()),
            idle: Some(Duration::from_secs(60)),
            absolute: Some(Duration::from_secs(3600)),
            insecure_cookies: true,
        };
        for line in [
            "--listen [::1]:0 --store file:a=b/c:d --key-file keys --idle 60 --absolute 3600 --insecure-cookies",
            "--insecure-cookies --absolute=3600 --idle=60 --key-file=keys --store=file:a=b/c:d --listen=[::1]:0",
        ] {
            assert_eq!(parsed(line), Ok(Command::Serve(all.clone())), "{line}");
        }
        assert_eq!(parsed("--store memory: --help"), Ok(Command::Help));
    }

    #[test]
    fn mistakes_are_named_in_one_line() {
        for (line, said) in [
            ("--port 80", "unknown option \"--port\""),
            ("serve", "unknown option \"serve\""),
            ("--help=1", "unknown option"),
            ("--insecure-cookies=no", "unknown option"),
            ("--store", "--store needs a value"),
            ("--store cookie", "expected cookie:, memory:, file:DIR"),
            ("--store memory:x", "expected cookie:, memory:, file:DIR"),
            ("--store file:", "needs a directory"),
            ("--store sqlite:", "needs a file"),
            ("--store carrier-pigeon:", "carrier-pigeon: is not a store"),
            ("--idle soon", "--idle soon: expected a whole number of seconds"),
            ("--idle=0", "--idle 0: expected a whole number of seconds from 1 to 34560000"),
            ("--idle 34560001", "--idle 34560001: expected"),
            ("--absolute -1", "--absolute -1: expected a whole number of seconds"),
            ("--absolute 18446744073709551616", "--absolute 18446744073709551616: expected"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(said) && !error.contains('\n'), "{line}: {error}");
        }
        assert!(!parsed("--store carrier-pigeon://:secret@host").unwrap_err().contains("secret"));
    }

    #[test]
    fn schemes_name_their_engines() {
        for (url, engine) in [
            ("redis://127.0.0.1:6379/1", Engine::Redis),
            ("rediss://host", Engine::Redis),
            ("redis+cluster://a:1,b:2", Engine::Redis),
            ("rediss+cluster://a:1,b:2", Engine::Redis),
            ("postgres://shop@host/shop", Engine::Postgres),
            ("postgresql://shop@host/shop", Engine::Postgres),
            ("mysql://shop@host/shop", Engine::MySql),
            ("mariadb://shop@host/shop", Engine::MySql),
            ("sqlite:./shop.db", Engine::Sqlite),
        ] {
            assert_eq!(store(url), Ok(StoreChoice::Engine(engine, Place(url.to_owned()))), "{url}");
        }
    }

    #[test]
    fn no_secret_of_a_url_is_shown() {
        for (url, shown) in [
            ("redis://host:1/2", "redis://host:1/2"),
            ("redis://:secret@host:1", "redis://host:1"),
            ("redis+cluster://user:secret@a:1,b:2", "redis+cluster://a:1,b:2"),
            ("redis://:se@cret@host", "redis://host"),
            ("postgres://user:secret@[::1]:5432/shop?sslmode=require", "postgres://[::1]:5432/shop"),
            ("postgres://host/shop?user=shop&password=secret", "postgres://host/shop"),
            ("postgres://host/shop?password=secr@et", "postgres://…"),
            ("mysql://user:sec/ret@host/shop", "mysql://…"),
            ("mysql://user:sec#ret@host/shop", "mysql://…"),
            ("mysql:user:secret@host", "mysql://…"),
            ("sqlite:a/shop@home.db?mode=rwc", "sqlite:a/shop@home.db"),
            ("sqlite:///var/shop.db", "sqlite:///var/shop.db"),
        ] {
            let place = Place(url.to_owned());
            assert_eq!(place.to_string(), shown, "{url}");
            assert_eq!(format!("{place:?}"), format!("Place({shown})"), "{url}");
        }
    }
}
