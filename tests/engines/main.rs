//! The stores on database engines, on real servers that the tests start and stop: `cargo test --features redis --test engines`.
//!
//! Each store is behind its feature. A server that is not installed fails its tests.
#![cfg(any(feature = "redis", feature = "sqlite", feature = "postgres", feature = "mysql"))]

#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod sql;
#[path = "../support/mod.rs"]
mod support;
