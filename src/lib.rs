//! HTTP sessions as [tower](https://docs.rs/tower) middleware, for axum, hyper and tonic.
//!
//! [`SessionLayer`] reads the client's token, loads the session from a store *before* the inner service runs, hands it
//! over as a request extension, and when the inner service has answered commits the changes and writes `Set-Cookie`.
//!
//! ```
//! # #[cfg(all(feature = "axum", feature = "memory"))]
//! # fn main() -> Result<(), tower_session_layer::ConfigError> {
//! use std::time::Duration;
//! use tower_session_layer::{MemoryStore, Session, SessionKey, SessionLayer};
//!
//! const COUNTRY: SessionKey<String> = SessionKey::new("countryCode");
//!
//! async fn home(session: Session) -> Result<String, tower_session_layer::Error> {
//!     Ok(COUNTRY.get(&session)?.unwrap_or_default())
//! }
//!
//! let sessions = SessionLayer::builder(MemoryStore::new())
//!     .cookie_name("__Host-shop")
//!     .idle_timeout(Duration::from_secs(30 * 60))
//!     .build()?; // every wrong combination is an error here, not at run time
//! let app: axum::Router = axum::Router::new().route("/", axum::routing::get(home)).layer(sessions);
//! # let _ = app;
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "axum", feature = "memory")))]
//! # fn main() {}
//! ```
//!
//! # What happens to a request
//!
//! 1. **In.** The `Cookie` headers are scanned once; what is not exactly a token of the store's shape is ignored. At most
//!    four candidates are loaded, and the first live session wins. Without a cookie there is no store call at all.
//! 2. **Inner service.** The handler finds a [`Session`] in the request's extensions, reads and changes it without
//!    waiting, and may [`commit`](Session::commit) in between. Each change goes into a log.
//! 3. **Out.** If something changed, all of it is one compare-and-swap. On a conflict the log is played again on what the
//!    other request stored: nobody's update is lost. A session that was destroyed, renewed or revoked meanwhile stays
//!    so. Then the response gets its cookie, `Cache-Control: no-store` and `Vary: Cookie`, where they are due.
//!
//! # Stores
//!
//! | store | feature | sessions live in | use it for |
//! |---|---|---|---|
#![cfg_attr(
    feature = "cookie",
    doc = "| [`CookieStore`] | `cookie` (default) | the client's cookie, sealed | small sessions without a server |"
)]
#![cfg_attr(feature = "memory", doc = "| [`MemoryStore`] | `memory` (default) | this process | one process, tests |")]
#![cfg_attr(
    all(feature = "file", unix),
    doc = "| [`FileStore`] | `file` (default) | a directory | the processes of one machine (Unix) |"
)]
#![cfg_attr(
    feature = "sqlite",
    doc = "| [`SqliteStore`] | `sqlite` | a database file | the processes of one machine |"
)]
#![cfg_attr(feature = "postgres", doc = "| [`PostgresStore`] | `postgres` | PostgreSQL | many machines |")]
#![cfg_attr(feature = "mysql", doc = "| [`MySqlStore`] | `mysql` | MySQL or MariaDB | many machines |")]
#![cfg_attr(feature = "redis", doc = "| [`RedisStore`] | `redis` | Redis or Valkey, also a Cluster | many machines |")]
//! | your own | | whatever implements [`SessionStore`] | the feature `conformance` has the tests it must pass |
//!
//! [`Sealed`] around a store on the server encrypts what it keeps: only the client's token opens it.
#![cfg_attr(
    feature = "cached",
    doc = "[`CachedStore`] (feature `cached`) in front of a store that is far away answers repeated reads from this process."
)]
//!
//! The feature `axum` makes [`Session`], [`SessionView`], [`TypedSession`] and [`LazySession`] extractors, and adds `Owner`, who
//! signed in; without it axum says of a handler that takes one that it is no `Handler`. Elsewhere [`Session::from_extensions`]
//! finds the session. `config` brings `SessionConfig`: the store and all options out of a configuration file or the environment.
//! Features are additive. Rust 1.89 or later; the SQL stores need 1.94.
//!
//! # Failure
//!
//! A store that fails or takes longer than the store timeout is 503 (gRPC: `UNAVAILABLE`), never an anonymous session, and
//! the client's cookie stays as it is. A change that could not be stored is 503 too, instead of the handler's response.
//! The [guide] says more: threat model, why each default, how to write a store, how to move here from elsewhere.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

