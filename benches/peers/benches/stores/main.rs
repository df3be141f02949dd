//! The other stores, and several threads.

mod cookie;
mod file;
mod threads;

use peers::{Options, report};

fn main() {
    let options = Options::from_args();
    println!("{}", report::environment(&options));
    cookie::report(&options);
    file::report(&options);
    threads::report(&options);
}
