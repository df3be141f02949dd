//! What the types promise without a line of documentation.

use std::convert::Infallible;
use std::fmt::Debug;
use std::task::{Context, Poll};

use crate::support::{Backend, Fault, Op};
use axum::body::{Body, Bytes};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{Empty, Full};
use tower::{Layer, Service, ServiceExt as _};
use tower_session_layer::store::{
    Change, Created, Deadline, Deleted, Loaded, OwnedSession, Record, Revocation, Revoke, Tombstone, TombstoneKind,
    Updated, Version,
};
use tower_session_layer::{
    CacheHeaders, CachedStore, CachedStoreBuilder, ConfigError, CookieKey, CookieSignature, CookieStore,
    CookieStoreBuilder, Error, FileStore, ImportLayer, ImportService, Imported, KeyPrefix, ManualClock, MemoryStore,
    MemoryStoreBuilder, OnStoreFailure, Operation, Owners, ResponseFuture, Sealed, Session, SessionCookie,
    SessionCookieBuilder, SessionEvent, SessionHandle, SessionKey, SessionLayer, SessionLayerBuilder, SessionService,
    SessionToken, SessionView, StoreError, StoreKey, SystemClock, TokenScope, TokenShape, TypedSession,
};

fn free<T: Send + Sync + Unpin + Debug + 'static>() {}
fn cloned<T: Clone + Send + Sync + Unpin + Debug + 'static>() {}
fn copied<T: Copy + Send + Sync + Unpin + Debug + 'static>() {}
fn error<T: std::error::Error + Send + Sync + Unpin + 'static>() {}

fn unwinds<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}

#[test]
fn a_store_in_memory_goes_through_a_caught_panic() {
    unwinds::<MemoryStore>();
}

#[test]
fn public_types_go_anywhere() {
    cloned::<SessionLayer>();
    cloned::<SessionService<MemoryStore>>();
    cloned::<ImportLayer>();
    cloned::<ImportService<MemoryStore>>();
    cloned::<Imported>();
    cloned::<CookieSignature>();
    cloned::<Session>();
    cloned::<SessionView>();
    cloned::<TypedSession<std::rc::Rc<str>>>();
    cloned::<SessionCookie>();
    cloned::<SessionCookieBuilder>();
    cloned::<SessionToken>();
    cloned::<Record>();
    cloned::<MemoryStore>();
    cloned::<MemoryStoreBuilder>();
    cloned::<FileStore>();
    cloned::<Sealed<FileStore>>();
    cloned::<CachedStore<FileStore>>();
    cloned::<CachedStoreBuilder<FileStore>>();
    #[cfg(feature = "redis")]
    cloned::<tower_session_layer::RedisStore>();
    cloned::<CookieStore>();
    cloned::<CookieKey>();
    cloned::<ManualClock>();
    cloned::<Owners>();
    cloned::<Loaded>();
    cloned::<Created>();
    cloned::<Updated>();
    cloned::<Deleted>();
    cloned::<Change>();
    cloned::<OwnedSession>();
    cloned::<Revoke>();
    cloned::<Revocation>();
    cloned::<ConfigError>();
    copied::<SystemClock>();
    copied::<StoreKey>();
    copied::<SessionHandle>();
    copied::<Version>();
    copied::<TokenShape>();
    copied::<TombstoneKind>();
    copied::<TokenScope>();
    copied::<Deadline>();
    copied::<CacheHeaders>();
    copied::<OnStoreFailure>();
    copied::<SessionEvent<'static>>();
    copied::<KeyPrefix>();
    copied::<tower_session_layer::Refusal>();
    copied::<Operation>();
    free::<SessionLayerBuilder<MemoryStore>>();
    free::<CookieStoreBuilder>();
    free::<Tombstone>();
    error::<Error>();
    error::<StoreError>();
    error::<ConfigError>();
    // A key is a name: not even a value that stays on one thread ties it down.
    copied::<SessionKey<std::rc::Rc<str>>>();
}

#[test]
fn futures_can_be_sent() {
    fn sent<T: Send>(_: impl FnOnce(Session) -> T) {}
    fn is_sent<T: Send + 'static>() {}
    sent(|session| async move { session.commit().await });
    sent(|session| async move { session.reload().await });
    sent(|session| async move { session.owners().list("ada").await });
    sent(|session| async move { session.owners().revoke_all("ada").await });
    sent(|session| async move { session.owners().revoke_others(&session).await });
    is_sent::<ResponseFuture<axum::Router, Body>>();
    is_sent::<ResponseFuture<axum::Router, hyper::body::Incoming>>();
}

