//! Counters of session events for Prometheus: the event hook increments them, and `/metrics` shows them.
//!
//! `cargo run --example metrics -- --listen 127.0.0.1:3000`; port 0 picks one.

use std::fmt::{self, Display, Write as _};
use std::io::{Write as _, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tower_session_layer::{Error, MemoryStore, Operation, Refusal, Session, SessionEvent, SessionKey, SessionLayer};

const VISITS: SessionKey<u64> = SessionKey::new("visits");

/// The counters of one name, one for each value of a label. The values are fixed, so that no text of a client becomes a
/// time series. A counter that was never raised shows as 0, so that Prometheus sees its first rise.
struct Family {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    series: Vec<(&'static str, AtomicU64)>,
}

impl Family {
    fn new(name: &'static str, help: &'static str, label: &'static str, values: &[&'static str]) -> Self {
        Self { name, help, label, series: values.iter().map(|value| (*value, AtomicU64::new(0))).collect() }
    }

    fn alone(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, "", &[""])
    }

    fn add(&self, value: &str, by: usize) {
        if let Some((_, count)) = self.series.iter().find(|(known, _)| *known == value) {
            count.fetch_add(by as u64, Ordering::Relaxed);
        }
    }
}

/// Writes the text format of Prometheus, version 0.0.4.
impl Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, help, label, series } = self;
        writeln!(f, "# HELP {name} {help}\n# TYPE {name} counter")?;
        series.iter().try_for_each(|(value, count)| {
            let count = count.load(Ordering::Relaxed);
            if label.is_empty() {
                writeln!(f, "{name} {count}")
            } else {
                writeln!(f, "{name}{{{label}=\"{value}\"}} {count}")
            }
        })
    }
}

struct Metrics {
    created: Family,
    imported: Family,
    committed: Family,
    renewed: Family,
    refreshed: Family,
    ended: Family,
    refused: Family,
    conflicts: Family,
    dropped: Family,
    failed: Family,
}

impl Metrics {
    fn new() -> Self {
        let refused = ["malformed", "unknown", "dead", "other"];
        let operations = ["load", "commit", "touch", "renew", "list", "revoke", "sweep", "import", "other"];
        Self {
            created: Family::alone("sessions_created_total", "Sessions that began."),
            imported: Family::alone("sessions_imported_total", "Sessions imported from another library."),
            committed: Family::alone("session_commits_total", "Commits whose changes are durable."),
            renewed: Family::alone("sessions_renewed_total", "Sessions whose token was replaced, as by a sign-in."),
            refreshed: Family::alone("sessions_refreshed_total", "Deadlines that were moved."),
            ended: Family::new(
                "sessions_ended_total",
                "Sessions that were ended.",
                "how",
                &["destroyed", "emptied", "revoked", "limited"],
            ),
            refused: Family::new("session_tokens_refused_total", "Tokens that were not accepted.", "why", &refused),
            conflicts: Family::alone("session_conflicts_total", "Writes that conflicted and were tried again."),
            dropped: Family::alone("session_changes_dropped_total", "Requests whose session ended while they held it."),
            failed: Family::new("session_failures_total", "Operations that failed.", "operation", &operations),
        }
    }

    fn count(&self, event: &SessionEvent<'_>) {
        match event {
            SessionEvent::Created { .. } => self.created.add("", 1),
            SessionEvent::Imported { .. } => self.imported.add("", 1),
            SessionEvent::Committed { .. } => self.committed.add("", 1),
            SessionEvent::Renewed { .. } => self.renewed.add("", 1),
            SessionEvent::Refreshed { .. } => self.refreshed.add("", 1),
            SessionEvent::Removed { .. } => self.ended.add("emptied", 1),
            SessionEvent::Destroyed { .. } => self.ended.add("destroyed", 1),
            SessionEvent::Revoked { ended, .. } => self.ended.add("revoked", *ended),
            SessionEvent::Limited { ended, .. } => self.ended.add("limited", *ended),
            SessionEvent::Refused { why, .. } => self.refused.add(reason(*why), 1),
            SessionEvent::Conflict { tries, .. } => self.conflicts.add("", *tries),
            SessionEvent::Dropped { .. } => self.dropped.add("", 1),
            SessionEvent::Failed { operation, .. } => self.failed.add(name(*operation), 1),
            // Another version of the crate may add events.
            _ => {}
        }
    }

    fn text(&self) -> String {
        let Self { created, imported, committed, renewed, refreshed, ended, refused, conflicts, dropped, failed } =
            self;
        let mut text = String::new();
        for family in [created, imported, committed, renewed, refreshed, ended, refused, conflicts, dropped, failed] {
            // A write to a string cannot fail.
            let _ = write!(text, "{family}");
        }
        text
    }
}

fn reason(why: Refusal) -> &'static str {
    match why {
        Refusal::Malformed => "malformed",
        Refusal::Unknown => "unknown",
        Refusal::Dead(_) => "dead",
        _ => "other",
    }
}

fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::Load => "load",
        Operation::Commit => "commit",
        Operation::Touch => "touch",
        Operation::Renew => "renew",
        Operation::List => "list",
        Operation::Revoke => "revoke",
        Operation::Sweep => "sweep",
        Operation::Import => "import",
        _ => "other",
    }
}

fn app() -> Result<Router, Box<dyn std::error::Error>> {
    let metrics = Arc::new(Metrics::new());
    let counted = Arc::clone(&metrics);
    // Plain http, so that any client keeps the cookie. Behind TLS, remove `insecure_http`.
    let sessions = SessionLayer::builder(MemoryStore::new())
        .insecure_http()
        .on_event(move |event| counted.count(event))
        .build()?;
    let shows = move || async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.text()) };
    Ok(Router::new()
        .route("/", get(visit))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .layer(sessions)
        // Outside the layer, because a scraper has no session. A real service hides this route from the public.
        .route("/metrics", get(shows)))
}

async fn visit(session: Session) -> Result<String, Error> {
    VISITS.update(&session, |visits| Some(visits.unwrap_or(0) + 1))?;
    Ok(format!("visit {}\n", VISITS.get(&session)?.unwrap_or_default()))
}

async fn sign_in(session: Session) -> Result<impl IntoResponse, Error> {
    session.sign_in("ada")?;
    Ok("hello ada\n")
}

async fn sign_out(session: Session) -> Result<impl IntoResponse, Error> {
    session.destroy()?;
    Ok("bye\n")
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
    let cannot = |error| format!("cannot listen on {address}: {error}");
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let line = format!("listening on http://{}\n", listener.local_addr().map_err(cannot)?);
    // One write, whose failure is ignored: stdout may be closed.
    let _ = stdout().write_all(line.as_bytes());
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(axum::serve(listener, app()?).with_graceful_shutdown(stop).await?)
}
