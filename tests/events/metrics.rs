//! The counters of the example `metrics`: each rises with its event, and by the right number.

#[path = "../../examples/metrics/counters.rs"]
pub(crate) mod counters;
#[path = "../../examples/metrics/log.rs"]
mod log;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::direct::{act, begin, hold, send};
use crate::support::log::listen;
use crate::support::{Answer, Backend, DAY, Fault, HOUR, MINUTE, Op, Setup, renewal_keys};
use http::StatusCode;
use tower_session_layer::{Error, MemoryStore, Session, SessionEvent, SessionLayer};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;

use self::counters::Metrics;

/// The series of the counters with their values, such as `a_total{why="b"}`.
pub(crate) fn series(metrics: &Metrics) -> BTreeMap<String, String> {
    let text = metrics.to_string();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

/// The counters of a layer, with what has risen since the last look.
struct Counted {
    metrics: Arc<Metrics>,
    before: BTreeMap<String, String>,
    _guard: DefaultGuard,
}

impl Counted {
    fn new() -> Self {
        listen();
        let metrics = Arc::new(Metrics::new());
        let subscriber = tracing_subscriber::registry().with(log::counting(Arc::clone(&metrics)));
        Self { before: series(&metrics), metrics, _guard: tracing::subscriber::set_default(subscriber) }
    }

    fn hook(&self) -> impl Fn(&SessionEvent<'_>) + Send + Sync + 'static {
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
async fn each_counter_of_sessions_rises_with_its_event() {
    for backend in Backend::SERVER {
        let mut counted = Counted::new();
        let setup = Setup::with(backend, |builder| builder.max_sessions_per_owner(1).on_event(counted.hook()));
        let layer = &setup.layer;
        let token = begin(layer, |session| session.insert("a", 1)).await;
        setup.clock.advance(DAY);
        counted.risen();
        act(layer, Some(&token), |session| assert_eq!(session.len(), 1)).await;
        let expected = ["session_commit_seconds_count 2", "sessions_refreshed_total 1"];
        assert_eq!(counted.risen(), expected, "{backend:?}");
        act(layer, Some(&token), |session| session.insert("b", 1)).await;
        assert_eq!(counted.risen(), ["session_commit_seconds_count 3", "session_commits_total 1"], "{backend:?}");
        act(layer, Some(&token), Session::clear).await;
        let expected = ["session_commit_seconds_count 4", "sessions_ended_total{how=\"emptied\"} 1"];
        assert_eq!(counted.risen(), expected, "{backend:?}");
        for _ in 0..3 {
            counted.risen();
            begin(layer, |session| session.sign_in("ada")).await;
        }
        assert!(counted.risen().contains(&"sessions_ended_total{how=\"limited\"} 2".to_owned()), "{backend:?}");
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
        counted.risen();
        act(layer, Some(&fourth), Session::destroy).await;
        let expected = ["session_commit_seconds_count 5", "sessions_ended_total{how=\"destroyed\"} 1"];
        assert_eq!(counted.risen(), expected, "{backend:?}");
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
