//! Requests a second on every store, 64 at once, each with its own session.
//!
//! `cargo bench --all-features --bench stores [-- NAME]` prints a table; `-- --test` does everything once. The bench starts its
//! own servers, which share the machine with it.

#![allow(clippy::print_stdout, reason = "the table is for people")]

#[path = "support/clients.rs"]
#[allow(unreachable_pub, reason = "shared with another package")]
mod clients;
#[path = "support/engines.rs"]
#[allow(dead_code, unreachable_pub, clippy::pedantic, reason = "the servers are those of the tests")]
mod engines;

use std::time::Duration;

use http::header::HeaderValue;

use self::clients::{App, CLIENTS, System as _, rate, runtime, sign_up};
use self::engines::Engine;

const ENGINES: [&str; 7] = ["memory", "file", "SQLite", "Redis", "Redis Cluster of three", "PostgreSQL", "MariaDB"];

/// The length of a measurement.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    round: Duration,
    sessions: usize,
}

const FULL: Effort = Effort { rounds: 9, round: Duration::from_millis(500), sessions: 10_000 };
const ONCE: Effort = Effort { rounds: 1, round: Duration::ZERO, sessions: CLIENTS };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let effort = if arguments.iter().any(|argument| argument == "--test") { ONCE } else { FULL };
    let names = || arguments.iter().filter(|argument| !argument.starts_with("--"));
    println!("| store | loads/s | read-modify-writes/s | bytes a session |");
    println!("|---|---|---|---|");
    for engine in ENGINES {
        if names().count() == 0 || names().any(|name| engine.contains(name.as_str())) {
            runtime().block_on(measure(engine, effort));
        }
    }
}

async fn measure(name: &str, effort: Effort) {
    let engine = Engine::start(name).await;
    let layer = engine.layer().await;
    let cookies = sign_up(&layer, effort.sessions).await;
    let bytes = engine.bytes_a_session(engine.place(), cookies.len()).await;
    let bytes = bytes.map_or("–".to_owned(), |bytes| bytes.to_string());
    let loads = median(layer.load(), &cookies[..CLIENTS], effort).await;
    let writes = median(layer.write(), &cookies[..CLIENTS], effort).await;
    println!("| {name} | {loads:.0} | {writes:.0} | {bytes} |");
}

async fn median(app: impl App, cookies: &[HeaderValue], effort: Effort) -> f64 {
    let mut rates = Vec::new();
    for _ in 0..effort.rounds {
        rates.push(rate(app.clone(), cookies, effort.round).await);
    }
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
