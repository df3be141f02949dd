//! The page of the guide on running a service, held against the events of the source and the counters of the example
//! `metrics`.

use std::collections::BTreeSet;

use crate::metrics::counters::Metrics;
use crate::metrics::series;
use crate::page::logged;

const PAGE: &str = include_str!("../../src/guide/running.md");

/// The names of series without labels, and those of histograms.
fn names<'a>(series: impl IntoIterator<Item = &'a String>) -> BTreeSet<&'a str> {
    let plain = series.into_iter().map(|name| name.split('{').next().unwrap());
    plain.flat_map(|name| [name, name.strip_suffix("_bucket").unwrap_or(name)]).collect()
}

/// The words of a page in which events and counters are named, each with the text behind it.
fn words(page: &str) -> Vec<(&str, &str)> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '.';
    let mut found = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find(is_part) {
        let word = &rest[start..];
        let end = word.find(|char| !is_part(char)).unwrap_or(word.len());
        found.push((word[..end].trim_end_matches('.'), &word[end..]));
        rest = &word[end..];
    }
    found
}

/// The events that a page names.
fn events(page: &str) -> BTreeSet<&str> {
    words(page).into_iter().map(|(word, _)| word).filter(|word| word.starts_with("session.")).collect()
}

/// The counters that a page names, each as all the series that its selector asks for.
fn counters(page: &str) -> BTreeSet<String> {
    let page = page.replace("\\|", "|");
    let mut found = BTreeSet::new();
    for (word, behind) in words(&page) {
        if !["session_", "sessions_", "http_"].iter().any(|start| word.starts_with(start)) {
            continue;
        }
        let Some((selector, _)) = behind.strip_prefix('{').and_then(|behind| behind.split_once('}')) else {
            found.insert(word.to_owned());
            continue;
        };
        let (label, values) = selector.split_once('=').unwrap();
        let values = values.trim_start_matches('~').trim_matches('"').split('|');
        found.extend(values.map(|value| format!("{word}{{{label}=\"{value}\"}}")));
    }
    found
}

/// What the page names and nobody logs or counts.
fn made_up(page: &str) -> Vec<String> {
    let (logged, series) = (logged(), series(&Metrics::new()));
    let events = events(page).into_iter().filter(|event| *event != "session.commit" && !logged.contains_key(*event));
    let names = names(series.keys());
    let counters = counters(page).into_iter();
    let counters = counters.filter(|counter| !series.contains_key(counter) && !names.contains(counter.as_str()));
    events.map(str::to_owned).chain(counters).collect()
}

#[test]
fn each_event_and_counter_that_the_page_names_is_there() {
    assert_eq!(made_up(PAGE), [""; 0]);
    let named = counters(PAGE);
    for name in names(series(&Metrics::new()).keys()).into_iter().filter(|name| name.ends_with("_total")) {
        let is_named = named.iter().any(|counter| counter.split('{').next() == Some(name));
        assert!(is_named, "{name} is counted, and not on the page");
    }
}

/// What the reader above would not let pass.
#[test]
fn a_name_that_is_made_up_is_found() {
    let page = "`session.token.known`, `sessions_lost_total`, `sum(rate(session_failures_total{operation=~\"load\\|save\"}[5m]))`";
    let expected = ["session.token.known", "session_failures_total{operation=\"save\"}", "sessions_lost_total"];
    assert_eq!(made_up(page), expected);
}

/// An alarm on a warning needs its counter from the start.
#[test]
fn each_warning_and_error_of_the_log_is_counted_by_name() {
    let series = series(&Metrics::new());
    for (name, (level, _)) in logged() {
        let is_counted = series.contains_key(&format!("session_log_events_total{{event=\"{name}\"}}"));
        let is_refused_sign_in = matches!(&*name, "session.sign_in.revoked" | "session.sign_in.overtaken");
        assert_eq!(is_counted, is_refused_sign_in || level == "WARN" || level == "ERROR", "{name}");
    }
}
