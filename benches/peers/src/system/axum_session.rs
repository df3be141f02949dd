//! `axum_session` without a database, as its `examples/session_null_pool.rs` sets it up.

use std::hint::black_box;

use axum_session::{Session, SessionConfig, SessionLayer, SessionNullPool, SessionStore};
use tower::{Layer as _, service_fn};

use super::{App, System, done};
use crate::work::{ADA, COUNT, USER, latest, next};
use crate::{Request, Shape};

/// `axum_session` with its null pool, which keeps sessions only in its own map.
#[expect(missing_debug_implementations, reason = "its layer has none")]
pub struct AxumSession(SessionLayer<SessionNullPool>);

impl AxumSession {
    /// Creates it with the default configuration, as in that example. Without a database the name of a table has no effect.
    ///
    /// By default it makes a session for every client and sends its cookie with every response.
    pub async fn new() -> Self {
        let store = SessionStore::<SessionNullPool>::new(None, SessionConfig::default()).await;
        Self(SessionLayer::new(store.expect("a store")))
    }
}

/// Returns the session, as its extractor does.
fn session(request: &Request) -> Session<SessionNullPool> {
    request.extensions().get::<Session<SessionNullPool>>().cloned().expect("the layer is there")
}

impl System for AxumSession {
    fn nothing(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| done(request)))
    }

    fn read(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            let user = session(&request).get::<String>(USER);
            assert_eq!(black_box(user).as_deref(), Some(ADA));
            done(request)
        }))
    }

    fn write(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            session(&request).set(COUNT, next());
            done(request)
        }))
    }

    fn create(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            session(&request).set(USER, ADA);
            done(request)
        }))
    }

    fn fill(&self, shape: Shape) -> impl App {
        self.0.layer(service_fn(move |request: Request| async move {
            for (key, value) in shape.values() {
                session(&request).set(&key, value);
            }
            done(request)
        }))
    }

    fn check(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            assert_eq!(session(&request).get::<u64>(COUNT), Some(latest()));
            done(request)
        }))
    }
}
