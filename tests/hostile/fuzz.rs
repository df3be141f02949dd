//! The bodies of the fuzz targets, on stable: `FUZZ_SECONDS=20 cargo test --test hostile fuzzed` runs each for that long.

mod bodies;
mod driver;

#[test]
fn fuzzed_cookie_headers_are_read_as_the_rules_say() {
    driver::run("cookies", bodies::cookies::run);
}

#[test]
fn fuzzed_records_are_read_back_as_they_were_written_or_refused() {
    driver::run("records", bodies::records::run);
}

#[test]
fn fuzzed_sealed_values_never_open() {
    driver::run("sealed", bodies::sealed::run);
}

#[test]
fn fuzzed_requests_leave_what_the_model_says() {
    driver::run("requests", bodies::requests::run);
}
