// The same in front of what wraps stores.
//~ `Box<MemoryStore>` is no session store
use tower_session_layer::{MemoryStore, Sealed};

fn main() {
    let _ = Sealed::new(Box::new(MemoryStore::new()));
}
