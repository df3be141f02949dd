//! When a call of the store panics (promises 23 and 24).

use http::StatusCode;

use super::loads_and_handlers::{PATIENCE, handle, refused};
use crate::support::{Backend, Fault, Op, Setup, serve};

#[tokio::test]
async fn store_that_panics_is_503_and_the_next_request_works() {
    for backend in Backend::ALL {
        for (what, op) in [
            ("read", Op::Load),
            ("change", Op::Update),
            ("renew", Op::Create),
            ("renew", Op::Update),
            ("sign_in", Op::Create),
            ("destroy", Op::Delete),
        ] {
            let is_sealed_write = backend == Backend::Cookie && op != Op::Load;
            let op = if is_sealed_write { Op::Update } else { op };
            let setup = Setup::with(backend, |builder| builder.store_timeout(PATIENCE));
            let mut browser = serve(&setup, handle);
            setup.store.fault(Op::Create, Fault::Panic, 1);
            assert!(refused(&browser.post("/ok/write").await), "{backend:?}");
            setup.store.fault(Op::Create, Fault::Panic, 1);
            let answer = browser.post("/ok/retry").await;
            assert_eq!(
                answer.status,
                StatusCode::OK,
                "{backend:?}: an explicit commit is an error, and the next is none"
            );
            setup.store.fault(op, Fault::Panic, usize::MAX);
            // The second request finds what the first has left.
            for _ in 0..2 {
                let answer = browser.send_without_keeping("POST", &format!("/ok/{what}"), "").await;
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{backend:?} {what} {op:?}");
                assert_eq!(answer.removes_cookie(), what == "destroy", "{backend:?} {what} {op:?}");
            }
            setup.store.heal();
            let answer = browser.post(&format!("/ok/{what}")).await;
            assert_eq!(answer.status, StatusCode::OK, "{backend:?} {what} {op:?}");
        }
    }
}

#[tokio::test]
async fn call_about_an_owner_that_panics_is_an_error() {
    for backend in Backend::SERVER {
        let setup = Setup::with(backend, |builder| builder.max_sessions_per_owner(1));
        let mut browser = serve(&setup, handle);
        browser.post("/ok/sign_in").await;
        let owners = setup.layer.owners();
        setup.store.fault(Op::Owned, Fault::Panic, 2);
        assert!(owners.list("ada").await.unwrap_err().is_unavailable(), "{backend:?}");
        assert_eq!(browser.another().post("/ok/sign_in").await.status, StatusCode::OK, "{backend:?}: signed in");
        setup.store.fault(Op::Revoke, Fault::Panic, 1);
        assert!(owners.revoke_all("ada").await.unwrap_err().is_unavailable(), "{backend:?}");
        assert_eq!(owners.list("ada").await.unwrap().len(), 2, "{backend:?}");
        assert_eq!(owners.revoke_all("ada").await.unwrap(), 2, "{backend:?}");
    }
}
