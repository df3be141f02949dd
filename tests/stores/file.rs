//! The file store: several stores on one directory, files of others in it, and the rest of a dropped call.

mod contract;
mod gone;
mod hostile;
mod log;
mod owners;
mod shared;
mod support;
mod sweeping;
