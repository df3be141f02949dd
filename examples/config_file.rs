//! One program on any store, chosen by its configuration alone: a diary that lasts as long as the session.
//!
//! `cargo run --example config_file --features config -- --config examples/config/memory.toml` starts it. The other files in that
//! folder are for the other stores; an engine's file needs the feature of the engine. Environment variables override the
//! file: `SHOP_SESSION_STORE=memory:`, `SHOP_SESSION_REDIS_PREFIX=test:`.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use axum::Router;
use axum::extract::Path as UrlPath;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tower_session_layer::{Error, Session, SessionConfig, SessionKey, SessionView};

const NOTES: SessionKey<Vec<String>> = SessionKey::new("notes");

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("config_file: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), String> {
    let (address, file) = arguments()?;
    let config = read(Path::new(&file)).map_err(|error| format!("{file}: {error}"))?;
    let config = config.override_with_env("SHOP_SESSION_").map_err(|error| error.to_string())?;
    let sessions = config.build().await.map_err(|error| error.to_string())?;
    let app = Router::new()
        .route("/", get(show))
        .route("/note/{note}", post(note))
        .route("/in/{name}", post(sign_in))
        .route("/out", post(sign_out))
        .layer(sessions);

    let cannot = |error| format!("cannot listen on {address}: {error}");
    let listener = TcpListener::bind(&address).await.map_err(cannot)?;
    // The `Debug` text of the configuration holds no secret.
    let lines = format!("listening on http://{}\n{config:?}\n", listener.local_addr().map_err(cannot)?);
    // One write, whose failure is ignored: stdout may be closed.
    let _ = stdout().write_all(lines.as_bytes());
    let stopped = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app).with_graceful_shutdown(stopped).await.map_err(|error| error.to_string())
}

fn arguments() -> Result<(String, String), String> {
    let (mut address, mut file) = ("127.0.0.1:3000".to_owned(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--listen", Some(value)) => address = value,
            ("--config", Some(value)) => file = Some(value),
            _ => return Err("expected --config FILE and optionally --listen ADDR".to_owned()),
        }
    }
    Ok((address, file.ok_or("expected --config FILE, for example examples/config/memory.toml")?))
}

/// Reads TOML or JSON, as the name of the file says.
fn read(file: &Path) -> Result<SessionConfig, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => serde_json::from_str(&text).map_err(|error| error.to_string()),
        // The parser's own message would quote the line, which may hold a secret.
        Some("toml") => toml::from_str(&text).map_err(|error| match error.span() {
            Some(span) => format!("line {}: {}", text[..span.start].matches('\n').count() + 1, error.message()),
            None => error.message().to_owned(),
        }),
        _ => Err("expected a name that ends in .toml or .json".to_owned()),
    }
}

async fn show(session: SessionView) -> Result<String, Error> {
    let notes = NOTES.get(&session)?.unwrap_or_default();
    Ok(format!("{}: {}\n", session.owner().as_deref().unwrap_or("somebody"), notes.join(", ")))
}

async fn note(session: Session, UrlPath(note): UrlPath<String>) -> Result<(), Error> {
    NOTES.update(&session, move |notes| Some([notes.unwrap_or_default(), vec![note.clone()]].concat()))
}

async fn sign_in(session: Session, UrlPath(name): UrlPath<String>) -> Result<(), Error> {
    session.sign_in(&name)
}

async fn sign_out(session: Session) -> Result<(), Error> {
    session.destroy()
}
