//! Nothing is lost, and nothing that ended comes back, whatever runs at the same time or breaks off (promises 9 to 15).

mod cancellation;
mod concurrent_changes;
mod endings;
mod histories;
mod kept_handles;
mod kill;
mod late_calls;
mod led_on;
mod lost_answers;
mod refused_sign_ins;
mod renew_after;
mod renewal;
#[path = "../support/mod.rs"]
mod support;
