// What sessions cannot be kept in.
//~ `Arc<Map>` is no map that sessions can be kept in
//~ expected a type with `impl KeyValue`
//~ handed over by value
use std::sync::Arc;
use tower_session_layer::KeyValueStore;

struct Map;

fn main() {
    let _ = KeyValueStore::new(Arc::new(Map));
}
