//! An import that fails is 503 and can be tried again; one that cannot work says why.

use super::*;
use tower_session_layer::{Operation, SessionEvent};

use crate::support::Fault;

#[tokio::test]
async fn what_the_handler_answers_takes_nothing_back() {
    for backend in Backend::ALL {
        let import = Import::new(backend);
        let mut browser = import.with_old(OLD);
        let answer = browser.get("/fail").await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.set_cookie().is_some() && removal(&answer).is_some(), "{backend:?}");
        assert_eq!(browser.get("/user").await.body, "17", "{backend:?}");
        let record = import.setup.record(&browser).await.unwrap();
        assert_eq!(record.owner().unwrap(), "17");
        let answer = import.with_old(OLD).get("/same").await;
        assert!(answer.set_cookie().is_some() && removal(&answer).is_some(), "{backend:?}: what is durable is owed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_503_and_the_old_cookie_is_good_for_another_try() {
    for fault in [Fault::Fail, Fault::Hang, Fault::LoseAnswer] {
        let import = Import::new(Backend::Remote);
        import.setup.store.fault(Op::Create, fault, 1);
        let mut browser = import.with_old(OLD);
        let answer = browser.get("/").await;
        assert_eq!((answer.status, answer.set_cookies()), (StatusCode::SERVICE_UNAVAILABLE, vec![]), "{fault:?}");
        let answer = browser.get("/user").await;
        assert_eq!((answer.body.as_str(), browser.cookies.len()), ("17", 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_that_fails_or_hangs_is_503() {
    for (what, hangs) in [("fails", false), ("hangs", true)] {
        let failures = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&failures);
        let setup = Setup::with(Backend::Memory, |builder| {
            builder.on_event(move |event| {
                if matches!(event, SessionEvent::Failed { operation: Operation::Import, .. }) {
                    told.fetch_add(1, SeqCst);
                }
            })
        });
        let layer = ImportLayer::new(old_cookie(), setup.clock.now() + DAY, move |_| async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Err::<Option<Imported>, _>("the old table is away")
        });
        let mut browser = Browser::new(routes().layer(layer).layer(setup.layer.clone()));
        browser.cookies.insert("__session".into(), OLD.into());
        let answer = browser.get("/user").await;
        assert_eq!((answer.status, answer.set_cookies()), (StatusCode::SERVICE_UNAVAILABLE, vec![]), "it {what}");
        assert_eq!((failures.load(SeqCst), setup.store.order()), (1, vec![]), "it {what}");
    }
}

#[tokio::test]
async fn what_is_too_large_goes_on_without_and_stays_with_the_client() {
    for (limit, is_imported) in [(200, false), (600, true)] {
        let setup = Setup::with(Backend::Memory, |builder| builder.max_record_bytes(limit));
        let import = Import::on(setup);
        let answer = import.with_old(OLD).get("/user").await;
        let expected = if is_imported { "17" } else { "nobody" };
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, expected), "{limit}");
        assert_eq!(removal(&answer).is_some(), is_imported, "{limit}");
        assert_eq!(import.setup.store.writes(), usize::from(is_imported), "{limit}");
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_leaves_the_old_cookie_good() {
    for halts in 0..4 {
        let import = Import::new(Backend::Remote);
        let browser = import.with_old(OLD);
        let mut asking = Box::pin(browser.send_without_keeping("GET", "/", ""));
        for _ in 0..halts {
            assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(asking.as_mut().poll(cx))).await.is_pending());
        }
        drop(asking);
        let mut browser = browser;
        assert_eq!(browser.get("/user").await.body, "17", "after {halts} steps");
    }
}

#[tokio::test]
async fn a_layer_that_cannot_work_says_so() {
    let setup = Setup::new(Backend::Memory);
    let import = |name| {
        let cookie = SessionCookie::builder().name(name).build().unwrap();
        ImportLayer::new(cookie, setup.clock.now() + DAY, importer(&Arc::default()))
    };
    for (what, app, name) in [
        ("no layer around it", routes().layer(import("__session")), "__session"),
        ("the layer inside it", routes().layer(setup.layer.clone()).layer(import("__session")), "__session"),
        ("the same name", routes().layer(import("sid")).layer(setup.layer.clone()), "sid"),
    ] {
        let mut browser = Browser::new(app);
        assert_eq!(browser.get("/").await.status, StatusCode::OK, "{what}");
        browser.cookies.insert(name.into(), OLD.into());
        assert_eq!(browser.get("/").await.status, StatusCode::INTERNAL_SERVER_ERROR, "{what}");
    }
}
