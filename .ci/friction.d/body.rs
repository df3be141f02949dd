// A proxy whose responses cannot be empty, on hyper.
//~ the response body `hyper::body::Incoming` cannot be made empty
//~ the layer answers 503 by itself, with `hyper::body::Incoming::default()`, and there is none
//~ below the layer, map the body to one that has a `Default`
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use tokio::net::TcpStream;
use tower::{Layer, service_fn};
use tower_session_layer::{MemoryStore, SessionLayer};

async fn forward(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}

async fn serve(io: TokioIo<TcpStream>) {
    let service = SessionLayer::new(MemoryStore::new()).layer(service_fn(forward));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, TowerToHyperService::new(service)).await;
}

fn main() {
    let _ = serve;
}
