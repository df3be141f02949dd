//! The session in the client's cookie: what its seal keeps out, how its keys rotate, how its deadlines hold.

mod contract;
mod room;
mod seal;
mod support;
