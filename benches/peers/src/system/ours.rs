//! `tower-session-layer` with its defaults.

use std::hint::black_box;

use tower::{Layer as _, service_fn};
use tower_session_layer::{MemoryStore, Session, SessionLayer, SessionStore};

use super::{App, System, done};
use crate::work::{ADA, COUNT, USER, latest, next};
use crate::{Request, Shape};

/// This crate's layer.
#[derive(Debug)]
pub struct Ours(SessionLayer);

impl Ours {
    /// Creates it with its memory store.
    pub fn new() -> Self {
        Self::with(MemoryStore::new())
    }

    /// Creates it with another store.
    pub fn with(store: impl SessionStore) -> Self {
        Self(SessionLayer::new(store))
    }
}

impl Default for Ours {
    fn default() -> Self {
        Self::new()
    }
}

fn session(request: &Request) -> Session {
    Session::from_extensions(request.extensions()).expect("the layer is there")
}

impl System for Ours {
    fn nothing(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| done(request)))
    }

    fn read(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            let user = session(&request).get::<String>(USER).expect("a string");
            assert_eq!(black_box(user).as_deref(), Some(ADA));
            done(request)
        }))
    }

    fn write(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            session(&request).insert(COUNT, next()).expect("room");
            done(request)
        }))
    }

    fn create(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            session(&request).insert(USER, ADA).expect("room");
            done(request)
        }))
    }

    fn fill(&self, shape: Shape) -> impl App {
        self.0.layer(service_fn(move |request: Request| async move {
            for (key, value) in shape.values() {
                session(&request).insert(&key, value).expect("room");
            }
            done(request)
        }))
    }

    fn check(&self) -> impl App {
        self.0.layer(service_fn(async |request: Request| {
            assert_eq!(session(&request).get::<u64>(COUNT).expect("a number"), Some(latest()));
            done(request)
        }))
    }
}
