// A store whose making may have failed.
//~ `Result<tower_session_layer::Sealed<MemoryStore>, ConfigError>` is no session store
//~ where `new` or `build` may fail use `?`
use tower_session_layer::{MemoryStore, Sealed, SessionLayer};

fn main() {
    let _ = SessionLayer::new(Sealed::new(MemoryStore::new()));
}
