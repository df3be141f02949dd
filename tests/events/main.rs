//! What the log, the spans and the hook `on_event` tell, and what they never tell (promises 30 and 31).

mod hooks;
mod log;
mod metrics;
mod page;
mod running;
mod secrets;
mod spans;
#[path = "../support/mod.rs"]
mod support;
