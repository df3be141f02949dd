//! The layer under tonic, over HTTP/2: the service and the client of `examples/grpc` on every store (promises 14 and 23).

use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Status};

use crate::client::{COOKIE_NAME, Carrier, HEADER_NAME, Keeper};
use crate::proto::cart_client::CartClient;
use crate::proto::cart_server::CartServer;
use crate::proto::{Item, Nothing};
use crate::service::{Carts, LISTED, MOST};
use crate::support::{Backend, Fault, Op, Setup};

const BOTH: [Carrier; 2] = [Carrier::Cookie, Carrier::Header];

/// A served cart, which ends with the test.
struct Served {
    setup: Setup,
    channel: Channel,
}

impl Served {
    async fn on(backend: Backend) -> Self {
        let setup = Setup::with(backend, |builder| builder.cookie_name(COOKIE_NAME).token_header(HEADER_NAME.as_str()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder().layer(setup.layer.clone()).add_service(CartServer::new(Carts));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        let channel = Endpoint::new(url).unwrap().connect().await.unwrap();
        Self { setup, channel }
    }

    fn client(&self, carrier: Carrier) -> Client {
        Client(CartClient::new(Keeper::new(self.channel.clone(), carrier)))
    }
}

struct Client(CartClient<Keeper<Channel>>);

impl Client {
    async fn add(&mut self, sku: &str, quantity: u32) -> Result<u32, Status> {
        Ok(self.0.add(Item { sku: sku.to_owned(), quantity }).await?.into_inner().items)
    }

    /// The items of the cart, and the trailer.
    async fn list(&mut self) -> Result<(String, String), Status> {
        let mut list = self.0.list(Nothing {}).await?.into_inner();
        let mut items = Vec::new();
        while let Some(Item { sku, quantity }) = list.message().await? {
            items.push(format!("{quantity} {sku}"));
        }
        let trailers = list.trailers().await?.expect("trailers");
        assert_eq!(trailers.get("grpc-status").expect("the status"), "0");
        Ok((items.join(", "), trailers.get(LISTED).expect("the service's trailer").to_str().unwrap().to_owned()))
    }
}

#[tokio::test]
async fn a_client_keeps_its_session_in_a_cookie_or_in_a_header() {
    for backend in Backend::ALL {
        let served = Served::on(backend).await;
        for carrier in BOTH {
            let mut client = served.client(carrier);
            assert_eq!(client.add("mug", 2).await.unwrap(), 2, "{backend:?} {carrier:?}");
            assert_eq!(client.add("pen", 1).await.unwrap(), 3, "{backend:?} {carrier:?}");
            let mut other = served.client(carrier);
            assert_eq!(other.add("hat", 1).await.unwrap(), 1, "{backend:?} {carrier:?}: a cart of its own");
        }
    }
}

#[tokio::test]
async fn the_token_travels_in_the_metadata_of_its_carrier_alone() {
    let served = Served::on(Backend::Memory).await;
    for carrier in BOTH {
        let mut client = CartClient::new(served.channel.clone());
        let mut request = tonic::Request::new(Item { sku: "mug".to_owned(), quantity: 1 });
        if carrier == Carrier::Header {
            request.metadata_mut().insert("x-session", "".parse().unwrap());
        }
        let answer = client.add(request).await.unwrap();
        let shown = [HEADER_NAME.as_str(), "set-cookie"].map(|name| answer.metadata().contains_key(name));
        assert_eq!(shown, [carrier == Carrier::Header, carrier == Carrier::Cookie], "{carrier:?}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_trailers_of_the_service() {
    for backend in Backend::ALL {
        let served = Served::on(backend).await;
        for carrier in BOTH {
            let mut client = served.client(carrier);
            assert_eq!(client.list().await.unwrap(), (String::new(), "0".into()), "{backend:?} {carrier:?}");
            client.add("mug", 2).await.unwrap();
            client.add("pen", 1).await.unwrap();
            assert_eq!(client.list().await.unwrap(), ("2 mug, 1 pen".into(), "2".into()), "{backend:?} {carrier:?}");
        }
    }
}

#[tokio::test]
async fn a_call_that_fails_commits_nothing() {
    for backend in Backend::ALL {
        let served = Served::on(backend).await;
        for carrier in BOTH {
            let mut client = served.client(carrier);
            let refused = client.add("mug", MOST + 1).await.unwrap_err();
            assert_eq!(refused.code(), Code::ResourceExhausted, "{backend:?} {carrier:?}");
            for name in [HEADER_NAME.as_str(), "set-cookie"] {
                assert!(!refused.metadata().contains_key(name), "{backend:?} {carrier:?}: no session began");
            }
            client.add("mug", 2).await.unwrap();
            served.setup.store.forget();
            client.add("pen", MOST).await.unwrap_err();
            assert_eq!(served.setup.store.writes(), 0, "{backend:?} {carrier:?}");
            assert_eq!(client.list().await.unwrap().0, "2 mug", "{backend:?} {carrier:?}");
        }
    }
}

/// A status of gRPC's own: one that tonic guessed from HTTP's 503 says so.
fn assert_unavailable<T: std::fmt::Debug>(answer: Result<T, Status>, what: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, ""), "{what}");
}

#[tokio::test]
async fn a_store_that_fails_is_unavailable_and_the_session_is_there_when_it_is_back() {
    for backend in Backend::SERVER {
        let served = Served::on(backend).await;
        let store = &served.setup.store;
        for carrier in BOTH {
            let what = format!("{backend:?} {carrier:?}");
            let mut client = served.client(carrier);
            store.fault(Op::Create, Fault::Fail, 1);
            assert_unavailable(client.add("mug", 1).await, &what);
            client.add("mug", 2).await.unwrap();
            for op in [Op::Load, Op::Update] {
                store.fault(op, Fault::Fail, 1);
                assert_unavailable(client.add("pen", 1).await, &format!("{what} {op:?}"));
            }
            store.fault(Op::Load, Fault::Fail, 1);
            assert_unavailable(client.list().await, &what);
            assert_eq!(client.list().await.unwrap().0, "2 mug", "{what}");
        }
    }
}
