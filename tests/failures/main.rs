//! Failures of the store and of the handler (promises 14, 23 and 24).

mod commits;
mod loads_and_handlers;
#[path = "../support/mod.rs"]
mod support;
