//! What a response carries, and which options are refused (promises 17 to 19).

mod caching;
mod cookie;
mod deploys;
mod options;
#[path = "../support/mod.rs"]
mod support;
