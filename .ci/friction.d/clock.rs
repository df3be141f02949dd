// A time in place of a clock.
//~ `SystemTime` is no clock for sessions
//~ expected `SystemClock`, `ManualClock` or a type with `impl Clock`
//~ tests use `ManualClock`
use std::time::SystemTime;
use tower_session_layer::{MemoryStore, SessionLayer};

fn main() {
    let _ = SessionLayer::builder(MemoryStore::new()).clock(SystemTime::now()).build();
}
