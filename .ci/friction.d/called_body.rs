// The same, called by hand.
//~ the response body `Lasting` cannot be made empty
use http::{Request, Response};
use std::convert::Infallible;
use tower::{Layer, Service, service_fn};
use tower_session_layer::{MemoryStore, SessionLayer};

struct Lasting(std::fs::File);

async fn hello(_: Request<()>) -> Result<Response<Lasting>, Infallible> {
    unimplemented!()
}

fn serve<R>(service: impl Service<R>) {
    let _ = service;
}

fn main() {
    serve::<Request<()>>(SessionLayer::new(MemoryStore::new()).layer(service_fn(hello)));
}
