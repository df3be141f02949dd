//! Failures of the store and of the handler (promises 14, 23 and 24).

mod commits;
mod loads_and_handlers;
mod panics;
mod readiness;
#[path = "../support/mod.rs"]
mod support;
