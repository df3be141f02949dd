//! Every store of this crate passes the public suite.

use tower_session_layer::store::conformance::Subject;
use tower_session_layer::{CookieKey, CookieStore, Durability, FileStore, MemoryStore, session_store_conformance};

mod memory {
    use super::*;

    session_store_conformance!(MemoryStore::new());
}

mod cookie {
    use super::*;

    session_store_conformance!(client_side: CookieStore::new(CookieKey::new(&[7; 32]).unwrap()));
}

mod file {
    use super::*;

    fn subject() -> Subject {
        let directory = tempfile::tempdir().unwrap();
        let open = || FileStore::builder(directory.path()).durability(Durability::Process).build().unwrap();
        // A call takes a thousand times what it does in memory.
        Subject::new(open()).keeping(directory).rounds(4)
    }

    session_store_conformance!(subject());
}
