//! The layer on tonic: a cart whose clients keep their session in a cookie or in a header of their own.
//!
//! `cargo run --example grpc -- --listen 127.0.0.1:3000` serves; port 0 picks one.
//! `cargo run --example grpc -- --ask http://127.0.0.1:3000` calls it both ways and prints the answers.

mod client;
// The output of tonic-prost-build for `cart.proto`, checked in so that a build needs no protoc.
#[allow(unreachable_pub, unused_qualifications, clippy::pedantic, reason = "generated")]
mod proto;
mod service;

use std::error::Error as _;
use std::io::{Write, stdout};
use std::process::ExitCode;

use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{self, Channel, Endpoint, Server};
use tower_session_layer::{MemoryStore, SessionLayer};

use crate::client::{COOKIE_NAME, Carrier, HEADER_NAME, Keeper};
use crate::proto::cart_client::CartClient;
use crate::proto::cart_server::CartServer;
use crate::proto::{Item, Nothing};
use crate::service::{Carts, LISTED, MOST};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve("127.0.0.1:3000").await,
        ["--listen", address] => serve(address).await,
        ["--ask", url] => ask(url).await,
        _ => Err("expected no argument, --listen ADDR or --ask URL".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("grpc: {error}");
            ExitCode::from(2)
        }
    }
}

async fn serve(address: &str) -> Result<(), String> {
    // Plain http, for the example's client. Behind TLS, remove `insecure_http`.
    let sessions = SessionLayer::builder(MemoryStore::new())
        .insecure_http()
        .cookie_name(COOKIE_NAME)
        .token_header(HEADER_NAME.as_str())
        .build()
        .map_err(|error| error.to_string())?;

    let cannot = |error| format!("cannot listen on {address}: {error}");
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let line = format!("listening on http://{}\n", listener.local_addr().map_err(cannot)?);
    // One write, whose failure is ignored: stdout may be closed.
    let _ = stdout().write_all(line.as_bytes());

    let stop = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            eprintln!("grpc: {error}");
        }
    };
    let server = Server::builder().layer(sessions).add_service(CartServer::new(Carts));
    let served = server.serve_with_incoming_shutdown(TcpIncoming::from(listener), stop).await;
    served.map_err(|error| error.to_string())
}

async fn ask(url: &str) -> Result<(), String> {
    let cannot = |error: transport::Error| {
        let cause = std::iter::successors(error.source(), |&cause| cause.source()).last();
        format!("cannot reach {url}: {}", cause.map_or_else(|| error.to_string(), ToString::to_string))
    };
    let channel = Endpoint::new(url.to_owned()).map_err(cannot)?.connect().await.map_err(cannot)?;
    for carrier in [Carrier::Cookie, Carrier::Header] {
        let said = shop(channel.clone(), carrier).await.map_err(|status| status.to_string())?;
        let _ = stdout().write_all(format!("{carrier:?}: {said}\n").as_bytes());
    }
    Ok(())
}

/// Fills a cart, overfills it, and lists what it holds.
async fn shop(channel: Channel, carrier: Carrier) -> Result<String, Status> {
    let mut client = CartClient::new(Keeper::new(channel, carrier));
    let mugs = |quantity| Item { sku: "mug".to_owned(), quantity };
    let first = client.add(mugs(2)).await?.into_inner().items;
    let second = client.add(mugs(1)).await?.into_inner().items;
    let refused = match client.add(mugs(MOST)).await {
        Ok(total) => return Err(Status::internal(format!("{} items were taken", total.into_inner().items))),
        Err(status) => status.code(),
    };
    let mut list = client.list(Nothing {}).await?.into_inner();
    let mut held = Vec::new();
    while let Some(item) = list.message().await? {
        held.push(format!("{} × {}", item.quantity, item.sku));
    }
    let trailers = list.trailers().await?.unwrap_or_default();
    let listed = trailers.get(LISTED).and_then(|value| value.to_str().ok()).unwrap_or("nothing");
    Ok(format!(
        "{first} items, then {second}; {MOST} more: {refused:?}; listed {}, {LISTED}: {listed}",
        held.join(", ")
    ))
}
