<<<<<<< HEAD:tests/stores/file.rs
//! The file store: several stores on one directory, what else may lie there, and what is left when a call is dropped.
=======
//! The file store: several stores on one directory, files of others in it, and the rest of a dropped call.
#![cfg(unix)]
>>>>>>> b-files:tests/file_store/main.rs

mod contract;
mod hostile;
mod log;
mod owners;
mod shared;
mod support;
mod sweeping;
