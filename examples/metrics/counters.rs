//! The counters, and the text that Prometheus reads, in its format 0.0.4.

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::http::StatusCode;
use tower_session_layer::store::TombstoneKind;
use tower_session_layer::{Operation, Refusal, SessionEvent};

/// The events of the log that are counted by name: all warnings and errors, and the sign-ins that were refused.
const LOGGED: &[&str] = &[
    "session.token.taken",
    "session.cookie.unreadable",
    "session.record.unreadable",
    "session.record.unopened",
    "session.load.failed",
    "session.commit.failed",
    "session.touch.failed",
    "session.tombstone.given_up",
    "session.expired.kept",
    "session.redis.policy_unknown",
    "session.renew.failed",
    "session.renew.abandoned",
    "session.changes.unsent",
    "session.changes.not_modified",
    "session.changes.lost",
    "session.sign_in.revoked",
    "session.sign_in.overtaken",
    "session.owner.limit.failed",
    "session.import.failed",
    "session.import.misplaced",
    "session.layer.doubled",
    "session.handle.missing",
    "session.response.failed",
    "session.sweep.failed",
    "session.sweep.panicked",
    "session.sweep.stopped",
    "session.store.evicted",
    "session.hook.panicked",
    "other",
];

/// Names, help texts, labels and the values of each label. The values are fixed, so that no text of a client becomes a
/// time series.
const FAMILIES: [(&str, &str, &str, &[&str]); 15] = [
    ("sessions_created_total", "Sessions that began.", "", &[""]),
    ("sessions_imported_total", "Sessions imported from another library.", "", &[""]),
    ("session_commits_total", "Commits whose changes are durable.", "", &[""]),
    ("sessions_renewed_total", "Sessions whose token was replaced, as by a sign-in.", "", &[""]),
    ("sessions_refreshed_total", "Deadlines that were moved.", "", &[""]),
    ("sessions_ended_total", "Sessions that were ended.", "how", &["destroyed", "emptied", "revoked", "limited"]),
    ("session_revocations_total", "Revocations that were carried out.", "", &[""]),
    (
        "session_tokens_refused_total",
        "Tokens that were not accepted.",
        "why",
        &["malformed", "unknown", "renewed", "forwarded", "destroyed", "revoked", "other"],
    ),
    ("session_conflicts_total", "Writes that conflicted and were tried again.", "", &[""]),
    ("session_changes_dropped_total", "Requests whose session ended while they held it.", "", &[""]),
    (
        "session_failures_total",
        "Operations that failed.",
        "operation",
        &["load", "commit", "touch", "renew", "list", "revoke", "sweep", "import", "other"],
    ),
    ("session_log_events_total", "Events of the log.", "event", LOGGED),
    ("session_entries_swept_total", "Expired sessions and tombstones that sweeps removed.", "", &[""]),
    ("sessions_evicted_total", "Sessions that a full memory store gave up.", "", &[""]),
    ("http_responses_total", "Responses of the program.", "status", &["503", "other"]),
];

/// The upper bounds of the histogram of commits, in seconds. The last one is the default store timeout.
const BOUNDS: [(f64, &str); 6] =
    [(0.005, "0.005"), (0.025, "0.025"), (0.1, "0.1"), (0.5, "0.5"), (1.0, "1"), (5.0, "5")];

