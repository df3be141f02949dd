//! HTTP sessions as [tower](https://docs.rs/tower) middleware, for axum, hyper and tonic.
//!
//! [`SessionLayer`] loads the session from a store before the inner service runs, and puts it into the request's
//! extensions. When the inner service has answered, the layer commits the changes and writes `Set-Cookie`.
//!
//! ```
//! # #[cfg(all(feature = "axum", feature = "memory"))]
//! # fn main() -> Result<(), tower_session_layer::ConfigError> {
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use tower_session_layer::{Error, MemoryStore, Session, SessionKey, SessionLayer};
//!
//! const COUNTRY: SessionKey<String> = SessionKey::new("countryCode");
//!
//! async fn home(session: Session) -> Result<String, Error> {
//!     Ok(COUNTRY.get(&session)?.unwrap_or_default())
//! }
//!
//! let sessions = SessionLayer::builder(MemoryStore::new())
//!     .cookie_name("__Host-shop")
//!     .idle_timeout(Duration::from_secs(30 * 60))
//!     .build()?; // options that contradict each other are an error here
//! let app: Router = Router::new().route("/", get(home)).layer(sessions);
//! # let _ = app;
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "axum", feature = "memory")))]
//! # fn main() {}
//! ```
//!
//! # What happens to a request
//!
//! 1. **In.** The layer scans the `Cookie` headers once and ignores every value that is not exactly a token of the
//!    store's shape. It loads at most four candidates, and the first live session wins. Without a cookie it does not
//!    call the store.
//! 2. **Inner service.** The handler takes the [`Session`] from the request's extensions, reads and changes it without
//!    waiting, and may [`commit`](Session::commit) in between. Each change goes into the change log.
//! 3. **Out.** The layer writes all changes with one compare-and-swap. On a conflict it replays the change log on the
//!    record that the other request stored, so no update is lost. A session that was destroyed or revoked meanwhile
//!    stays ended, and the old token of a session that was renewed meanwhile stays dead. Last, the layer adds the
//!    cookie, `Cache-Control: no-store` and `Vary: Cookie` to the response if they are due.
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
//! | [`KeyValueStore`] | | a map that compares and swaps | etcd, `DynamoDB`, object stores and the like |
//! | your own | | an implementation of [`SessionStore`] | the feature `conformance` has the tests that it must pass |
//!
//! [`Sealed`] wraps a server-side store and encrypts the values: only the client's token decrypts them.
#![cfg_attr(
    feature = "cached",
    doc = "[`CachedStore`] (feature `cached`) wraps a store that is far away and answers repeated reads from this process."
)]
//!
//! # Features
//!
//! Features are additive. Each store and wrapper above has a feature of its own, except [`KeyValueStore`] and
//! [`Sealed`], which need none. The other features are:
//!
//! | feature | adds |
//! |---|---|
//! | `axum` (default) | [`Session`], [`SessionView`], [`TypedSession`], [`LazySession`] and `Owner` (the person who signed in) as extractors |
//! | `config` | `SessionConfig`: the store and all options from a configuration file or the environment |
//! | `import` | `ImportLayer`: imports live sessions of another library |
//! | `moving` | `MovingStore`: moves sessions from one server-side store to another |
//! | `conformance` | the public test suite for stores |
//!
//! Without the feature `axum`, a handler with such an argument does not compile: axum reports that it does not
//! implement `Handler`. Outside axum, [`Session::from_extensions`] returns the session.
//!
//! Rust 1.89 or later; the SQL stores need 1.94.
//!
//! # Failure
//!
//! If the store fails, or takes longer than the store timeout, the layer answers 503 (gRPC: `UNAVAILABLE`). It never
//! treats the client as anonymous instead, and it leaves the client's cookie as it is. If a change cannot be stored, a
//! 503 replaces the handler's response.
//!
//! The [guide] has the threat model, the reason for each default, and pages on deploying, testing, moving here from
//! another library, and writing a store.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

// The fuzz bodies use the crate by its name, in its own unit tests too.
#[cfg(test)]
extern crate self as tower_session_layer;

