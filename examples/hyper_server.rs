//! The layer on plain hyper, without a framework: it counts the visits of each browser.
//!
//! `cargo run --example hyper_server -- --listen 127.0.0.1:3000`; port 0 picks one.

use std::convert::Infallible;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{Layer, service_fn};
use tower_session_layer::{Error, MemoryStore, Session, SessionKey, SessionLayer};

const VISITS: SessionKey<u64> = SessionKey::new("visits");

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hyper_server: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), String> {
    let address = address()?;
    // Plain http, so that any client keeps the cookie. Behind TLS, remove `insecure_http`.
    let sessions = SessionLayer::builder(MemoryStore::new()).insecure_http().build().map_err(|e| e.to_string())?;
    let service = TowerToHyperService::new(sessions.layer(service_fn(visit)));

    let cannot = |error| format!("cannot listen on {address}: {error}");
    let listener = TcpListener::bind(&address).await.map_err(cannot)?;
    let line = format!("listening on http://{}\n", listener.local_addr().map_err(cannot)?);
    // One write, whose failure is ignored: stdout may be closed.
    let _ = stdout().write_all(line.as_bytes());

    let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            stopped = &mut stop => return stopped.map_err(|error| error.to_string()),
        };
        let Ok((stream, _)) = accepted else {
            // The client has reset the connection, or too many are open: wait for some to close.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let service = service.clone();
        tokio::spawn(async move {
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("hyper_server: {error}");
            }
        });
    }
}

fn address() -> Result<String, String> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok("127.0.0.1:3000".to_owned()),
        ["--listen", address] => Ok(address.to_owned()),
        _ => Err("expected no argument, or --listen ADDR".to_owned()),
    }
}

/// The service under the layer. The session is in the request's extensions.
async fn visit(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    if request.uri().path() != "/" {
        return Ok(text(StatusCode::NOT_FOUND, "only /\n"));
    }
    Ok(match request.extensions().get::<Session>().map(count) {
        Some(Ok(visits)) => text(StatusCode::OK, format!("visit {visits}\n")),
        Some(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        None => text(StatusCode::INTERNAL_SERVER_ERROR, "no session layer\n"),
    })
}

fn count(session: &Session) -> Result<u64, Error> {
    VISITS.update(session, |visits| Some(visits.unwrap_or(0) + 1))?;
    Ok(VISITS.get(session)?.unwrap_or_default())
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
