//! The file store: several stores on one directory, what else may lie there, and what is left when a call is dropped.

mod contract;
mod hostile;
mod log;
mod owners;
mod shared;
mod support;
mod sweeping;
