//! Owners: their sessions, revocations and limits (promise 27).

mod limit;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
