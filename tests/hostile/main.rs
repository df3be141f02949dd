//! Nothing that a client sends gains it anything (promises 4 to 8).

mod adoption;
mod fixation;
mod fuzz;
mod secrets;
mod shapes;
mod successors;
#[path = "../support/mod.rs"]
mod support;
mod token_header;
mod two_cookies;
