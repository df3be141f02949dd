//! Part of the crate's own tests, since no other sees the decoders of its stores.

#[allow(unreachable_pub, missing_docs, clippy::pedantic, reason = "as for all bodies")]
mod bodies {
    #[allow(dead_code, reason = "the other bodies use the rest")]
    pub mod choices;
    pub mod formats;
    #[allow(dead_code, reason = "this is a body too")]
    pub mod records;
}
#[path = "driver.rs"]
mod driver;

#[test]
fn fuzzed_formats_are_read_or_refused() {
    driver::run("formats", bodies::formats::run);
}
