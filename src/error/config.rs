//! The error of options that cannot work.

use std::fmt;
use std::time::Duration;

use crate::lifetime::ABSOLUTE;

/// The reason why a layer, a cookie or a store could not be built: an option, or several together, that cannot work.
///
/// Each message names the option, its value and the values that would be valid.
///
/// # Examples
///
/// ```
/// use tower_session_layer::{ConfigError, SessionCookie};
///
/// let error = SessionCookie::builder().path("shop").name("sid").build().unwrap_err();
/// assert_eq!(error, ConfigError::Path("shop".into()));
/// assert!(error.to_string().starts_with(r#"path "shop": expected a leading `/`"#));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The cookie's name is not a token as RFC 6265 defines it.
    CookieName(String),
    /// `__Host-` needs `Secure`, `Path=/` and no `Domain`.
    HostPrefix {
        /// The name.
        name: String,
        /// The option that contradicts the prefix.
        conflict: &'static str,
    },
    /// `__Secure-` needs `Secure`.
    SecurePrefix(String),
    /// `__Http-` and `__Host-Http-` need `HttpOnly` and `Secure`.
    HttpPrefix(String),
    /// `SameSite=None` needs `Secure`.
    SameSiteNone,
    /// `Partitioned` needs `Secure`.
    Partitioned,
    /// The path does not start with `/`, is over 1,024 bytes, or holds a control character or `;`.
    Path(String),
    /// The domain is empty, over 1,024 bytes, or holds something that no host name does.
    Domain(String),
    /// A former domain and path are the present ones: the cookie would be removed as soon as it is set.
    Formerly {
        /// The former domain.
        domain: Option<String>,
        /// The former path.
        path: String,
    },
    /// The idle timeout is zero or over 400 days.
    IdleTimeout(Duration),
    /// The absolute timeout is zero or over 400 days.
    AbsoluteTimeout(Duration),
    /// The idle timeout is longer than the absolute one.
    IdleOverAbsolute {
        /// The idle timeout.
        idle: Duration,
        /// The absolute timeout.
        absolute: Duration,
    },
    /// The age at which tokens are replaced is less than 60 seconds or longer than the absolute timeout.
    RenewAfter(Duration),
    /// Tokens are to be replaced by age, and there is no key that seals what a replaced token leads on to.
    RenewalKeys,
    /// The name of the header for tokens is invalid, or HTTP, gRPC or the layer uses it for something else.
    TokenHeader(String),
    /// The store timeout is zero.
    StoreTimeout,
    /// The largest record is zero bytes.
    MaxRecordBytes,
    /// The number of sessions that an owner may have is zero.
    MaxSessionsPerOwner,
    /// A key has fewer than 32 bytes; holds their number.
    ShortKey(usize),
    /// A key is all zeros.
    ZeroKey,
    /// No key was given.
    NoKey,
    /// The number of chunks is not within 1..=3.
    MaxChunks(u8),
    /// A bound of a store is zero; holds the option's name.
    ZeroBound(&'static str),
    /// A client-side store was given for a purpose that needs a server-side store; holds the purpose.
    ClientSideStore(&'static str),
    /// The prefix of a store's keys is not 1 to 64 ASCII letters, digits and `:._-/`.
    KeyPrefix(String),
    /// The URL of a Redis server is invalid; holds the reason, and nothing of the URL.
    RedisUrl(String),
    /// A Redis server evicts keys when its memory is full; holds its `maxmemory-policy`.
    RedisEviction(String),
    /// The store's directory cannot be used.
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// The reason that the operating system gave.
        reason: String,
    },
    /// The table's name is not made of 1 to 48 ASCII letters, digits and `_`, begins with a digit, or with `sqlite_`.
    TableName(String),
    /// A configuration names no store.
    NoStore,
    /// A configuration names an unknown store; holds the scheme, and nothing of the rest, which may be a secret.
    UnknownStore(String),
    /// A configuration names a store or a wrapper that this program was built without.
    FeatureOff {
        /// The store or wrapper, without secrets.
        what: String,
        /// The feature of this crate that adds it.
        feature: &'static str,
    },
    /// The store that a configuration names could not be opened.
    Unreachable {
        /// The store, without secrets.
        store: String,
        /// The reason that the store gave, without secrets.
        reason: String,
    },
    /// A value of a configuration is invalid.
    Setting {
        /// The key in the file, or the environment variable.
        name: String,
        /// The fault, and the values that would be valid. A secret is not repeated.
        reason: String,
    },
    /// An environment variable has the prefix of a configuration but is the name of no key.
    UnknownVariable {
        /// The variable.
        name: String,
        /// The known variable with the most similar name.
        nearest: Option<String>,
    },
    /// Environment variables set options that cannot work, or a place other than the key `store` names a store that
    /// cannot.
    SetBy {
        /// The variables, the key or the file.
        by: String,
        /// The error itself.
        error: Box<ConfigError>,
    },
}

