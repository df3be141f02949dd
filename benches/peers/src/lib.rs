//! The time that the session layer adds to a service, compared with its peers.
//!
//! Everything is in process and without a network: a browser's request goes through a tower service, and the response is
//! dropped. The same request goes through the same service without a layer, and the difference is the overhead. The systems take turns
//! in short batches, so that other work of the machine disturbs all of them alike, and the result is the median of many rounds.

// The work of handlers, and the values of a session.
pub mod work;
// The client: its headers, and the cookie that it keeps.
pub mod browser;
// The layers, each with one handler for each work.
pub mod system;
// One system at one work, measured batch by batch.
pub mod lane;
// The command line.
pub mod options;
// Tables, and the machine that they come from.
pub mod report;

pub use self::lane::{Lane, interleave};
pub use self::options::Options;
pub use self::system::System;
pub use self::work::{Case, Shape, Work};

/// A request without a body.
pub type Body = http_body_util::Empty<bytes::Bytes>;
pub type Request = http::Request<Body>;
pub type Response = http::Response<Body>;

/// Returns the runtime of all measurements, with one thread.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
