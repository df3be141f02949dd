//! `tower-sessions` on engines, as the documentation of its stores sets them up.

use std::path::Path;
use std::time::Duration;

use http::{Request, Response};
use tower::{Layer as _, service_fn};
use tower_sessions_0_14::{Expiry, Session, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, Pool};
use tower_sessions_sqlx_store::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use tower_sessions_sqlx_store::sqlx::{MySqlPool, PgPool};
use tower_sessions_sqlx_store::{MySqlStore, PostgresStore, SqliteStore};

use crate::clients::{App, COUNT, Counted, System, TEXTS};

/// The stores that its layer accepts.
pub trait Store: SessionStore + Clone {}

impl<S: SessionStore + Clone> Store for S {}

/// The layer of `tower-sessions`, with a store.
pub struct Peer<S: Store> {
    layer: SessionManagerLayer<S>,
    /// The place of its sessions: a file, a pattern of keys, or a table.
    pub place: &'static str,
}

impl<S: Store> Peer<S> {
    /// Creates it with an expiry on inactivity, as in its examples, but of our default length.
    fn new(store: S, place: &'static str) -> Self {
        Self {
            layer: SessionManagerLayer::new(store).with_expiry(Expiry::OnInactivity(time::Duration::days(7))),
            place,
        }
    }
}

pub async fn redis(port: u16) -> Peer<impl Store> {
    let config = Config::from_url(&format!("redis://127.0.0.1:{port}")).expect("a URL");
    let pool = Pool::new(config, None, None, None, 6).expect("a pool");
    pool.connect();
    pool.wait_for_connect().await.expect("the server");
    // Its keys are session ids of 22 characters.
    Peer::new(RedisStore::new(pool), "??????????????????????")
}

pub async fn postgres(url: &str) -> Peer<impl Store> {
    let store = PostgresStore::new(PgPool::connect(url).await.expect("the server"));
    store.migrate().await.expect("a table");
    Peer::new(store, "tower_sessions.session")
}

pub async fn mysql(url: &str) -> Peer<impl Store> {
    let store = MySqlStore::new(MySqlPool::connect(url).await.expect("the server"));
    store.migrate().await.expect("a table");
    Peer::new(store, "tower_sessions/session")
}

pub async fn sqlite(path: &Path) -> Peer<impl Store> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).busy_timeout(Duration::from_secs(4));
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.expect("a file");
    let store = SqliteStore::new(pool);
    store.migrate().await.expect("a table");
    Peer::new(store, "peer.db")
}

/// Returns the session, as its extractor does.
fn session(request: &Request<()>) -> Session {
    request.extensions().get::<Session>().cloned().expect("the layer is there")
}

impl<S: Store> System for Peer<S> {
    fn fill(&self) -> impl App {
        self.layer.layer(service_fn(async |request: Request<()>| {
            for (key, text) in TEXTS {
                session(&request).insert(key, text).await.expect("a store");
            }
            session(&request).insert(COUNT, 100_000).await.expect("a store");
            Ok(Response::new(()))
        }))
    }

    fn load(&self) -> impl App {
        self.layer.layer(service_fn(async |request: Request<()>| {
            let [(key, text), _] = TEXTS;
            assert_eq!(session(&request).get::<String>(key).await.expect("a store").as_deref(), Some(text));
            Ok(Response::new(()))
        }))
    }

    fn write(&self) -> impl App {
        self.layer.layer(service_fn(async |request: Request<()>| {
            let session = session(&request);
            let count = session.get::<u64>(COUNT).await.expect("a store").expect("the session is there") + 1;
            session.insert(COUNT, count).await.expect("a store");
            Ok(Counted(count).answer())
        }))
    }
}