// The floors, from the top: a module uses only those below it. `ARCHITECTURE.md` follows a request through them.
//
// A layer built from a configuration file or the environment.
#[cfg(feature = "config")]
mod config;
// Pages of documentation.
pub mod guide;
// The public suite that every store must pass; its documented path is `store::conformance`.
#[cfg(feature = "conformance")]
#[doc(hidden)]
pub mod conformance;
// A layer's options and their validation.
mod builder;
// Sessions that another library began.
#[cfg(feature = "import")]
mod import;
// The layer.
mod layer;
// A request on its way in.
mod service;
// Load, inner service, commit.
mod future;
// Any store behind one type.
mod backend;
// A response on its way out.
mod respond;
// Turns a request's changes into store calls.
mod commit;
// Sessions as axum extractors.
#[cfg(feature = "axum")]
mod axum;
// The session as a handler sees it.
mod session;
// The trait, and the stores.
pub mod store;
// Name, attributes and parsing of the cookie.
mod cookie;
// Events for the log and for a program's hook.
mod event;
// The source of tokens.
mod random;
// The program's secret keys.
mod key;
// Errors.
mod error;
// When a session ends.
mod lifetime;
// The record that a store keeps.
mod record;
// The source of time.
mod clock;
// The client's token, and the store key that is made from it.
mod token;

pub use ::cookie::SameSite;

#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use self::axum::Owner;
pub use self::builder::{OnStoreFailure, SessionLayerBuilder};
pub use self::clock::{Clock, ManualClock, SystemClock};
#[cfg(feature = "config")]
#[cfg_attr(docsrs, doc(cfg(feature = "config")))]
pub use self::config::{ConfiguredStore, SessionConfig};
pub use self::cookie::{SessionCookie, SessionCookieBuilder};
pub use self::error::{ConfigError, Error, StoreError};
pub use self::event::{KeyPrefix, Operation, Refusal, SessionEvent};
pub use self::future::ResponseFuture;
#[cfg(feature = "import")]
#[cfg_attr(docsrs, doc(cfg(feature = "import")))]
pub use self::import::{CookieSignature, ImportFuture, ImportLayer, ImportService, Imported};
pub use self::key::CookieKey;
pub use self::layer::SessionLayer;
pub use self::record::SessionHandle;
pub use self::respond::EmptyBody;
pub use self::service::SessionService;
pub use self::session::{
    CacheHeaders, LazySession, Owners, Readable, Session, SessionKey, SessionView, TypedSession, ValueOf,
};
#[cfg(feature = "cached")]
#[cfg_attr(docsrs, doc(cfg(feature = "cached")))]
#[doc(inline)]
pub use self::store::cached::{CachedStore, CachedStoreBuilder};
#[cfg(feature = "cookie")]
#[cfg_attr(docsrs, doc(cfg(feature = "cookie")))]
#[doc(inline)]
pub use self::store::cookie::{CookieStore, CookieStoreBuilder};
#[cfg(all(feature = "file", unix))]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
#[doc(inline)]
pub use self::store::file::{Durability, FileStore, FileStoreBuilder};
#[doc(inline)]
pub use self::store::key_value::{KeyValue, KeyValueStore};
#[cfg(feature = "memory")]
#[cfg_attr(docsrs, doc(cfg(feature = "memory")))]
#[doc(inline)]
pub use self::store::memory::{MemoryStore, MemoryStoreBuilder};
#[cfg(feature = "moving")]
#[cfg_attr(docsrs, doc(cfg(feature = "moving")))]
#[doc(inline)]
pub use self::store::moving::MovingStore;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
#[doc(inline)]
pub use self::store::redis::{RedisSource, RedisStore, RedisStoreBuilder};
#[doc(inline)]
pub use self::store::sealed::Sealed;
#[cfg(feature = "mysql")]
#[cfg_attr(docsrs, doc(cfg(feature = "mysql")))]
#[doc(inline)]
pub use self::store::sql::{MySqlStore, MySqlStoreBuilder};
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
#[doc(inline)]
pub use self::store::sql::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
#[doc(inline)]
pub use self::store::sql::{SqliteStore, SqliteStoreBuilder};
#[doc(inline)]
pub use self::store::{OwnedSession, SessionStore};
pub use self::token::{SessionToken, StoreKey, TokenScope, TokenShape};

/// The README's examples, compiled.
#[cfg(all(doctest, feature = "axum", feature = "memory"))]
#[doc = include_str!("../README.md")]
struct Readme;
