//! The handlers without any layer.

use tower::service_fn;

use super::{App, System, done};
use crate::work::next;
use crate::{Request, Shape};

/// No session layer.
#[derive(Debug)]
pub struct Bare;

impl System for Bare {
    fn nothing(&self) -> impl App {
        service_fn(async |request: Request| done(request))
    }

    fn read(&self) -> impl App {
        self.nothing()
    }

    fn write(&self) -> impl App {
        service_fn(async |request: Request| {
            std::hint::black_box(next());
            done(request)
        })
    }

    fn create(&self) -> impl App {
        self.nothing()
    }

    fn fill(&self, _: Shape) -> impl App {
        self.nothing()
    }

    fn check(&self) -> impl App {
        self.nothing()
    }

    fn keeps_sessions(&self) -> bool {
        false
    }
}
