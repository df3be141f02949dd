//! The file store: several stores on one directory, what else may lie there, and what is left when a call is dropped.
#![cfg(unix)]

mod contract;
mod hostile;
mod owners;
mod shared;
mod support;
mod sweeping;
