//! The store passes the public suite, on one server and on a Cluster, with two handles that take turns.

use std::sync::atomic::{AtomicUsize, Ordering};

use tower_session_layer::store::conformance::Subject;
use tower_session_layer::{RedisStore, session_store_conformance};

use super::server::{Cluster, Server};

async fn subject(url: &str) -> Subject {
    // Keys of its own make a store that others use an empty one.
    static PREFIX: AtomicUsize = AtomicUsize::new(0);
    let prefix = format!("law-{}:", PREFIX.fetch_add(1, Ordering::Relaxed));
    let one = RedisStore::builder(url).prefix(&prefix).build().await.unwrap();
    let other = RedisStore::builder(url).prefix(&prefix).build().await.unwrap();
    // A call takes a hundred times what it does in memory.
    Subject::new(one).with_other_handle(other).rounds(8)
}

mod standalone {
    use super::*;

    session_store_conformance!({
        let server = Server::start();
        subject(&server.url()).await.keeping(server)
    });
}

mod cluster {
    use super::*;

    session_store_conformance!({
        let cluster = Cluster::shared();
        subject(&cluster.url()).await.keeping(cluster)
    });
}