impl fmt::Display for ConfigError {
    #[allow(clippy::too_many_lines, reason = "one arm for each error")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAYS: &str = "expected more than zero and at most 400 days";
        match self {
            Self::CookieName(name) => {
                write!(f, "cookie_name {name:?}: expected a non-empty token of letters, digits and !#$%&'*+-.^_`|~")
            }
            Self::HostPrefix { name, conflict } => {
                write!(
                    f,
                    "cookie_name {name:?} with {conflict}: `__Host-` needs Secure, path \"/\" and no domain; \
                     a cookie_name without the prefix, such as \"sid\", is the other way out"
                )
            }
            Self::SecurePrefix(name) => write!(f, "cookie_name {name:?} with insecure_http: `__Secure-` needs Secure"),
            Self::HttpPrefix(name) => write!(
                f,
                "cookie_name {name:?} with insecure_script_access or insecure_http: the prefix needs HttpOnly and Secure"
            ),
            Self::SameSiteNone => f.write_str("same_site None with insecure_http: SameSite=None needs Secure"),
            Self::Partitioned => f.write_str("partitioned with insecure_http: Partitioned needs Secure"),
            Self::Path(path) => write!(
                f,
                "path {:?}: expected a leading `/`, at most 1024 bytes, no `;`, no control or non-ASCII character",
                shorten(path)
            ),
            Self::Formerly { domain, path } => write!(
                f,
                "formerly \"{}{}\": expected another domain or path than the cookie has now",
                shorten(domain.as_deref().unwrap_or_default()),
                shorten(path)
            ),
            Self::Domain(domain) => write!(
                f,
                "domain {:?}: expected a host name of at most 1024 letters, digits, `-` and `.`",
                shorten(domain)
            ),
            Self::IdleTimeout(is) => write!(f, "idle_timeout {}: {DAYS}", Written(*is)),
            Self::AbsoluteTimeout(is) => write!(f, "absolute_timeout {}: {DAYS}", Written(*is)),
            Self::IdleOverAbsolute { idle, absolute } => {
                let (idle, longest) = (Written(*idle), Written(*absolute));
                let by_default = if *absolute == ABSOLUTE { " by default" } else { "" };
                write!(
                    f,
                    "idle_timeout {idle}: expected at most the absolute_timeout, which is {longest}{by_default}; \
                     raising absolute_timeout is the other way out"
                )
            }
            Self::RenewAfter(age) => {
                let age = Written(*age);
                write!(
                    f,
                    "renew_after {age}: expected at least 60 seconds and at most the absolute_timeout, 30d unless set"
                )
            }
            Self::RenewalKeys => f.write_str(
                "renew_after has no keys: expected at least one `CookieKey`, as `cookie.keys` of a configuration",
            ),
            Self::TokenHeader(name) => {
                write!(
                    f,
                    "token_header {name:?}: expected the name of a header without another use, not reserved and \
                     without \"-bin\""
                )
            }
            Self::StoreTimeout => f.write_str("store_timeout 0: expected more than zero"),
            Self::MaxRecordBytes => f.write_str("max_record_bytes 0: expected at least 1"),
            Self::MaxSessionsPerOwner => f.write_str("max_sessions_per_owner 0: expected at least 1"),
            Self::ShortKey(is) => write!(f, "key of {is} bytes: expected at least 32 random bytes"),
            Self::ZeroKey => f.write_str("key of zeros only: expected at least 32 random bytes"),
            Self::NoKey => f.write_str("no key: expected at least one, of at least 32 random bytes"),
            Self::MaxChunks(is) => write!(f, "max_chunks {is}: expected 1, 2 or 3"),
            Self::ZeroBound(option) => write!(f, "{option} 0: expected at least 1"),
            Self::ClientSideStore(of) => {
                write!(f, "{of} with a store whose token is the session itself: expected a server-side store")?;
                if *of == "Sealed" { f.write_str(", since its cookies are sealed in any case") } else { Ok(()) }
            }
            Self::KeyPrefix(prefix) => {
                write!(f, "prefix {:?}: expected 1 to 64 ASCII letters, digits and `:._-/`", shorten(prefix))
            }
            Self::RedisUrl(reason) => write!(
                f,
                "URL of a Redis server: {reason}; expected redis://host:port or redis+cluster://host:port,host:port"
            ),
            Self::RedisEviction(policy) => write!(
                f,
                "maxmemory-policy {:?} of a Redis server: expected noeviction, since revocations miss sessions whose list is \
                 evicted; set it there, or insecure_eviction here",
                shorten(policy)
            ),
            Self::Directory { path, reason } => {
                write!(
                    f,
                    "directory {}: expected one that can be made and written, by this user alone: {reason}",
                    path.display()
                )
            }
            Self::TableName(name) => write!(
                f,
                "table {:?}: expected 1 to 48 ASCII letters, digits and `_`, no digit first and no `sqlite_`",
                shorten(name)
            ),
            Self::NoStore => {
                write!(f, "no store: expected the key store, or the variable that ends in STORE, to be one of {Stores}")
            }
            Self::UnknownStore(scheme) => write!(f, "store {:?}: expected one of {Stores}", shorten(scheme)),
            Self::FeatureOff { what, feature } => write!(
                f,
                "{what}: not in this program, which was built without the feature {feature:?} of tower-session-layer"
            ),
            Self::Unreachable { store, reason } => write!(f, "store {store:?}: {reason}"),
            Self::Setting { name, reason } => write!(f, "{name}: {reason}"),
            Self::UnknownVariable { name, nearest } => {
                write!(f, "environment variable {name}: stands for no key; ")?;
                match nearest {
                    Some(nearest) => write!(f, "the nearest is {nearest}"),
                    None => f.write_str("expected one of those in the documentation of SessionConfig"),
                }
            }
            Self::SetBy { by, error } => write!(f, "{by}: {error}"),
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(feature = "config")]
impl ConfigError {
    /// Returns the options that the error is about, without their tables; none if the error names their source itself.
    pub(crate) fn options(&self) -> Vec<&'static str> {
        match self {
            Self::CookieName(_) => vec!["cookie_name"],
            Self::HostPrefix { conflict: "a domain", .. } => vec!["cookie_name", "domain"],
            Self::HostPrefix { conflict: "another path", .. } => vec!["cookie_name", "path"],
            Self::HostPrefix { conflict: "a former domain or path", .. } => vec!["cookie_name", "formerly"],
            Self::HostPrefix { conflict, .. } => vec!["cookie_name", conflict],
            Self::SecurePrefix(_) => vec!["cookie_name", "insecure_http"],
            Self::HttpPrefix(_) => vec!["cookie_name", "insecure_http", "insecure_script_access"],
            Self::SameSiteNone => vec!["same_site", "insecure_http"],
            Self::Partitioned => vec!["partitioned", "insecure_http"],
            Self::Path(_) => vec!["path", "formerly"],
            Self::Domain(_) => vec!["domain", "formerly"],
            Self::Formerly { .. } => vec!["formerly", "domain", "path"],
            Self::IdleTimeout(_) => vec!["idle_timeout"],
            Self::AbsoluteTimeout(_) => vec!["absolute_timeout"],
            Self::IdleOverAbsolute { .. } => vec!["idle_timeout", "absolute_timeout", "nist"],
            Self::RenewAfter(_) => vec!["renew_after", "absolute_timeout", "nist"],
            Self::RenewalKeys => vec!["renew_after", "keys", "key_file"],
            Self::TokenHeader(_) => vec!["token_header", "token_header_alone"],
            Self::StoreTimeout => vec!["store_timeout"],
            Self::MaxRecordBytes => vec!["max_record_bytes"],
            Self::MaxSessionsPerOwner => vec!["max_sessions_per_owner"],
            Self::ShortKey(_) | Self::ZeroKey | Self::NoKey => vec!["keys", "key_file"],
            Self::MaxChunks(_) => vec!["max_chunks"],
            Self::ClientSideStore("Sealed") => vec!["sealed"],
            Self::ClientSideStore("CachedStore") => vec!["max_staleness"],
            Self::ZeroBound(option) | Self::ClientSideStore(option) => vec![option],
            Self::KeyPrefix(_) => vec!["prefix"],
            Self::RedisEviction(_) => vec!["insecure_eviction"],
            Self::TableName(_) => vec!["table"],
            Self::NoStore
            | Self::UnknownStore(_)
            | Self::FeatureOff { .. }
            | Self::RedisUrl(_)
            | Self::Directory { .. }
            | Self::Unreachable { .. }
            | Self::Setting { .. }
            | Self::UnknownVariable { .. }
            | Self::SetBy { .. } => vec![],
        }
    }
}

