//! Nothing is lost, and nothing that ended comes back, whatever runs at the same time or breaks off (promises 9 to 15).

mod after_the_response;
mod cancellation;
mod concurrent_changes;
mod endings;
mod histories;
mod kept_handles;
mod kill;
mod learned_endings;
mod led_on;
mod lost_answers;
mod refused_sign_ins;
mod renew_after;
mod renewal;
#[path = "../support/mod.rs"]
mod support;
mod traces;
