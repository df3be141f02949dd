//! `tower-sessions` as its documentation sets it up ("Usage with an `axum` application" on docs.rs/tower-sessions).

use std::hint::black_box;

use time::Duration;
use tower::{Layer as _, service_fn};
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer};

use super::{App, System, done};
use crate::work::{ADA, COUNT, USER, latest, next};
use crate::{Request, Shape};

/// `tower-sessions` with its memory store.
#[derive(Debug)]
pub struct TowerSessions(SessionManagerLayer<MemoryStore>);

impl TowerSessions {
    /// Creates it with an expiry on inactivity, as in that example, but of our default length, and with its default of secure
    /// cookies.
    pub fn new() -> Self {
        Self(SessionManagerLayer::new(MemoryStore::default()).with_expiry(Expiry::OnInactivity(Duration::days(7))))
    }
}

impl Default for TowerSessions {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the session, as its extractor does.
fn session(request: &Request) -> Session {
    request.extensions().get::<Session>().cloned().expect("the layer is there")
}

impl System for TowerSessions {
    fn nothing(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| done(request)))
    }

    fn read(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            let user = session(&request).get::<String>(USER).await.expect("a string");
            assert_eq!(black_box(user).as_deref(), Some(ADA));
            done(request)
        }))
    }

    fn write(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            session(&request).insert(COUNT, next()).await.expect("a store");
            done(request)
        }))
    }

    fn create(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            session(&request).insert(USER, ADA).await.expect("a store");
            done(request)
        }))
    }

    fn fill(&self, shape: Shape) -> impl App {
        self.0.layer(service_fn(move |request: Request| async move {
            for (key, value) in shape.values() {
                session(&request).insert(&key, value).await.expect("a store");
            }
            done(request)
        }))
    }

    fn check(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            assert_eq!(session(&request).get::<u64>(COUNT).await.expect("a number"), Some(latest()));
            done(request)
        }))
    }
}