/// The forms in which a configuration names the stores of this program, and the names of the stores that it was built
/// without.
pub(crate) struct Stores;

impl fmt::Display for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STORES: [(&str, bool); 7] = [
            ("memory:", cfg!(feature = "memory")),
            ("cookie:", cfg!(feature = "cookie")),
            ("file:DIR", cfg!(all(feature = "file", unix))),
            ("sqlite:PATH", cfg!(feature = "sqlite")),
            ("postgres://HOST/DATABASE", cfg!(feature = "postgres")),
            ("mysql://HOST/DATABASE", cfg!(feature = "mysql")),
            ("redis://HOST:PORT", cfg!(feature = "redis")),
        ];
        let which = |is_here| STORES.into_iter().filter(move |(_, is)| *is == is_here).map(|(store, _)| store);
        f.write_str(&which(true).collect::<Vec<_>>().join(", "))?;
        let missing: Vec<_> = which(false).filter_map(|store| store.split(':').next()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        write!(f, " (this program was built without {})", missing.join(", "))
    }
}

/// A duration in the form that a configuration has, in the largest unit that leaves no rest.
struct Written(Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, char); 4] = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
        let seconds = self.0.as_secs();
        match UNITS.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit) && seconds >= *unit) {
            Some((unit, letter)) if self.0.subsec_nanos() == 0 => write!(f, "{}{letter}", seconds / unit),
            _ if self.0.is_zero() => f.write_str("0"),
            _ => write!(f, "{:?}", self.0),
        }
    }
}

/// Returns the first 60 bytes or fewer of a value, which may be very long.
fn shorten(text: &str) -> &str {
    let end = (0..=60.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}
