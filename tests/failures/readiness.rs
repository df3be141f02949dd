//! The inner service's readiness while requests wait for the store (promise 23).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http::header::COOKIE;
use http::{Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimitLayer;
use tower::load_shed::LoadShed;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use super::loads_and_handlers::{PATIENCE, started};
use crate::support::direct::{settle, until};
use crate::support::{Backend, Fault, Op, Setup};

/// A service that answers once it is told to, and counts the requests that it handles.
type Handler = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, tower::BoxError>;

fn handler(handled: &Arc<AtomicUsize>, go: &Arc<Semaphore>) -> Handler {
    let (handled, go) = (Arc::clone(handled), Arc::clone(go));
    Handler::new(service_fn(move |_: Request<Body>| {
        let go = Arc::clone(&go);
        handled.fetch_add(1, SeqCst);
        async move {
            let _ = go.acquire().await?;
            Ok(Response::new(Body::from("handled")))
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn limit_inside_the_layer_counts_no_request_that_waits_for_the_store() {
    type Limit = fn(Handler) -> Handler;
    let limits: [(&str, Limit); 3] = [
        ("a limit", |inner| Handler::new(ConcurrencyLimitLayer::new(2).layer(inner))),
        ("a buffer", |inner| Handler::new(Buffer::new(ConcurrencyLimitLayer::new(2).layer(inner), 1))),
        ("shedding", |inner| Handler::new(LoadShed::new(ConcurrencyLimitLayer::new(2).layer(inner)))),
    ];
    for (what, limit) in limits {
        let setup = Setup::with(Backend::Remote, |builder| builder.store_timeout(PATIENCE));
        let token = started(&setup).await.token().unwrap();
        let (handled, go) = (Arc::default(), Arc::new(Semaphore::new(0)));
        // The layer's service is one that lives on, as it does behind a buffer.
        let mut service = setup.layer.layer(limit(handler(&handled, &go)));
        let mut send = async |tasks: &mut JoinSet<_>, cookie: &str| {
            let request = Request::builder().header(COOKIE, cookie).body(Body::empty()).unwrap();
            let answering = service.ready().await.unwrap().call(request);
            tasks.spawn(async move { answering.await.map(|response| response.status()) });
        };
        let cookie = format!("sid={token}");
        let [mut waiting, mut anonymous, mut loaded] = [(); 3].map(|()| JoinSet::new());
        setup.store.fault(Op::Load, Fault::Hang, 4);
        for _ in 0..4 {
            send(&mut waiting, &cookie).await;
        }
        settle().await;
        let began = Instant::now();
        for _ in 0..2 {
            send(&mut anonymous, "other=1").await;
        }
        until(async || handled.load(SeqCst) == 2).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "{what}");
        // A request that is loaded waits for its turn, or hears that there is none.
        let mut other = service.clone();
        let request = Request::builder().header(COOKIE, &cookie).body(Body::empty()).unwrap();
        loaded.spawn(async move { other.ready().await?.call(request).await.map(|response| response.status()) });
        settle().await;
        assert_eq!(handled.load(SeqCst), 2, "{what}");
        go.add_permits(10);
        for answer in anonymous.join_all().await {
            assert_eq!(answer.unwrap(), StatusCode::OK, "{what}");
        }
        assert_eq!(loaded.join_all().await[0].is_ok(), what != "shedding", "{what}");
        for answer in waiting.join_all().await {
            assert_eq!(answer.unwrap(), StatusCode::SERVICE_UNAVAILABLE, "{what}");
        }
        assert_eq!(began.elapsed(), PATIENCE, "{what}");
    }
}

/// Is ready once, and its clones never are.
struct Worn(bool);

impl Clone for Worn {
    fn clone(&self) -> Self {
        Self(true)
    }
}

impl Service<Request<Body>> for Worn {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Response<Body>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(if self.0 { Err("worn out") } else { Ok(()) })
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(!self.0, "called although it is not ready");
        std::future::ready(Ok(Response::default()))
    }
}

#[tokio::test]
async fn inner_service_that_fails_while_the_session_is_loaded_is_heard() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let token = started(&setup).await.token().unwrap();
        let request = Request::builder().header(COOKIE, format!("sid={token}")).body(Body::empty()).unwrap();
        let answer = setup.layer.layer(Worn(false)).oneshot(request).await;
        // An immediate store lets nobody wait.
        let is_immediate = matches!(backend, Backend::Memory | Backend::Cookie);
        assert_eq!(answer.err(), (!is_immediate).then_some("worn out"), "{backend:?}");
        assert_eq!(setup.store.writes(), 0, "{backend:?}");
    }
}
