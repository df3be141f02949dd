//! Tables, and the machine that they come from.

use std::fs;
use std::process::Command;

use crate::Options;

/// Returns the machine, the compiler and the length of the measurement.
pub fn environment(options: &Options) -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let rustc = Command::new("rustc").arg("--version").output().ok();
    let rustc = rustc.and_then(|output| String::from_utf8(output.stdout).ok());
    format!(
        "{}; {}, {cores} cores; {} rounds; tower-sessions {}, axum_session {}, cookie {}",
        rustc.as_deref().map_or("an unknown rustc", str::trim),
        model.unwrap_or(std::env::consts::ARCH),
        options.rounds,
        version("tower-sessions", "0.15"),
        version("axum_session", ""),
        version("cookie", ""),
    )
}

/// Prints the title of a table.
pub fn heading(title: &str) {
    println!("\n## {title}\n");
}

/// Prints the first two lines of a table.
pub fn columns(names: &[&str]) {
    println!("| {} |", names.join(" | "));
    println!("|{}", "---|".repeat(names.len()));
}

/// Prints a line of a table.
pub fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// Returns nanoseconds as text.
pub fn nanoseconds(ns: f64) -> String {
    format!("{ns:.0}")
}

/// Returns a ratio with its significant digits.
pub fn ratio(ratio: f64) -> String {
    let digits = if ratio.abs() < 0.01 { 5 } else { 3 };
    format!("{ratio:.digits$}")
}

/// Returns the median of the values.
///
/// # Panics
///
/// There are no values.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values = Vec::from_iter(values);
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the version of a dependency in this build. Of several versions it is the one with the given prefix.
pub fn version(name: &str, beginning: &str) -> &'static str {
    let name = format!("name = \"{name}\"");
    let lines = include_str!("../Cargo.lock").lines();
    let pairs = lines.clone().zip(lines.skip(1)).filter(|(line, _)| *line == name);
    let mut versions = pairs.filter_map(|(_, line)| line.strip_prefix("version = \"")?.strip_suffix('"'));
    versions.find(|version| version.starts_with(beginning)).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        for beginning in ["0.14.", "0.15."] {
            let version = version("tower-sessions", beginning);
            assert!(version.starts_with(beginning), "{version}");
        }
        assert_eq!(version("no-such-crate", ""), "?");
    }

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median([9.0, 1.0, 5.0]), 5.0);
    }
}
