//! The store in PostgreSQL behind PgBouncer, which hands out the server's connections by session or by transaction.

use std::fs;
use std::sync::Arc;

use http::StatusCode;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::task::JoinSet;
use tower_session_layer::{PostgresStore, Session, SessionLayer, SessionStore as _};

use super::postgres_server::Server;
use super::process::{Place, as_user, find, run};
use super::records::{MINUTE, at, record, token};
use crate::support::direct::{act, begin, values};

const CLIENTS: usize = 24;
/// Ten thousand in all.
const REQUESTS: usize = 417;
const PID: &str = "pid";

/// A PgBouncer of the test's own in front of a server, with fewer connections than there are clients.
struct Bouncer {
    place: Place,
    _server: Arc<Server>,
}

impl Bouncer {
    fn start(server: &Arc<Server>, mode: &str) -> Self {
        let program = find("pgbouncer", vec!["/usr/sbin".into()], "pgbouncer");
        let place = Place::new("postgres", PID);
        let (directory, of_server) = (place.directory.display(), server.directory().display());
        let settings = format!(
            "[databases]\n* = host={of_server} user=postgres\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {directory}\n\
             auth_type = any\npool_mode = {mode}\ndefault_pool_size = {}\nmax_client_conn = 200\n\
             ignore_startup_parameters = extra_float_digits\npidfile = {directory}/{PID}\nlogfile = {directory}/log\n",
            if mode == "session" { CLIENTS } else { 8 }
        );
        fs::write(place.path("ini"), settings).unwrap();
        let mut command = as_user("postgres", &program);
        // It begins to listen before it leaves for the background.
        run(command.args(["-q", "-d"]).arg(place.path("ini")));
        Self { place, _server: Arc::clone(server) }
    }

    /// A pool of as many connections as there are clients.
    fn pool(&self, statement_cache: usize) -> PgPool {
        let options = PgConnectOptions::new()
            .socket(&self.place.directory)
            .port(6432)
            .username("postgres")
            .database("postgres")
            .statement_cache_capacity(statement_cache);
        PgPoolOptions::new().max_connections(u32::try_from(CLIENTS).unwrap()).connect_lazy_with(options)
    }
}

/// What became of the requests.
#[derive(Debug, Default)]
struct Count {
    right: usize,
    unavailable: usize,
}

/// Starts a server and, in front of it, a PgBouncer, and returns a store on each.
async fn stores(mode: &str, statement_cache: usize) -> (PostgresStore, PostgresStore, Bouncer) {
    let server = Arc::new(Server::start());
    let bouncer = Bouncer::start(&server, mode);
    let store = |pool| PostgresStore::builder(pool).table("pooled").build().unwrap();
    let direct = store(server.pool_with(|options| options).await);
    direct.migrate().await.unwrap();
    (direct, store(bouncer.pool(statement_cache)), bouncer)
}

/// Sends the requests of all clients at once through a PgBouncer, each with sessions of its own, and checks all that was
/// answered.
async fn everybody_asks(mode: &str, statement_cache: usize) -> Count {
    let (direct, pooled, _bouncer) = stores(mode, statement_cache).await;
    let [direct, pooled] = [direct, pooled]
        .map(|store| SessionLayer::builder(store).cookie_name("sid").store_timeout(MINUTE).build().unwrap());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (direct, pooled) = (direct.clone(), pooled.clone());
            tokio::spawn(async move { ask(client, &direct, &pooled).await })
        })
        .collect();
    let mut count = Count::default();
    for client in clients {
        let Count { right, unavailable } = client.await.unwrap();
        count.right += right;
        count.unavailable += unavailable;
    }
    count
}