/// The counters. One that was never raised shows as 0, so that Prometheus sees its first rise.
pub(crate) struct Metrics {
    /// In the order of the names and of the values of their labels.
    counts: Vec<Vec<AtomicU64>>,
    /// The commits within each bound and beyond the last one.
    commits: [AtomicU64; BOUNDS.len() + 1],
    commit_micros: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let counts = FAMILIES.map(|(.., values)| values.iter().map(|_| AtomicU64::default()).collect());
        Self { counts: counts.into(), commits: Default::default(), commit_micros: AtomicU64::default() }
    }

    /// Counts an event of the hook.
    pub(crate) fn count(&self, event: &SessionEvent<'_>) {
        match event {
            SessionEvent::Created { .. } => self.add("sessions_created_total", "", 1),
            SessionEvent::Imported { .. } => self.add("sessions_imported_total", "", 1),
            SessionEvent::Committed { .. } => self.add("session_commits_total", "", 1),
            SessionEvent::Renewed { .. } => self.add("sessions_renewed_total", "", 1),
            SessionEvent::Refreshed { .. } => self.add("sessions_refreshed_total", "", 1),
            SessionEvent::Removed { .. } => self.add("sessions_ended_total", "emptied", 1),
            SessionEvent::Destroyed { .. } => self.add("sessions_ended_total", "destroyed", 1),
            SessionEvent::Revoked { ended, .. } => {
                self.add("session_revocations_total", "", 1);
                self.add("sessions_ended_total", "revoked", *ended as u64);
            }
            SessionEvent::Limited { ended, .. } => self.add("sessions_ended_total", "limited", *ended as u64),
            SessionEvent::Refused { why, .. } => self.add("session_tokens_refused_total", reason(*why), 1),
            SessionEvent::Conflict { tries, .. } => self.add("session_conflicts_total", "", *tries as u64),
            SessionEvent::Dropped { .. } => self.add("session_changes_dropped_total", "", 1),
            SessionEvent::Failed { operation, .. } => self.add("session_failures_total", name(*operation), 1),
            // Another version of the crate may add events.
            _ => {}
        }
    }

    /// Counts an event of the log.
    pub(crate) fn logged(&self, event: &str) {
        self.add("session_log_events_total", event, 1);
    }

    pub(crate) fn swept(&self, entries: u64) {
        self.add("session_entries_swept_total", "", entries);
    }

    pub(crate) fn evicted(&self, sessions: u64) {
        self.add("sessions_evicted_total", "", sessions);
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        self.add("http_responses_total", if status == StatusCode::SERVICE_UNAVAILABLE { "503" } else { "other" }, 1);
    }

    pub(crate) fn committed_within(&self, taken: Duration) {
        let at = BOUNDS.iter().position(|(bound, _)| taken.as_secs_f64() <= *bound);
        self.commits[at.unwrap_or(BOUNDS.len())].fetch_add(1, Relaxed);
        self.commit_micros.fetch_add(u64::try_from(taken.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    fn add(&self, name: &str, value: &str, by: u64) {
        let Some(at) = FAMILIES.iter().position(|family| family.0 == name) else { return };
        let values = FAMILIES[at].3;
        let known = values.iter().position(|known| *known == value);
        if let Some(series) = known.or_else(|| values.iter().position(|known| *known == "other")) {
            self.counts[at][series].fetch_add(by, Relaxed);
        }
    }
}

impl Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((name, help, label, values), counts) in FAMILIES.iter().zip(&self.counts) {
            writeln!(f, "# HELP {name} {help}\n# TYPE {name} counter")?;
            for (value, count) in values.iter().zip(counts) {
                f.write_str(name)?;
                if !label.is_empty() {
                    write!(f, "{{{label}=\"{value}\"}}")?;
                }
                writeln!(f, " {}", count.load(Relaxed))?;
            }
        }
        let name = "session_commit_seconds";
        writeln!(f, "# HELP {name} Durations of commits that called the store.\n# TYPE {name} histogram")?;
        let mut within = 0;
        for ((_, bound), count) in BOUNDS.iter().chain([&(f64::INFINITY, "+Inf")]).zip(&self.commits) {
            within += count.load(Relaxed);
            writeln!(f, "{name}_bucket{{le=\"{bound}\"}} {within}")?;
        }
        let total = Duration::from_micros(self.commit_micros.load(Relaxed));
        writeln!(f, "{name}_sum {}\n{name}_count {within}", total.as_secs_f64())
    }
}

fn reason(why: Refusal) -> &'static str {
    match why {
        Refusal::Malformed => "malformed",
        Refusal::Unknown => "unknown",
        Refusal::Dead(TombstoneKind::Renewed) => "renewed",
        Refusal::Dead(TombstoneKind::Forwarded) => "forwarded",
        Refusal::Dead(TombstoneKind::Destroyed) => "destroyed",
        Refusal::Dead(TombstoneKind::Revoked) => "revoked",
        _ => "other",
    }
}

fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::Load => "load",
        Operation::Commit => "commit",
        Operation::Touch => "touch",
        Operation::Renew => "renew",
        Operation::List => "list",
        Operation::Revoke => "revoke",
        Operation::Sweep => "sweep",
        Operation::Import => "import",
        _ => "other",
    }
}
