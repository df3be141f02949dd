//! Requests that do nothing cost nothing (promises 1 to 3 and 29).

mod allocations;
mod lazy;
mod lifecycle;
#[path = "../support/mod.rs"]
mod support;
