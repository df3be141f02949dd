//! A cart for each client: the use of the session in a handler of tonic.

use std::collections::BTreeMap;
use std::vec;

use tonic::codegen::tokio_stream::{Iter, iter};
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, async_trait};
use tower_session_layer::{Error, Session, SessionKey};

use crate::proto::cart_server::Cart;
use crate::proto::{Item, Nothing, Total};

const CART: SessionKey<BTreeMap<String, u32>> = SessionKey::new("cart");

/// The most items that a cart holds.
pub(crate) const MOST: u32 = 99;

/// The trailer with the number of kinds of item that were listed.
pub(crate) const LISTED: &str = "x-listed";

#[derive(Debug)]
pub(crate) struct Carts;

#[async_trait]
impl Cart for Carts {
    async fn add(&self, request: Request<Item>) -> Result<Response<Total>, Status> {
        let session = Session::from_extensions(request.extensions()).map_err(status)?;
        let Item { sku, quantity } = request.into_inner();
        let put = move |cart: Option<BTreeMap<_, _>>| {
            let mut cart = cart.unwrap_or_default();
            let held: &mut u32 = cart.entry(sku.clone()).or_default();
            *held = held.saturating_add(quantity);
            Some(cart)
        };
        CART.update(&session, put).map_err(status)?;
        let items =
            CART.get(&session).map_err(status)?.unwrap_or_default().values().fold(0, |n: u32, q| n.saturating_add(*q));
        if items > MOST {
            // The item that was added needs no undoing: a call that fails commits nothing.
            return Err(Status::resource_exhausted(format!("a cart holds {MOST} items")));
        }
        Ok(Response::new(Total { items }))
    }

    type ListStream = Iter<vec::IntoIter<Result<Item, Status>>>;

    async fn list(&self, request: Request<Nothing>) -> Result<Response<Self::ListStream>, Status> {
        let session = Session::from_extensions(request.extensions()).map_err(status)?;
        let cart = CART.get(&session).map_err(status)?.unwrap_or_default();
        let mut trailers = MetadataMap::new();
        trailers.insert(LISTED, cart.len().into());
        let items = cart.into_iter().map(|(sku, quantity)| Ok(Item { sku, quantity }));
        // A stream ends with a status, also on success, and the status carries the trailers.
        let end = Err(Status::with_metadata(Code::Ok, "", trailers));
        Ok(Response::new(iter(items.chain([end]).collect::<Vec<_>>())))
    }
}

/// Turns an error of the session into the status for the client. The details go to the log.
#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn status(error: Error) -> Status {
    let code = match &error {
        error if error.is_unavailable() => Code::Unavailable,
        error if error.is_gone() => Code::Aborted,
        error if error.is_too_large() => Code::ResourceExhausted,
        _ => {
            eprintln!("grpc: {error}");
            Code::Internal
        }
    };
    Status::new(code, "the session failed")
}
