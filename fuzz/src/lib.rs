//! The bodies of the targets, which the tests run as well.

#[path = "../../tests/fuzz/bodies/mod.rs"]
pub mod bodies;