/// The requests of one client. Its sessions begin past the proxy.
async fn ask(client: usize, direct: &SessionLayer, pooled: &SessionLayer) -> Count {
    // A revocation that failed goes on in the background, so each session has another owner.
    let owner_of = |request| format!("owner {client} at {request}");
    let start = async |request| {
        let owner = owner_of(request);
        let sign_in = move |session: &Session| {
            session.insert("me", client)?;
            session.insert("n", 0)?;
            session.sign_in(&owner)
        };
        (owner_of(request), begin(direct, sign_in).await)
    };
    let mut count = Count::default();
    let (mut owner, mut token) = start(0).await;
    let (mut acknowledged, mut failed) = (0, 0);
    for request in 0..REQUESTS {
        // Not in the same order as others, so that statements of one name differ.
        let status = match (request + client) % 6 {
            0 | 3 => {
                let answer =
                    act(pooled, Some(&token), |session| session.get::<usize>("me").map(|me| format!("{me:?}"))).await;
                assert!(answer.status != StatusCode::OK || answer.body == format!("{:?}", Some(client)), "{answer:?}");
                answer.status
            }
            1 => match pooled.owners().list(&owner).await {
                Ok(listed) => {
                    assert_eq!(listed.len(), 1, "{listed:?}");
                    StatusCode::OK
                }
                Err(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            2 | 4 => {
                let add = |session: &Session| session.update("n", |n: Option<u64>| Some(n.unwrap() + 1));
                let status = act(pooled, Some(&token), add).await.status;
                *(if status == StatusCode::OK { &mut acknowledged } else { &mut failed }) += 1;
                status
            }
            _ => {
                // What has been acknowledged is there, and an end that is acknowledged is one.
                let n = values(direct, &token).await.expect("it was not ended")["n"].as_u64().unwrap();
                assert!(acknowledged <= n && n <= acknowledged + failed, "{acknowledged} and {failed}: {n}");
                let status = if request % 2 == 0 {
                    act(pooled, Some(&token), Session::destroy).await.status
                } else {
                    let owners = pooled.owners();
                    match owners.revoke_all(&owner).await {
                        Ok(_) => StatusCode::OK,
                        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
                    }
                };
                assert!(status != StatusCode::OK || values(direct, &token).await.is_none(), "the end was acknowledged");
                (owner, token) = start(request + 1).await;
                (acknowledged, failed) = (0, 0);
                status
            }
        };
        match status {
            StatusCode::SERVICE_UNAVAILABLE => count.unavailable += 1,
            status if status.is_success() => count.right += 1,
            other => panic!("{other}"),
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn proxy_that_pools_by_session_is_as_good_as_none() {
    let count = everybody_asks("session", 100).await;
    assert_eq!((count.right, count.unavailable), (CLIENTS * REQUESTS, 0));
}

/// Prepared statements are mixed up, with and without a cache of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn proxy_that_pools_by_transaction_is_an_error_and_never_the_data_of_another() {
    for statement_cache in [0, 100] {
        let count = everybody_asks("transaction", statement_cache).await;
        assert_eq!(count.right + count.unavailable, CLIENTS * REQUESTS);
        assert!(count.unavailable > 0, "the mode makes a difference");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn error_behind_a_proxy_that_pools_by_transaction_says_how_it_must_pool() {
    let (direct, pooled, _bouncer) = stores("transaction", 0).await;
    for n in 1..=8 {
        direct.create(&token(n), &record(n), at(0)).await.unwrap();
    }
    let asking: JoinSet<_> = (0..CLIENTS as u64)
        .map(|client| {
            let pooled = pooled.clone();
            async move {
                let mut errors = Vec::new();
                for _ in 0..32 {
                    errors.extend(pooled.load(&token(client % 8 + 1), at(1)).await.err());
                    errors.extend(pooled.owned("ada", at(1)).await.err());
                }
                errors
            }
        })
        .collect();
    let errors: Vec<_> = asking.join_all().await.into_iter().flatten().collect();
    assert!(!errors.is_empty());
    for error in errors {
        assert!(
            error
                .to_string()
                .contains("PostgreSQL: the pool must lead to the server or to a proxy that pools by session: "),
            "{error}"
        );
    }
}
