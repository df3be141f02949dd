//! Requests a second on engines, compared with the stores of `tower-sessions`: 64 at once, each with its own session.
//!
//! Both systems use the same server and take turns. Each opens its connections as its documentation says: a pool of up to
//! ten for PostgreSQL and MariaDB; for Redis, one connection here and a pool of six there. The documentation of the peer does
//! not mention SQLite files, so it gets what our store opens: four connections, WAL.

#[path = "../../../support/clients.rs"]
mod clients;
#[path = "../../../support/engines.rs"]
#[allow(dead_code, reason = "the servers are those of the tests")]
mod engines;
mod peer;

use http::HeaderValue;
use peers::Options;
use peers::report::{columns, environment, heading, median, row, version};
use tower_session_layer::SessionLayer;

use self::clients::{CLIENTS, System, rate, runtime, sign_up};
use self::engines::Engine;

const ENGINES: [&str; 4] = ["Redis", "PostgreSQL", "MariaDB", "SQLite"];
/// The least ratios to the peer, of loads and of writes.
const LOADS: f64 = 1.0;
const WRITES: f64 = 0.9;

fn main() {
    let mut options = Options::from_args();
    if !ENGINES.into_iter().any(|name| options.wants(name)) {
        return;
    }
    // A round takes long here, so there are fewer.
    options.rounds = options.rounds.div_ceil(10);
    println!("{}", environment(&options));
    println!(
        "tower-sessions {} with tower-sessions-redis-store {} and tower-sessions-sqlx-store {}; load {}",
        version("tower-sessions", "0.14"),
        version("tower-sessions-redis-store", ""),
        version("tower-sessions-sqlx-store", ""),
        std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default(),
    );
    heading("Requests a second on engines, 64 at once, two threads, the server on the same machine");
    columns(&["engine", "work", "ours", "tower-sessions", "ratio", "bound", ""]);
    let mut sizes = Vec::new();
    for name in ENGINES.into_iter().filter(|name| options.wants(name)) {
        sizes.push((name, runtime().block_on(measure(&options, name))));
    }
    heading("Bytes a session of three small values, as the engine counts them");
    columns(&["engine", "ours", "tower-sessions", "ratio"]);
    for (name, [ours, theirs]) in sizes {
        row(&[name.to_owned(), ours.to_string(), theirs.to_string(), format!("{:.2}", ours as f64 / theirs as f64)]);
    }
}

/// Measures both systems at all works, and returns the bytes of a session of each.
async fn measure(options: &Options, name: &str) -> [u64; 2] {
    let engine = Engine::start(name).await;
    let ours = engine.layer().await;
    match &engine {
        Engine::Redis(server) => both(options, name, &engine, ours, peer::redis(server.port).await).await,
        Engine::Postgres(_) => both(options, name, &engine, ours, peer::postgres(&engine.url()).await).await,
        Engine::MySql(_) => both(options, name, &engine, ours, peer::mysql(&engine.url()).await).await,
        Engine::Sqlite(directory) => {
            let path = directory.path().join("peer.db");
            both(options, name, &engine, ours, peer::sqlite(&path).await).await
        }
        _ => unreachable!("these are all"),
    }
}

/// A system and its sessions.
struct Lane<S> {
    system: S,
    cookies: Vec<HeaderValue>,
    bytes: u64,
    loads: Vec<f64>,
    writes: Vec<f64>,
}

impl<S: System> Lane<S> {
    async fn new(options: &Options, engine: &Engine, place: &str, system: S) -> Self {
        let cookies = sign_up(&system, options.requests as usize / 2).await;
        let bytes = engine.bytes_a_session(place, cookies.len()).await.expect("an engine that says so");
        Self { system, cookies, bytes, loads: Vec::new(), writes: Vec::new() }
    }

    async fn load(&mut self, options: &Options) {
        self.loads.push(rate(self.system.load(), &self.cookies[..CLIENTS], options.batch * 1_000).await);
    }

    async fn write(&mut self, options: &Options) {
        self.writes.push(rate(self.system.write(), &self.cookies[..CLIENTS], options.batch * 1_000).await);
    }
}

async fn both(
    options: &Options,
    name: &str,
    engine: &Engine,
    ours: SessionLayer,
    theirs: peer::Peer<impl peer::Store>,
) -> [u64; 2] {
    let mut ours = Lane::new(options, engine, engine.place(), ours).await;
    let mut theirs = Lane::new(options, engine, theirs.place, theirs).await;
    for round in 0..options.rounds {
        if round % 2 == 0 {
            ours.load(options).await;
            theirs.load(options).await;
            ours.write(options).await;
            theirs.write(options).await;
        } else {
            theirs.load(options).await;
            ours.load(options).await;
            theirs.write(options).await;
            ours.write(options).await;
        }
    }
    print(name, "load", median(ours.loads), median(theirs.loads), LOADS);
    print(name, "read, modify, write", median(ours.writes), median(theirs.writes), WRITES);
    [ours.bytes, theirs.bytes]
}

fn print(name: &str, work: &str, ours: f64, theirs: f64, bound: f64) {
    let ratio = ours / theirs;
    row(&[
        name.to_owned(),
        work.to_owned(),
        format!("{ours:.0}"),
        format!("{theirs:.0}"),
        format!("{ratio:.2}"),
        format!("{bound:.1}"),
        if ratio >= bound { "ok" } else { "missed" }.to_owned(),
    ]);
}
