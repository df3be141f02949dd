//! Counters of sessions for Prometheus: the event hook, the log and the responses raise them, and `/metrics` shows them.
//! The guide's page on running a service says what each is for.
//!
//! `cargo run --example metrics -- --listen 127.0.0.1:3000`; port 0 picks one.

mod counters;
mod log;

use std::io::{Write as _, stdout};
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tower_session_layer::{Error, MemoryStore, Session, SessionKey, SessionLayer};
use tracing_subscriber::layer::SubscriberExt as _;

use self::counters::Metrics;

const VISITS: SessionKey<u64> = SessionKey::new("visits");

fn app(metrics: Arc<Metrics>) -> Result<Router, Box<dyn std::error::Error>> {
    let (counted, answered) = (Arc::clone(&metrics), Arc::clone(&metrics));
    // Plain http, so that any client keeps the cookie. Behind TLS, remove `insecure_http`.
    let sessions = SessionLayer::builder(MemoryStore::new())
        .insecure_http()
        .on_event(move |event| counted.count(event))
        .build()?;
    let counts = move |response: Response| {
        answered.answered(response.status());
        async move { response }
    };
    let content_type = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let shows = move || async move { (content_type, metrics.to_string()) };
    Ok(Router::new()
        .route("/", get(visit))
        .route("/sign-in", post(sign_in))
        .route("/sign-in/late", post(sign_in_too_late))
        .route("/sign-out", post(sign_out))
        .route("/sign-out/everywhere", post(sign_out_everywhere))
        .layer(sessions)
        // Around the session layer, which makes most of the 503s.
        .layer(map_response(counts))
        // Outside the layers, because a scraper has no session. A real service hides this route from the public.
        .route("/metrics", get(shows)))
}

async fn visit(session: Session) -> Result<String, Error> {
    VISITS.update(&session, |visits| Some(visits.unwrap_or(0) + 1))?;
    Ok(format!("visit {}\n", VISITS.get(&session)?.unwrap_or_default()))
}

async fn sign_in(session: Session) -> Result<&'static str, Error> {
    session.sign_in("ada")?;
    Ok("hello ada\n")
}

/// Signs in while the owner is revoked, as when the password changes at the same time. The sign-in is refused with 503,
/// so that you can try the alarm.
async fn sign_in_too_late(session: Session) -> Result<&'static str, Error> {
    session.sign_in("ada")?;
    session.owners().revoke_all("ada").await?;
    Ok("hello ada\n")
}

async fn sign_out(session: Session) -> Result<&'static str, Error> {
    session.destroy()?;
    Ok("bye\n")
}

async fn sign_out_everywhere(session: Session) -> Result<String, Error> {
    let ended = session.owners().revoke_all("ada").await?;
    Ok(format!("{ended} ended\n"))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metrics: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let address = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => "127.0.0.1:3000",
        ["--listen", address] => address,
        _ => return Err("expected no argument, or --listen ADDR".into()),
    };
    let metrics = Arc::new(Metrics::new());
    // A real service adds the layer that writes its log.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(log::counting(Arc::clone(&metrics))))?;
    let cannot = |error| format!("cannot listen on {address}: {error}");
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let line = format!("listening on http://{}\n", listener.local_addr().map_err(cannot)?);
    // One write, whose failure is ignored: stdout may be closed.
    let _ = stdout().write_all(line.as_bytes());
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(axum::serve(listener, app(metrics)?).with_graceful_shutdown(stop).await?)
}
