//! Concurrent histories on every store: whatever goes wrong, some order of what was acknowledged explains what is left.
//!
//! `HISTORIES=10000` says how many (files: a fifth, engines: a tenth of them), `HISTORY_SEED=42` runs that one alone; each
//! that fails names its seed. In this process a seed is always the same history. (On a store that waits, two sessions may share a queue by the chance of their
//! tokens, which no seed decides.) The stores on engines are behind their features.

mod chance;
mod chaos;
mod check;
mod turns;
mod world;

#[cfg(any(feature = "redis", feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod engines;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tower_session_layer::{FileStore, MemoryStore, SessionStore};

use crate::support::key_value::Map;

use self::chance::Chance;
use self::chaos::Faults;
use self::turns::Turns;
use self::world::{BROWSERS, World};

/// How many histories there are unless `HISTORIES` says so.
const DEFAULT: u64 = 100;

/// A store and what is peculiar to it.
struct Subject<S> {
    store: S,
    is_immediate: bool,
    /// Whether time is paused, so that a call may hang until it is given up.
    is_conducted: bool,
}

/// The seeds that are asked for, of which a slower store runs the first of so many shares.
fn seeds(share: u64) -> Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("HISTORY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HISTORIES").unwrap_or(DEFAULT).div_ceil(share),
    }
}

/// Runs the history of a seed; what happened, and what is wrong with it.
async fn history<S: SessionStore>(subject: Subject<S>, seed: u64) -> (Arc<World>, check::Found, Vec<String>) {
    let chance = Chance::new(seed);
    // A quarter of the histories have no faults.
    let rate = [0, 2, 4, 8][chance.below(4)];
    let faults = Faults::new(chance.clone(), rate, subject.is_conducted && !subject.is_immediate);
    let turns = if subject.is_conducted { Turns::conducted(chance.clone()) } else { Turns::free(chance.clone()) };
    // No two histories share an owner.
    let world = World::new(subject.store, subject.is_immediate, &format!("h{seed}"), (turns, chance, faults.clone()));
    let (mut wrong, mut found) = (Vec::new(), check::Found::new());
    for _ in 0..2 {
        world.burst().await;
        faults.rest(usize::MAX);
        world.turns.settle().await;
        found.clear();
        for browser in 0..BROWSERS {
            let tokens = world.log().tokens[browser].clone();
            let mut shown = BTreeMap::new();
            for token in tokens {
                if let Some(seen) = world.look(browser, &token).await {
                    shown.insert(token, seen);
                }
            }
            found.push(shown);
        }
        wrong.extend(check::check(&world.log(), &found));
        faults.rest(0);
    }
    (world, found, wrong)
}

/// Runs many histories, each on a store that this makes.
async fn histories<S: SessionStore>(what: &str, share: u64, make: impl AsyncFn() -> Subject<S>) {
    let seeds = seeds(share);
    let (mut requests, mut faults, mut bad) = (0, 0, 0);
    for seed in seeds.clone() {
        let (world, _, wrong) = Box::pin(history(make().await, seed)).await;
        requests += world.log().asked.len();
        faults += world.faults.count();
        bad += usize::from(!wrong.is_empty());
        if !wrong.is_empty() && bad <= 3 {
            eprintln!("{what}: HISTORY_SEED={seed} cargo test --test races histories: {}", wrong.join("\n  "));
        }
    }
    eprintln!("{what}: {seeds:?}, {requests} requests, {faults} faults, {bad} histories without an explanation");
    assert_eq!(bad, 0, "{what}");
}

#[tokio::test(start_paused = true)]
async fn histories_in_memory_are_explained() {
    let make = async || Subject { store: MemoryStore::new(), is_immediate: true, is_conducted: true };
    histories("memory", 1, make).await;
}

#[tokio::test(start_paused = true)]
async fn histories_in_memory_that_waits_are_explained() {
    let make = async || Subject { store: MemoryStore::new(), is_immediate: false, is_conducted: true };
    histories("memory that waits", 1, make).await;
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn histories_in_files_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    let store = FileStore::builder(directory.path()).durability(tower_session_layer::Durability::Process);
    let store = store.build().unwrap();
    let make = async || Subject { store: store.clone(), is_immediate: false, is_conducted: true };
    histories("files", 5, make).await;
}

#[tokio::test(start_paused = true)]
async fn histories_in_a_map_are_explained() {
    let make = async || Subject { store: Map::default().store(), is_immediate: false, is_conducted: true };
    histories("a map", 1, make).await;
}

#[tokio::test(start_paused = true)]
async fn seed_is_always_the_same_history() {
    for seed in 0..20 {
        let run = async || {
            let store = MemoryStore::new();
            let subject = Subject { store: store.clone(), is_immediate: true, is_conducted: true };
            let (world, found, _) = history(subject, seed).await;
            let log = world.log();
            // Tokens are random all the same.
            let asked = log.asked.iter().map(|asked| (asked.seen.clone(), asked.status, asked.start, asked.end));
            let mut live: Vec<_> = found.iter().flat_map(BTreeMap::values).map(|seen| seen.marks.clone()).collect();
            live.sort();
            (asked.collect::<Vec<_>>(), live)
        };
        assert_eq!(run().await, run().await, "seed {seed}");
    }
}
