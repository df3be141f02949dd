//! What is done with arbitrary bytes, by libFuzzer on nightly and by the tests everywhere.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "each user takes a part of this"
)]

pub mod choices;
pub mod cookies;
// The decoders of the stores are private but for the fuzzer; the crate's own tests run this on stable.
#[cfg(fuzzing)]
pub mod formats;
pub mod records;
pub mod requests;
pub mod sealed;
