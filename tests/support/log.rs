//! The events of a test, as lines of text.

use std::io;
use std::sync::{Arc, Mutex, Once};

use tracing::subscriber::DefaultGuard;
use tracing::{Level, Subscriber};
use tracing_subscriber::fmt::format::FmtSpan;

/// Collects the events of this thread, down to `TRACE`, until it is dropped.
pub struct Log {
    text: Buffer,
    _guard: Option<DefaultGuard>,
}

impl Log {
    pub fn capture() -> Self {
        listen();
        Self::of_this_thread(FmtSpan::NONE, Level::TRACE)
    }

    /// The warnings and errors alone, as a program in production hears them. What is switched off for all depends on the
    /// most talkative listener of the process, so the test must be [alone](super::is_alone).
    pub fn capture_warnings() -> Self {
        Self::of_this_thread(FmtSpan::NONE, Level::WARN)
    }

    /// The spans too, with all their fields, whenever one opens, is entered, is left or closes.
    pub fn capture_with_spans() -> Self {
        listen();
        Self::of_this_thread(FmtSpan::FULL, Level::TRACE)
    }

    /// The same of all threads, for ever: for a test that is alone in its program.
    pub fn capture_everywhere() -> Self {
        let text = Buffer::default();
        tracing::subscriber::set_global_default(subscriber(&text, FmtSpan::FULL, Level::TRACE)).unwrap();
        Self { text, _guard: None }
    }

    fn of_this_thread(spans: FmtSpan, level: Level) -> Self {
        let text = Buffer::default();
        let subscriber = subscriber(&text, spans, level);
        Self { text, _guard: Some(tracing::subscriber::set_default(subscriber)) }
    }

    /// What was logged so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.text.0.lock().unwrap().clone()).unwrap()
    }

    /// What was logged since the last call.
    pub fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.text.0.lock().unwrap())).unwrap()
    }
}

fn subscriber(text: &Buffer, spans: FmtSpan, level: Level) -> impl Subscriber + Send + Sync + use<> {
    let writer = text.clone();
    let builder = tracing_subscriber::fmt().with_max_level(level).with_span_events(spans).without_time();
    builder.with_writer(move || writer.clone()).finish()
}

/// Makes sure that somebody listens: an event that a test without a log reaches first is switched off for all otherwise.
pub fn listen() {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| {
        let deaf = tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(io::sink).finish();
        let _ = tracing::subscriber::set_global_default(deaf);
    });
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
