//! The Redis store on real servers: `cargo test --features redis --test redis`.
//!
//! The tests start and stop `redis-server` themselves.

#![allow(clippy::pedantic, missing_docs, unreachable_pub)]

mod admitted;
mod conformance;
mod connect;
mod counts;
mod eviction;
mod failover;
mod faults;
mod full;
mod key_value;
mod keys;
mod list;
mod owners;
mod proxy;
mod read_only;
mod server;
mod tls;
mod tokens;
