//! A server with the session layer or without, for `wire.sh`.
//!
//! `GET /` does not ask for the session, and `POST /login` makes a session.

use axum::Router;
use axum::routing::{get, post};
use tower_session_layer::{MemoryStore, Session, SessionLayer};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Vec::from_iter(std::env::args().skip(1));
    let app = Router::new().route("/", get(async || "hello")).route("/login", post(login));
    let (app, port) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--layer", port] => (app.layer(SessionLayer::new(MemoryStore::new())), port),
        ["--bare", port] => (app, port),
        _ => {
            eprintln!("usage: wire --layer PORT | --bare PORT (0 picks one)");
            std::process::exit(2);
        }
    };
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}

async fn login(session: Option<Session>) -> Result<(), tower_session_layer::Error> {
    session.map_or(Ok(()), |session| session.insert("user", "ada"))
}
