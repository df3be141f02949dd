//! Two layers, and the answers that a layer gives itself (promises 28 and 23).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

use crate::support::{Answer, Backend, Browser, Fault, Log, Op, Setup, TestStore};
use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::header::{CONTENT_TYPE, COOKIE};
use http::{Request, Response, StatusCode};
use tower::{Layer as _, Service, ServiceExt as _};
use tower_session_layer::{Error, Session, SessionLayer};

fn layer(store: &TestStore, name: &str) -> SessionLayer {
    SessionLayer::builder(store.clone()).cookie_name(name).build().unwrap()
}

async fn counts(session: Session) -> Result<String, Error> {
    let count = |session: &Session| {
        session.update("count", |count: Option<u32>| Some(count.unwrap_or_default() + 1))?;
        Ok::<_, Error>(session.get::<u32>("count")?.unwrap_or_default())
    };
    count(&session)?;
    let middle = session.named("middle").unwrap();
    let outer = middle.named("outer").unwrap();
    count(&outer)?;
    Ok(format!("{} {} {}", count(&session)?, middle.len(), count(&session.named("outer").unwrap())?))
}

#[tokio::test]
async fn sessions_of_several_layers_coexist() {
    for backend in Backend::ALL {
        let stores = [TestStore::new(backend), TestStore::new(Backend::Memory), TestStore::new(backend)];
        let app = Router::new()
            .route("/counts", post(counts))
            .route("/nothing", get(|_: Session| async {}))
            .route("/unknown", get(|session: Session| async move { session.named("sid").is_none().to_string() }))
            .layer(layer(&stores[0], "inner"))
            .layer(layer(&stores[1], "middle"))
            .layer(layer(&stores[2], "outer"));
        let mut browser = Browser::new(app);
        for expected in ["2 0 2", "4 0 4"] {
            let answer = browser.post("/counts").await;
            assert_eq!(answer.body, expected, "{backend:?}");
            assert_eq!(answer.headers.get_all("vary").iter().collect::<Vec<_>>(), ["Cookie"], "{backend:?}");
            assert_eq!(answer.headers.get("cache-control").is_some(), !answer.set_cookies().is_empty());
        }
        let names: Vec<_> = browser.cookies.keys().map(String::as_str).collect();
        assert_eq!(names, ["inner", "outer"], "{backend:?}: a layer that nobody used sets no cookie");
        assert_eq!(browser.get("/unknown").await.body, "true", "{backend:?}");
        assert_eq!(browser.get("/nothing").await.headers.get("vary"), None, "{backend:?}");
    }
}

