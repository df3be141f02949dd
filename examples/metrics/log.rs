//! Counts what only the log tells: warnings and errors by name, refused sign-ins, sweeps, and the durations of commits.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::counters::Metrics;

/// Makes the layer. It hears of the events and spans that it counts, and of no others.
///
/// Sweeps and durations need `DEBUG`. A program that does without them names `INFO` here, which is cheaper with a store in
/// memory.
pub(crate) fn counting<S>(metrics: Arc<Metrics>) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Counting(metrics).with_filter(filter_fn(is_counted).with_max_level_hint(LevelFilter::DEBUG))
}

fn is_counted(metadata: &Metadata<'_>) -> bool {
    let is_named = matches!(
        metadata.name(),
        "session.commit" | "session.sweep.done" | "session.sign_in.revoked" | "session.sign_in.overtaken"
    );
    metadata.target().starts_with("tower_session_layer") && (is_named || *metadata.level() <= Level::WARN)
}

struct Counting(Arc<Metrics>);

/// The time at which a span began.
struct Began(Instant);

impl<S> Layer<S> for Counting
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        match event.metadata().name() {
            "session.sweep.done" => self.0.swept(number(event, "total")),
            name => {
                if name == "session.store.evicted" {
                    self.0.evicted(number(event, "evicted"));
                }
                self.0.logged(name);
            }
        }
    }

    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Began(Instant::now()));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        if let Some(Began(time)) = span.extensions().get() {
            self.0.committed_within(time.elapsed());
        }
    }
}

/// Returns a field of an event; zero if the event has no such number.
fn number(event: &Event<'_>, name: &'static str) -> u64 {
    struct Number(&'static str, u64);

    impl Visit for Number {
        fn record_u64(&mut self, field: &Field, value: u64) {
            if field.name() == self.0 {
                self.1 = value;
            }
        }

        fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
    }

    let mut found = Number(name, 0);
    event.record(&mut found);
    found.1
}
