//! Every store of this crate passes the public suite.

use std::time::Duration;

use crate::support::key_value::Map;
use crate::support::{Backend, TestStore};
use tower_session_layer::store::conformance::Subject;
use tower_session_layer::{
    CachedStore, CookieKey, CookieStore, Durability, FileStore, MemoryStore, Sealed, SessionStore,
    session_store_conformance,
};

/// What a wrapper adds shows at each place where its calls are suspended, which the laws try whatever the rounds.
pub(super) const WRAPPED: usize = 20;

mod memory {
    use super::*;

    session_store_conformance!(MemoryStore::new());
}

mod cookie {
    use super::*;

    session_store_conformance!(client_side: CookieStore::new(CookieKey::new(&[7; 32]).unwrap()));
}

mod cookie_with_revocations {
    use super::*;

    fn store(list: impl SessionStore) -> CookieStore {
        CookieStore::builder([CookieKey::new(&[7; 32]).unwrap()]).revocations(list).build().unwrap()
    }

    session_store_conformance!(client_side: store(MemoryStore::new()));
}

mod file {
    use super::*;

    session_store_conformance!(files(|store| store).rounds(4));
}

mod sealed_memory {
    use super::*;

    session_store_conformance!(Subject::new(Sealed::new(MemoryStore::new()).unwrap()).rounds(WRAPPED));
}

mod sealed_file {
    use super::*;

    // One call each of the store inside, whose races have their rounds above.
    session_store_conformance!(files(|store| Sealed::new(store).unwrap()).rounds(1));
}

mod key_value {
    use super::*;

    session_store_conformance!({
        let map = Map::default();
        Subject::new(map.store()).with_other_handle(map.store())
    });
}

mod sealed_key_value {
    use super::*;

    session_store_conformance!(Subject::new(Sealed::new(Map::default().store()).unwrap()).rounds(WRAPPED));
}

/// Everything goes through one cache here, so that it must not show however long it keeps what it has read.
fn cached<S: SessionStore>(back: S) -> CachedStore<S> {
    CachedStore::builder(back).max_staleness(Duration::from_secs(24 * 60 * 60)).build().unwrap()
}

mod cached_memory {
    use super::*;

    session_store_conformance!(Subject::new(cached(MemoryStore::new())).rounds(WRAPPED));
}

mod cached_remote {
    use super::*;

    session_store_conformance!(Subject::new(cached(TestStore::new(Backend::Remote))).rounds(WRAPPED));
}

mod cached_sealed {
    use super::*;

    session_store_conformance!(Subject::new(cached(Sealed::new(MemoryStore::new()).unwrap())).rounds(WRAPPED));
}

/// A store on top of files in a directory of its own, where a call takes a thousand times what it does in memory.
fn files<S: SessionStore>(wrap: impl FnOnce(FileStore) -> S) -> Subject {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::builder(directory.path()).durability(Durability::Process).build().unwrap();
    Subject::new(wrap(store)).keeping(directory)
}
