//! The command line.

use std::time::Duration;

/// The length and the subject of a measurement.
#[derive(Clone, Debug)]
pub struct Options {
    /// The number of rounds, which is odd.
    pub rounds: usize,
    /// The approximate time of one batch of one system. It is less than a scheduler's slice, so that on a busy machine most
    /// batches run undisturbed.
    pub batch: Duration,
    /// The number of requests that a thread sends in one round, if that is fixed.
    pub requests: u32,
    filter: Option<String>,
}

impl Options {
    /// Reads the arguments that `cargo bench -- [--quick] [FILTER]` passes on.
    pub fn from_args() -> Self {
        let mut options = Self { rounds: 201, batch: Duration::from_micros(500), requests: 20_000, filter: None };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                // An argument of Cargo itself.
                "--bench" => {}
                "--quick" => {
                    options.rounds = 5;
                    options.batch = Duration::from_micros(200);
                    options.requests = 1_000;
                }
                filter if !filter.starts_with('-') && options.filter.is_none() => {
                    options.filter = Some(argument);
                }
                _ => {
                    eprintln!(
                        "expected [--quick] [FILTER], part of a row of `table`, one of cookie, file, threads, or an engine; got {argument}"
                    );
                    std::process::exit(2);
                }
            }
        }
        options
    }

    /// Returns whether to measure a row.
    pub fn wants(&self, row: &str) -> bool {
        self.filter.as_deref().is_none_or(|filter| row.contains(filter))
    }
}
