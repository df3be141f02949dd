//! The layer in front of a reverse proxy: people sign in at the proxy, which tells the service behind who they are.
//!
//! `cargo run --example reverse_proxy -- --listen 127.0.0.1:3000 --upstream 127.0.0.1:8080`; port 0 picks one.
//! `POST /-/in/NAME` signs in, `POST /-/out` signs out, and all other requests are forwarded.

mod headers;
mod proxy;
#[cfg(test)]
mod tests;

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use http::uri::Authority;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{Layer, service_fn};
use tower_session_layer::{MemoryStore, SessionLayer};

use crate::headers::COOKIE_NAME;
use crate::proxy::Proxy;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reverse_proxy: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), String> {
    let (address, upstream) = options()?;
    let cannot = |error| format!("cannot listen on {address}: {error}");
    let listener = TcpListener::bind(&address).await.map_err(cannot)?;
    let line = format!("listening on http://{}\n", listener.local_addr().map_err(cannot)?);
    // One write, whose failure is ignored: stdout may be closed.
    let _ = stdout().write_all(line.as_bytes());
    tokio::select! {
        () = serve(listener, sessions()?, Proxy::new(upstream)) => Ok(()),
        stopped = tokio::signal::ctrl_c() => stopped.map_err(|error| error.to_string()),
    }
}

fn sessions() -> Result<SessionLayer, String> {
    // Plain http, so that any client keeps the cookie. Behind TLS, remove `insecure_http`.
    let sessions = SessionLayer::builder(MemoryStore::new()).insecure_http().cookie_name(COOKIE_NAME).build();
    sessions.map_err(|error| error.to_string())
}

async fn serve(listener: TcpListener, sessions: SessionLayer, proxy: Proxy) {
    let service = service_fn(move |request| {
        let proxy = proxy.clone();
        async move { proxy.answer(request).await }
    });
    let service = TowerToHyperService::new(sessions.layer(service));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // The client has reset the connection, or too many are open: wait for some to close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let service = service.clone();
        tokio::spawn(async move {
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("reverse_proxy: {error}");
            }
        });
    }
}

fn options() -> Result<(String, Authority), String> {
    let usage = "expected --upstream HOST:PORT and optionally --listen ADDR, which is 127.0.0.1:3000 by default";
    let (mut listen, mut upstream) = ("127.0.0.1:3000".to_owned(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or(usage)?;
        match option.as_str() {
            "--listen" => listen = value,
            "--upstream" => upstream = Some(value.parse().map_err(|error| format!("{value}: {error}"))?),
            _ => return Err(usage.to_owned()),
        }
    }
    Ok((listen, upstream.ok_or(usage)?))
}