// By its own name, the fuzz bodies find it in its unit tests too.
#[cfg(test)]
extern crate self as tower_session_layer;

// The map, in the order in which a request meets the modules.
//
// The layer, and what its services share.
mod layer;
// Its options and their validation.
mod builder;
// A request on its way in.
mod service;
// Load, inner service, commit.
mod future;
// A response on its way out.
mod respond;
// What the handler holds.
mod session;
// From what it did to what the store is asked.
mod commit;
// Name, attributes and parsing of the cookie.
mod cookie;
// What the client holds, and what of it may leave the process.
mod token;
// What a store keeps.
mod record;
// When a session ends.
mod lifetime;
// Sessions that another library began.
mod import;
// What happened, for the log and for whoever listens.
mod event;
// Where tokens come from.
mod random;
// Where the time comes from.
mod clock;
// What can go wrong.
mod error;
// All of it out of a configuration.
#[cfg(feature = "config")]
mod config;
// The trait, and the stores.
pub mod store;
// The public suite that every store must pass; its documented path is `store::conformance`.
#[cfg(feature = "conformance")]
#[doc(hidden)]
pub mod conformance;

pub mod guide;

#[cfg(feature = "axum")]
mod axum;

pub use ::cookie::SameSite;

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use self::axum::Owner;
pub use self::builder::{CacheHeaders, OnStoreFailure, SessionLayerBuilder};
pub use self::clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "config")]
#[cfg_attr(docsrs, doc(cfg(feature = "config")))]
pub use self::config::{ConfiguredStore, SessionConfig};
pub use self::cookie::{SessionCookie, SessionCookieBuilder};
pub use self::error::{ConfigError, Error, StoreError};
pub use self::event::{KeyPrefix, Operation, Refusal, SessionEvent};
pub use self::future::ResponseFuture;
pub use self::import::{CookieSignature, ImportFuture, ImportLayer, ImportService, Imported};
pub use self::layer::{Owners, SessionLayer};
pub use self::record::SessionHandle;
pub use self::respond::EmptyBody;
pub use self::service::SessionService;
pub use self::session::{LazySession, Readable, Session, SessionKey, SessionView, TypedSession};
#[cfg(feature = "cached")]
#[cfg_attr(docsrs, doc(cfg(feature = "cached")))]
pub use self::store::cached::{CachedStore, CachedStoreBuilder};
#[cfg(feature = "cookie")]
#[cfg_attr(docsrs, doc(cfg(feature = "cookie")))]
pub use self::store::cookie::{CookieKey, CookieStore, CookieStoreBuilder};
#[cfg(all(feature = "file", unix))]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
pub use self::store::file::{Durability, FileStore, FileStoreBuilder};
pub use self::store::key_value::{KeyValue, KeyValueStore};
#[cfg(feature = "memory")]
#[cfg_attr(docsrs, doc(cfg(feature = "memory")))]
pub use self::store::memory::{MemoryStore, MemoryStoreBuilder};
pub use self::store::moving::MovingStore;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::store::redis::{RedisSource, RedisStore, RedisStoreBuilder};
pub use self::store::sealed::Sealed;
#[cfg(feature = "mysql")]
#[cfg_attr(docsrs, doc(cfg(feature = "mysql")))]
pub use self::store::sql::{MySqlStore, MySqlStoreBuilder};
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub use self::store::sql::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub use self::store::sql::{SqliteStore, SqliteStoreBuilder};
pub use self::store::{OwnedSession, SessionStore};
pub use self::token::{SessionToken, StoreKey, TokenShape};

/// The README's examples, compiled.
#[cfg(all(doctest, feature = "axum", feature = "memory"))]
#[doc = include_str!("../README.md")]
struct Readme;
