//! HTTP sessions as tower middleware.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

// The map, in the order in which a request meets the modules.
//
mod cookie;
// What the client holds, and what of it may leave the process.
mod token;
// What a store keeps.
mod record;
// Where the time comes from.
mod clock;
// What can go wrong.
mod error;
// The trait, and the stores.
pub mod store;

pub use ::cookie::SameSite;

pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::cookie::{SessionCookie, SessionCookieBuilder};
pub use self::error::{ConfigError, Error, StoreError};
pub use self::record::{DecodeError, Head, Record, SessionHandle, Tombstone, TombstoneKind, Version};
pub use self::store::SessionStore;
#[cfg(all(feature = "file", unix))]
pub use self::store::file::FileStore;
pub use self::token::{SessionToken, StoreKey, TokenShape};
