//! A Cluster that loses a master under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinSet;
use tower_session_layer::SessionLayer;

use super::faults::{layer, store};
use super::server::Cluster;
use crate::support::Answer;
use crate::support::direct::{act, begin, values};

const SESSIONS: usize = 12;

async fn count(layer: &SessionLayer, token: &str) -> Answer {
    let answer =
        act(layer, Some(token), |session| session.update("count", |count: Option<u64>| Some(count.unwrap() + 1)));
    let answer = answer.await;
    let is_right = answer.status.is_success() || answer.status == StatusCode::SERVICE_UNAVAILABLE;
    assert!(is_right && answer.set_cookies().is_empty(), "{answer:?}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn master_killed_under_load_is_503_until_its_replica_takes_over() {
    let cluster = Cluster::start(1);
    // The replicas have all that there was before.
    for node in &cluster.nodes {
        if node.text(&["INFO", "replication"]).await.contains("role:slave") {
            node.wait_for("MASTER <-> REPLICA sync: Finished with success");
        }
    }
    let layer = layer(&store(&cluster.url()).await, Duration::from_millis(500));
    let patient = self::layer(&store(&cluster.url()).await, Duration::from_secs(600));
    let mut tokens = Vec::new();
    for _ in 0..SESSIONS {
        tokens.push(begin(&patient, |session| session.insert("count", 0)).await);
    }
    let ended = Arc::new(AtomicBool::new(false));
    let mut written = vec![0_u64; SESSIONS];
    let mut writers = JoinSet::new();
    for (index, token) in tokens.clone().into_iter().enumerate() {
        let (layer, ended) = (layer.clone(), Arc::clone(&ended));
        writers.spawn(async move {
            let (mut acknowledged, mut refused) = (0_u64, 0_u64);
            while !ended.load(SeqCst) {
                if count(&layer, &token).await.status.is_success() {
                    acknowledged += 1;
                } else {
                    refused += 1;
                }
            }
            (index, acknowledged, refused)
        });
    }
    for token in &tokens {
        while values(&patient, token).await.unwrap()["count"] == 0 {}
    }
    let master = &cluster.nodes[0];
    assert!(master.text(&["INFO", "replication"]).await.contains("role:master"));
    assert!(master.number(&["DBSIZE"]).await > 0, "with twelve sessions each master has some");
    master.kill();
    let begun = std::time::Instant::now();
    // Until every session can be written again.
    let mut tries = 0;
    while {
        let mut refused = 0;
        for (token, written) in tokens.iter().zip(&mut written) {
            let is_written = count(&layer, token).await.status.is_success();
            *written += u64::from(is_written);
            refused += usize::from(!is_written);
        }
        refused > 0
    } {
        tries += 1;
        assert!(tries < 10_000, "the replica has not taken over");
    }
    let took = begun.elapsed();
    ended.store(true, SeqCst);
    let mut all_refused = 0;
    while let Some(writer) = writers.join_next().await {
        let (index, acknowledged, refused) = writer.unwrap();
        written[index] += acknowledged;
        all_refused += refused;
    }
    // A write that was refused may have been done, so these are the fewest that can have been lost.
    let mut lost = 0;
    for (token, written) in tokens.iter().zip(&written) {
        let stored = values(&patient, token).await.unwrap()["count"].as_u64().unwrap();
        lost += written.saturating_sub(stored);
    }
    let all: u64 = written.iter().sum();
    assert!(all_refused > 0, "the sessions of the master were refused meanwhile");
    eprintln!("failover: {all} acknowledged writes, {lost} lost, {all_refused} refused, all well after {took:?}");
}