#[test]
fn the_layer_is_one_type_whatever_the_store() {
    let stores: [fn() -> SessionLayer; 2] = [
        || SessionLayer::new(MemoryStore::new()),
        || SessionLayer::new(CookieStore::new(CookieKey::generate().unwrap())),
    ];
    struct Program {
        sessions: SessionLayer,
    }
    for store in stores {
        let program = Program { sessions: store() };
        let _: SessionService<()> = program.sessions.layer(());
    }
}

/// Takes a request with a body of any kind and answers with a body of any kind; then the layer answers in its place.
async fn answered<Req: Send + 'static, Res: Default + Send + 'static>(bodies: [Req; 2]) {
    let setup = crate::support::Setup::new(Backend::Remote);
    let handler = async |request: Request<Req>| {
        request.extensions().get::<Session>().unwrap().insert("a", 1).unwrap();
        Ok::<_, Infallible>(Response::new(Res::default()))
    };
    let service = setup.layer.layer(tower::service_fn(handler));
    let [first, second] = bodies.map(Request::new);
    assert!(service.clone().oneshot(first).await.unwrap().headers().contains_key("set-cookie"));
    setup.store.fault(Op::Create, Fault::Fail, 1);
    assert_eq!(service.oneshot(second).await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn any_body_will_do() {
    answered::<(), Body>([(), ()]).await;
    answered::<String, String>([String::new(), String::new()]).await;
    answered::<Vec<u8>, ()>([Vec::new(), Vec::new()]).await;
    answered::<Body, Full<Bytes>>([Body::empty(), Body::empty()]).await;
    answered::<Full<Bytes>, Empty<Bytes>>([Full::default(), Full::default()]).await;
    answered::<Empty<Bytes>, BoxBody<Bytes, Infallible>>([Empty::new(), Empty::new()]).await;
    answered::<BoxBody<Bytes, Infallible>, UnsyncBoxBody<Bytes, Error>>([BoxBody::default(), BoxBody::default()]).await;
}

#[test]
fn hyper_bodies_and_bodies_of_one_thread_will_do() {
    fn serves<S: Service<Request<B>>, B>(_: &S) {}
    let layer = SessionLayer::new(MemoryStore::new());
    serves::<_, hyper::body::Incoming>(&layer.layer(axum::Router::new()));
    let of_one_thread = tower::service_fn(async |_: Request<std::rc::Rc<u8>>| {
        Ok::<_, Infallible>(Response::new(std::rc::Rc::new(0_u8)))
    });
    serves::<_, std::rc::Rc<u8>>(&layer.layer(of_one_thread));
}

/// No `std::error::Error`, no `Display`, not `Clone`.
#[derive(Debug, PartialEq)]
struct Refusal(u8);

#[derive(Clone)]
struct Refusing {
    is_ready: bool,
}

impl Service<Request<()>> for Refusing {
    type Response = Response<()>;
    type Error = Refusal;
    type Future = std::future::Ready<Result<Response<()>, Refusal>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(if self.is_ready { Ok(()) } else { Err(Refusal(1)) })
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        request.extensions().get::<Session>().unwrap().insert("a", 1).unwrap();
        std::future::ready(Err(Refusal(2)))
    }
}

#[tokio::test]
async fn an_error_of_the_inner_service_passes_through_unchanged() {
    for backend in Backend::ALL {
        let setup = crate::support::Setup::new(backend);
        let begin = setup.layer.layer(tower::service_fn(async |request: Request<()>| {
            request.extensions().get::<Session>().unwrap().insert("b", 1).unwrap();
            Ok::<_, Infallible>(Response::new(()))
        }));
        let begun = begin.oneshot(Request::new(())).await.unwrap();
        let live = begun.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
        setup.store.forget();
        for (is_ready, expected) in [(false, Refusal(1)), (true, Refusal(2))] {
            for cookie in ["", "sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", live] {
                let service = setup.layer.layer(Refusing { is_ready });
                let request = Request::builder().header("cookie", cookie).body(()).unwrap();
                assert_eq!(service.oneshot(request).await.unwrap_err(), expected, "{backend:?} {cookie}");
            }
        }
        assert_eq!(setup.store.writes(), 0, "{backend:?}");
    }
}
