//! The layers, each with one handler for each work.
//!
//! A program has one handler for each route. A handler for all works would be a larger future than any of these, and the
//! peers box it.

mod axum_session;
mod bare;
mod ours;
mod private_jar;
mod tower_sessions;

use std::convert::Infallible;
use std::hint::black_box;

use tower::Service;

pub use self::axum_session::AxumSession;
pub use self::bare::Bare;
pub use self::ours::Ours;
pub use self::private_jar::PrivateJar;
pub use self::tower_sessions::TowerSessions;
use crate::{Request, Response, Shape};

/// A service that answers requests.
pub trait App: Service<Request, Response = Response, Error = Infallible> {}

impl<S: Service<Request, Response = Response, Error = Infallible>> App for S {}

/// A session layer and its store.
pub trait System {
    /// Serves a handler that does not ask for the session.
    fn nothing(&self) -> impl App;
    /// Serves a handler that reads the user.
    fn read(&self) -> impl App;
    /// Serves a handler that writes the next number.
    fn write(&self) -> impl App;
    /// Serves a handler that writes the user.
    fn create(&self) -> impl App;

    /// Serves the handler that makes the session before the measurement.
    fn fill(&self, shape: Shape) -> impl App;
    /// Serves a handler that panics unless the number is the latest.
    fn check(&self) -> impl App;
    /// Returns whether the system has sessions.
    fn keeps_sessions(&self) -> bool {
        true
    }
}

/// Ends a handler with an empty response. The request lives until here.
#[expect(clippy::unnecessary_wraps, reason = "it is what services return")]
fn done(request: Request) -> Result<Response, Infallible> {
    drop(black_box(request));
    Ok(Response::default())
}
