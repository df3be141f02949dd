//! The layers, each with one handler per work.
//!
//! A handler for each work, as a program has one for each route: a handler that could do them all would be a larger
//! future than any of them, and the peers box it.

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

    /// Serves the handler that makes a session, before anything is measured.
    fn fill(&self, shape: Shape) -> impl App;
    /// Serves a handler that panics unless the number is the latest.
    fn check(&self) -> impl App;
    /// Returns whether there are sessions at all.
    fn keeps_sessions(&self) -> bool {
        true
    }
}

/// Ends a handler: the request has lived until here, and the response is empty.
#[expect(clippy::unnecessary_wraps, reason = "it is what services return")]
fn done(request: Request) -> Result<Response, Infallible> {
    drop(black_box(request));
    Ok(Response::default())
}
