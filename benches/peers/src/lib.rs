//! What the session layer adds to a service, beside what its peers add.
//!
//! Everything here is in process and without a network: a request of a browser goes through a tower service, and the
//! response is dropped. The same request goes through the same service without any layer, and the difference is the
//! overhead. Systems take turns in short batches, so that whatever else the machine does meets them all alike, and the
//! median of many rounds counts.

// What handlers do, and what a session holds.
pub mod work;
// The client: its headers, and the cookie that it keeps.
pub mod browser;
// The layers, each with one handler per work.
pub mod system;
// One system at one work, measured batch by batch.
pub mod lane;
// What the command line says.
pub mod options;
// Tables, and the machine that they are of.
pub mod report;

pub use self::lane::{Lane, interleave};
pub use self::options::Options;
pub use self::system::System;
pub use self::work::{Case, Shape, Work};

/// Nobody sends a body.
pub type Body = http_body_util::Empty<bytes::Bytes>;
pub type Request = http::Request<Body>;
pub type Response = http::Response<Body>;

/// The runtime of one thread that everything is measured on.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
