//! HTTP sessions as tower middleware.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

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
// Where tokens come from.
mod random;
// Where the time comes from.
mod clock;
// What can go wrong.
mod error;
// The trait, and the stores.
pub mod store;

#[cfg(feature = "axum")]
mod axum;

pub use ::cookie::SameSite;

pub use self::builder::{CacheHeaders, OnStoreFailure, SessionLayerBuilder};
pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::cookie::{SessionCookie, SessionCookieBuilder};
pub use self::error::{ConfigError, Error, StoreError};
pub use self::future::ResponseFuture;
pub use self::layer::{Owners, SessionLayer};
pub use self::record::{DecodeError, Head, Record, SessionHandle, Tombstone, TombstoneKind, Version};
pub use self::service::SessionService;
pub use self::session::{Readable, Session, SessionKey, SessionView};
pub use self::store::SessionStore;
#[cfg(feature = "cookie")]
#[cfg_attr(docsrs, doc(cfg(feature = "cookie")))]
pub use self::store::cookie::{CookieKey, CookieStore, CookieStoreBuilder};
#[cfg(all(feature = "file", unix))]
#[cfg_attr(docsrs, doc(cfg(feature = "file")))]
pub use self::store::file::FileStore;
#[cfg(feature = "memory")]
#[cfg_attr(docsrs, doc(cfg(feature = "memory")))]
pub use self::store::memory::{MemoryStore, MemoryStoreBuilder};
pub use self::token::{SessionToken, StoreKey, TokenShape};
