// What is no store.
//~ `HashMap<String, String>` is no session store
//~ expected a store, such as `MemoryStore::new()`, or a type with `impl SessionStore`
//~ `examples/custom_store.rs` show how to write one
use std::collections::HashMap;
use tower_session_layer::SessionLayer;

fn main() {
    let _ = SessionLayer::new(HashMap::<String, String>::new());
}
