//! The bodies of the targets, which the tests run as well.

#[path = "../../tests/hostile/fuzz/bodies/mod.rs"]
pub mod bodies;