async fn grpc(app: Router, cookie: Option<String>) -> Answer {
    let mut request = Request::post("/").header(CONTENT_TYPE, "application/grpc+proto");
    if let Some(cookie) = cookie {
        request = request.header(COOKIE, format!("sid={cookie}"));
    }
    crate::support::answer(app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await
}

/// `INTERNAL` is 13, `UNAVAILABLE` 14.
fn assert_grpc(answer: &Answer, status: &str, what: &str) {
    assert_eq!(answer.status, StatusCode::OK, "{what}");
    assert_eq!(answer.headers["content-type"], "application/grpc", "{what}");
    assert_eq!(answer.headers["grpc-status"], status, "{what}");
    assert_eq!(answer.headers["cache-control"], "no-store", "{what}");
    assert_eq!((answer.body.as_str(), answer.set_cookie()), ("", None), "{what}");
}

#[tokio::test]
async fn one_name_twice_is_an_error_at_the_first_request() {
    for backend in Backend::ALL {
        for between in [false, true] {
            let (store, calls) = (TestStore::new(backend), Arc::new(AtomicUsize::new(0)));
            let count = {
                let calls = Arc::clone(&calls);
                move || async move {
                    calls.fetch_add(1, SeqCst);
                }
            };
            let mut app = Router::new().route("/", post(count)).layer(layer(&store, "sid"));
            if between {
                app = app.layer(layer(&TestStore::new(backend), "other"));
            }
            let app = app.layer(layer(&TestStore::new(backend), "sid"));
            let log = Log::capture();
            let answer = Browser::new(app.clone()).with_token(&"A".repeat(32)).post("/").await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{backend:?}");
            let text = log.take();
            assert!(text.contains("ERROR") && text.contains("cookie_name") && text.contains("\"sid\""), "{text}");
            assert_grpc(&grpc(app, None).await, "13", &format!("{backend:?}"));
            assert_eq!((calls.load(SeqCst), store.calls(Op::Load)), (0, 0), "{backend:?}");
        }
    }
}

fn writing(setup: &Setup) -> Router {
    let write = |session: Session| async move { session.insert("a", 1) };
    let renew = |session: Session| async move { session.renew() };
    let fail = |session: Session| async move {
        session.insert("a", 2)?;
        Ok::<_, Error>([("grpc-status", "5")])
    };
    let succeed = |session: Session| async move {
        session.insert("a", 3)?;
        Ok::<_, Error>([("grpc-status", "0")])
    };
    Router::new()
        .route("/", post(write))
        .route("/renew", post(renew))
        .route("/fail", post(fail))
        .route("/succeed", post(succeed))
        .route("/read", get(|session: Session| async move { session.get::<u32>("a").map(|a| format!("{a:?}")) }))
        .layer(setup.layer.clone())
}

#[tokio::test]
async fn a_failing_store_is_unavailable_in_the_words_of_the_protocol() {
    for backend in Backend::ALL {
        for op in [Op::Load, Op::Create] {
            let setup = Setup::new(backend);
            let app = writing(&setup);
            let mut browser = Browser::new(app.clone());
            if op == Op::Load {
                browser.post("/").await;
            }
            setup.store.fault(op, Fault::Fail, 2);
            assert_grpc(&grpc(app, browser.token()).await, "14", &format!("{backend:?} {op:?}"));
            let answer = browser.post("/").await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (StatusCode::SERVICE_UNAVAILABLE, ""),
                "{backend:?} {op:?}"
            );
            assert_eq!(answer.headers.get("grpc-status"), None, "{backend:?} {op:?}");
            assert_eq!(answer.set_cookie(), None, "{backend:?} {op:?}");
            assert_eq!(browser.post("/").await.status, StatusCode::OK, "{backend:?} {op:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_unavailable_in_the_words_of_the_protocol() {
    for op in [Op::Load, Op::Create] {
        let setup = Setup::new(Backend::Remote);
        let app = writing(&setup);
        let mut browser = Browser::new(app.clone());
        if op == Op::Load {
            browser.post("/").await;
        }
        setup.store.fault(op, Fault::Hang, 2);
        let began = tokio::time::Instant::now();
        assert_grpc(&grpc(app, browser.token()).await, "14", &format!("{op:?}"));
        assert_eq!(began.elapsed().as_secs(), 5, "{op:?}");
        assert_eq!(browser.post("/").await.status, StatusCode::SERVICE_UNAVAILABLE, "{op:?}");
    }
}

#[tokio::test]
async fn a_grpc_failure_commits_nothing() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut browser = Browser::new(writing(&setup));
        browser.post("/").await;
        assert_eq!(browser.post("/fail").await.headers["grpc-status"], "5");
        assert_eq!(browser.get("/read").await.body, "Some(1)", "{backend:?}");
        browser.post("/succeed").await;
        assert_eq!(browser.get("/read").await.body, "Some(3)", "{backend:?}");
    }
}

/// Answers only if this very clone was polled ready before.
#[derive(Default)]
struct ReadyOnce(bool);

impl Clone for ReadyOnce {
    fn clone(&self) -> Self {
        Self(false)
    }
}

impl Service<Request<()>> for ReadyOnce {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0 = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.0), "called without being ready");
        std::future::ready(Ok(Response::new("ready".into())))
    }
}

#[tokio::test]
async fn the_service_that_is_ready_is_the_one_called() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let mut service = setup.layer.layer(ReadyOnce::default());
        for cookie in ["a=1".into(), format!("sid={}", "A".repeat(32)), "sid=x".into()] {
            for _ in 0..2 {
                let request = Request::builder().header(COOKIE, &cookie).body(()).unwrap();
                let answer = service.ready().await.unwrap().call(request).await.unwrap();
                assert_eq!(answer.body(), "ready", "{backend:?} {cookie}");
            }
        }
    }
}
