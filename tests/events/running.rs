//! The page of the guide on running a service: each event and counter that it names is there, and counts what it should.

#[path = "../../examples/metrics/counters.rs"]
mod counters;
#[path = "../../examples/metrics/log.rs"]
mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::page::logged;
use crate::support::direct::{act, begin, hold, send};
use crate::support::log::listen;
use crate::support::{Answer, Backend, DAY, Fault, HOUR, MINUTE, Op, Setup, renewal_keys};
use http::StatusCode;
use tower_session_layer::{Error, MemoryStore, Session, SessionLayer};
use tracing_subscriber::layer::SubscriberExt as _;

use self::counters::Metrics;

const PAGE: &str = include_str!("../../src/guide/running.md");

/// The series of the counters with their values, such as `a_total{why="b"}`.
fn series(metrics: &Metrics) -> BTreeMap<String, String> {
    let text = metrics.to_string();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

/// The names of these series without labels, and those of histograms.
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

/// The counters of a layer, with what has risen since the last look.
struct Counted {
    metrics: Arc<Metrics>,
    before: BTreeMap<String, String>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Counted {
    fn new() -> Self {
        listen();
        let metrics = Arc::new(Metrics::new());
        let subscriber = tracing_subscriber::registry().with(log::counting(Arc::clone(&metrics)));
        Self { before: series(&metrics), metrics, _guard: tracing::subscriber::set_default(subscriber) }
    }

    fn hook(&self) -> impl Fn(&tower_session_layer::SessionEvent<'_>) + Send + Sync + 'static {
        let metrics = Arc::clone(&self.metrics);
        move |event| metrics.count(event)
    }

    fn answered(&self, answer: &Answer) -> StatusCode {
        self.metrics.answered(answer.status);
        answer.status
    }

    /// What has risen, and to how much. The durations themselves are nobody's to foretell.
    fn risen(&mut self) -> Vec<String> {
        let now = series(&self.metrics);
        let is_exact = |name: &str| !name.contains("_seconds_bucket") && !name.contains("_seconds_sum");
        let risen = now.iter().filter(|(name, value)| self.before[*name] != **value && is_exact(name));
        let risen = risen.map(|(name, value)| format!("{name} {value}")).collect();
        self.before = now;
        risen
    }
}

#[tokio::test]
async fn each_counter_of_tokens_rises_with_its_event() {
    for backend in Backend::SERVER {
        let mut counted = Counted::new();
        let setup = Setup::with(backend, |builder| builder.renew_after(HOUR, renewal_keys()).on_event(counted.hook()));
        let layer = &setup.layer;
        let refused = |why: &str, count: usize| format!("session_tokens_refused_total{{why=\"{why}\"}} {count}");
        act(layer, Some("malformed!"), |_| ()).await;
        assert_eq!(counted.risen(), [refused("malformed", 1)], "{backend:?}");
        act(layer, Some(&"A".repeat(32)), |_| ()).await;
        assert_eq!(counted.risen(), [refused("unknown", 1)], "{backend:?}");
        let first = begin(layer, |session| session.insert("a", 1)).await;
        assert_eq!(counted.risen(), ["session_commit_seconds_count 1", "sessions_created_total 1"], "{backend:?}");
        let second = act(layer, Some(&first), |session| session.sign_in("ada")).await.token().unwrap();
        assert_eq!(counted.risen(), ["session_commit_seconds_count 2", "sessions_renewed_total 1"], "{backend:?}");
        act(layer, Some(&first), |_| ()).await;
        assert_eq!(counted.risen(), [refused("renewed", 1)], "{backend:?}");
        setup.clock.advance(HOUR);
        let third = act(layer, Some(&second), |session| drop(session.owner())).await.token().unwrap();
        setup.clock.advance(MINUTE);
        counted.risen();
        act(layer, Some(&second), |_| ()).await;
        assert_eq!(counted.risen(), [refused("forwarded", 1)], "{backend:?}: after its grace");
        layer.owners().revoke_all("ada").await.unwrap();
        let expected = ["session_revocations_total 1", "sessions_ended_total{how=\"revoked\"} 1"];
        assert_eq!(counted.risen(), expected, "{backend:?}");
        act(layer, Some(&third), |_| ()).await;
        assert_eq!(counted.risen(), [refused("revoked", 1)], "{backend:?}");
        let fourth = begin(layer, |session| session.insert("a", 1)).await;
        act(layer, Some(&fourth), Session::destroy).await;
        counted.risen();
        act(layer, Some(&fourth), |_| ()).await;
        assert_eq!(counted.risen(), [refused("destroyed", 1)], "{backend:?}");
    }
}

#[tokio::test]
async fn each_counter_of_503s_and_conflicts_rises_with_its_event() {
    for backend in Backend::SERVER {
        let mut counted = Counted::new();
        let setup = Setup::with(backend, |builder| builder.on_event(counted.hook()));
        let layer = &setup.layer;
        let late = send(layer, None, |session| async move {
            session.sign_in("ada")?;
            session.owners().revoke_all("ada").await.map(drop)
        });
        assert_eq!(counted.answered(&late.await), StatusCode::SERVICE_UNAVAILABLE, "{backend:?}");
        let expected = [
            "http_responses_total{status=\"503\"} 1",
            "session_commit_seconds_count 1",
            "session_log_events_total{event=\"session.sign_in.revoked\"} 1",
            "session_revocations_total 1",
        ];
        assert_eq!(counted.risen(), expected, "{backend:?}");
        // As the page advises.
        let in_time = send(layer, None, |session| async move {
            session.owners().revoke_all("ada").await?;
            session.sign_in("ada")
        });
        let in_time = in_time.await;
        assert_eq!(counted.answered(&in_time), StatusCode::OK, "{backend:?}");
        let token = in_time.token().unwrap();
        counted.risen();
        for (op, act_on, operation) in [
            (Op::Load, Session::clear as fn(&Session) -> Result<(), Error>, "load"),
            (Op::Update, |session: &Session| session.insert("a", 1), "commit"),
        ] {
            setup.store.fault(op, Fault::Fail, 1);
            counted.answered(&act(layer, Some(&token), act_on).await);
            let risen = counted.risen().join(" ");
            for expected in [
                format!("session_failures_total{{operation=\"{operation}\"}} 1"),
                format!("session_log_events_total{{event=\"session.{operation}.failed\"}} 1"),
                "http_responses_total{status=\"503\"}".to_owned(),
            ] {
                assert!(risen.contains(&expected), "{backend:?} {expected}: {risen}");
            }
        }
        let slow = hold(layer, &token, |session| session.insert("b", 1)).await;
        act(layer, Some(&token), |session| session.insert("c", 1)).await;
        counted.risen();
        slow.release().await;
        let risen = counted.risen().join(" ");
        assert!(risen.contains("session_conflicts_total 1") && risen.contains("session_commits_total 2"), "{risen}");
        let late = hold(layer, &token, |session| session.insert("d", 1)).await;
        act(layer, Some(&token), Session::destroy).await;
        counted.risen();
        late.release().await;
        let risen = counted.risen().join(" ");
        assert!(risen.contains("session_changes_dropped_total 1"), "{backend:?} {risen}");
    }
}

#[tokio::test(start_paused = true)]
async fn sweeps_and_evictions_are_counted_with_their_numbers() {
    let mut counted = Counted::new();
    let setup = Setup::with(Backend::Memory, |builder| builder.on_event(counted.hook()));
    for _ in 0..3 {
        begin(&setup.layer, |session| session.insert("a", 1)).await;
    }
    setup.clock.advance(8 * DAY);
    counted.risen();
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(counted.risen(), ["session_entries_swept_total 3"]);
    let small = MemoryStore::builder().max_sessions(2).build().unwrap();
    let layer = SessionLayer::builder(small).cookie_name("sid").on_event(counted.hook()).build().unwrap();
    for _ in 0..3 {
        begin(&layer, |session| session.insert("a", 1)).await;
    }
    let risen = counted.risen();
    let expected = ["session_log_events_total{event=\"session.store.evicted\"} 1", "sessions_evicted_total 1"];
    assert!(expected.iter().all(|expected| risen.contains(&(*expected).to_owned())), "{risen:?}");
}
