//! What each store and each wrapper around one promises by itself (promises 9, 15, 16, 21 and 27).

mod cached;
mod conformance;
#[cfg(unix)]
mod file;
mod import;
mod key_value;
mod memory;
mod moving;
mod read_only;
mod sealed;
#[path = "../support/mod.rs"]
mod support;
mod wrappers;
