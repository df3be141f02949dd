//! The instructions that the layer adds to a bare service. Valgrind counts them, so that a change of two per cent shows even
//! on a busy machine.
//!
//! `cargo bench --bench instructions` prints the table; `-- --check` compares it with `benches/instructions.txt`; `-- --record`
//! writes it there; `-- --test` only runs each work, without valgrind.
//!
//! Each work runs twice in a process of its own, with N requests and with 2 N. The difference is the cost of N requests,
//! without start and setup.

#![allow(clippy::print_stdout, reason = "the table is for people")]

mod support;

use std::error::Error;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::{env, fs};

use tower_session_layer::{MemoryStore, SessionLayer};

use self::support::{Work, answer, bare, fill, request, working};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
const REQUESTS: u64 = 10_000;
/// The most that a count may differ from the baseline, in per cent.
const TOLERANCE: f64 = 2.0;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["--run", work, service, requests] => run_named(work, service, requests),
        ["--test"] => {
            test();
            Ok(())
        }
        ["--check"] => check(),
        ["--record"] => record(),
        [] => measure().map(|counts| print!("{}", table(&counts))),
        _ => Err("expected nothing, `--check`, `--record` or `--test`".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sends the requests of one process under valgrind.
fn run(work: Work, is_bare: bool, requests: u64) {
    let layer = SessionLayer::new(MemoryStore::new());
    let cookie = work.has_cookie().then(|| fill(&layer, 10));
    let (mut bare, mut with) = (bare(), working(&layer, work));
    for _ in 0..requests {
        let request = request(cookie.as_ref());
        let response = if is_bare { answer(&mut bare, request) } else { answer(&mut with, request) };
        drop(std::hint::black_box(response));
    }
}

fn run_named(work: &str, service: &str, requests: &str) -> Outcome<()> {
    let work = Work::ALL.into_iter().find(|known| known.name() == work).ok_or("no such work")?;
    run(work, service == "bare", requests.parse()?);
    Ok(())
}

fn test() {
    for work in Work::ALL {
        run(work, true, 3);
        run(work, false, 3);
        println!("{}: ok", work.name());
    }
}

/// Returns the instructions a request beyond the bare service, for each work.
fn measure() -> Outcome<Vec<(&'static str, u64)>> {
    let mut counts = Vec::new();
    for work in Work::ALL {
        let with = per_request(work, "layer")?;
        let bare = per_request(work, "bare")?;
        counts.push((work.name(), with.saturating_sub(bare)));
    }
    Ok(counts)
}

fn per_request(work: Work, service: &str) -> Outcome<u64> {
    let once = count(work, service, REQUESTS)?;
    let twice = count(work, service, 2 * REQUESTS)?;
    Ok(twice.saturating_sub(once) / REQUESTS)
}

fn count(work: Work, service: &str, requests: u64) -> Outcome<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["--run", work.name(), service, &requests.to_string()])
        .output()
        .map_err(|error| {
            format!("valgrind does not start ({error}): install it, as with `apt-get install valgrind`")
        })?;
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
    match collected {
        Some(count) if output.status.success() => Ok(count.parse()?),
        _ => Err(format!("valgrind failed ({}):\n{report}", output.status).into()),
    }
}

fn table(counts: &[(&str, u64)]) -> String {
    let mut table = format!("# {}\n# instructions beyond the bare service\n", compiler());
    for (work, count) in counts {
        writeln!(table, "{work:<16}{count:>8}").expect("a string takes it");
    }
    table
}

fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&version).trim().to_owned()
}

fn record() -> Outcome<()> {
    let table = table(&measure()?);
    print!("{table}");
    Ok(fs::write(BASELINE, table)?)
}

/// Compares the counts with the baseline. Another compiler gives other counts, so the comparison is then only printed.
fn check() -> Outcome<()> {
    let baseline = fs::read_to_string(BASELINE).map_err(|error| format!("{BASELINE}: {error}; use `--record`"))?;
    let before = baseline.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
    let compiler = compiler();
    println!("{compiler}; the baseline is of {before}");
    let mut missed = Vec::new();
    for (work, count) in measure()? {
        let line = baseline.lines().find_map(|line| line.strip_prefix(work));
        let expected: u64 =
            line.ok_or_else(|| format!("the baseline lacks `{work}`; use `--record`"))?.trim().parse()?;
        let change = percent(count, expected);
        println!("{work:<16}{count:>8}, was {expected:>8}: {change:+.2} %");
        if change.abs() > TOLERANCE {
            missed.push(work);
        }
    }
    if missed.is_empty() || before != compiler {
        return Ok(());
    }
    Err(format!("changed by more than {TOLERANCE} %: {}; if that is meant, use `--record`", missed.join(", ")).into())
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn percent(count: u64, expected: u64) -> f64 {
    (count as f64 - expected as f64) * 100.0 / expected.max(1) as f64
}
