//! What standards ask of session middleware and what has gone wrong elsewhere, by the ids of `src/guide/demands.md`: the tests
//! that stand nowhere else, and one that holds the table to the tests.

mod caches;
mod failures;
mod identifier;
mod incidents;
mod lifetimes;
mod read_cookies;
mod revocation;
mod sealed;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod written_cookie;
