// A store in an `Arc`, as other crates want it.
//~ `Arc<MemoryStore>` is no session store
//~ stores are handed over by value, not in an `Arc`, a `Box` or a `Result`
use std::sync::Arc;
use tower_session_layer::{MemoryStore, SessionLayer};

fn main() {
    let _ = SessionLayer::builder(Arc::new(MemoryStore::new())).build();
}
