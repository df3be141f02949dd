//! Timeouts, expiry and clocks (promises 20 to 22).

mod clocks;
mod expiry;
mod lifetime;
#[path = "../support/mod.rs"]
mod support;
mod uses;
