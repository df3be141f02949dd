//! The span of a commit: one each, none where nothing is committed, entered only while it works, and closed in any case.

use crate::support::scope;
use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future as _;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::support::direct::{act, begin, hold, respond, send};
use crate::support::{Backend, DAY, Fault, HOUR, Op, Setup};
use http::StatusCode;
use tower_session_layer::{KeyPrefix, Session, SessionToken, TokenShape};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// A span as it was when it closed, or as it is.
#[derive(Clone, Debug, Default)]
struct Seen {
    fields: HashMap<&'static str, String>,
    /// Whether a field was recorded again: a format that prints what is recorded shows both.
    twice: bool,
    /// The names of the events within.
    events: Vec<&'static str>,
    parent: Option<&'static str>,
    entered: usize,
    is_closed: bool,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}").trim_matches('"').to_owned();
        self.twice |= self.fields.insert(field.name(), text).is_some();
    }
}

impl Seen {
    fn of(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    /// Plan, occasion, conflicts, outcome.
    fn line(&self) -> String {
        assert!(self.is_closed && self.entered == 0 && !self.twice, "{self:?}");
        ["plan", "ending", "conflicts", "outcome"].map(|field| self.of(field)).join(" ")
    }
}

/// The commits of this thread, in the order in which they began.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<(Id, Seen)>>>);

impl Spans {
    fn capture(most: Level) -> (Self, DefaultGuard) {
        crate::support::log::listen();
        let spans = Self::default();
        let filter = tracing_subscriber::filter::LevelFilter::from_level(most);
        let subscriber = tracing_subscriber::registry().with(filter).with(spans.clone());
        (spans, tracing::subscriber::set_default(subscriber))
    }

    fn with(&self, id: &Id, change: impl FnOnce(&mut Seen)) {
        let mut spans = self.0.lock().unwrap();
        if let Some((_, seen)) = spans.iter_mut().rev().find(|(of, seen)| of == id && !seen.is_closed) {
            change(seen);
        }
    }

    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter().map(|(_, seen)| seen).collect()
    }

    fn lines(&self) -> Vec<String> {
        self.take().iter().map(Seen::line).collect()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        if !attributes.metadata().target().starts_with("tower_session_layer") {
            return;
        }
        assert_eq!((attributes.metadata().name(), *attributes.metadata().level()), ("session.commit", Level::DEBUG));
        let parent = context.span(id).and_then(|span| span.parent()).map(|parent| parent.name());
        let mut seen = Seen { parent, ..Seen::default() };
        attributes.record(&mut seen);
        self.0.lock().unwrap().push((id.clone(), seen));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: LayerContext<'_, S>) {
        self.with(id, |seen| values.record(seen));
    }

    fn on_event(&self, event: &Event<'_>, context: LayerContext<'_, S>) {
        if let Some(span) = context.event_span(event) {
            self.with(&span.id(), |seen| seen.events.push(event.metadata().name()));
        }
    }

    fn on_enter(&self, id: &Id, _: LayerContext<'_, S>) {
        self.with(id, |seen| seen.entered += 1);
    }

    fn on_exit(&self, id: &Id, _: LayerContext<'_, S>) {
        self.with(id, |seen| seen.entered -= 1);
    }

    fn on_close(&self, id: Id, _: LayerContext<'_, S>) {
        self.with(&id, |seen| seen.is_closed = true);
    }
}

/// The first eight digits of a token's digest.
fn key(token: &str, backend: Backend) -> String {
    let shape = if backend == Backend::Cookie { TokenShape::sealed(4_096, 1) } else { TokenShape::Random };
    KeyPrefix::from(SessionToken::parse(token.as_bytes(), shape, scope()).unwrap().key()).to_string()
}

#[tokio::test]
async fn each_commit_is_one_span_that_says_what_was_planned_and_what_came_of_it() {
    for backend in Backend::ALL {
        let (spans, _guard) = Spans::capture(Level::DEBUG);
        let setup = Setup::new(backend);
        let layer = &setup.layer;
        let first = begin(layer, |session| session.insert("a", 1)).await;
        let created = spans.take();
        assert_eq!(created.iter().map(Seen::line).collect::<Vec<_>>(), ["create response 0 stored"], "{backend:?}");
        assert!(created[0].of("key").contains(&key(&first, backend)), "{backend:?} {created:?}");
        assert_eq!(created[0].events, ["session.created"], "{backend:?}");
        let written = act(layer, Some(&first), |session| session.insert("b", 1)).await.token();
        let seen = spans.take();
        assert_eq!(seen.iter().map(Seen::line).collect::<Vec<_>>(), ["write response 0 stored"], "{backend:?}");
        assert!(seen[0].of("key").contains(&key(&first, backend)), "{backend:?} {seen:?}");
        let second = written.unwrap_or(first);
        let leads = |seen: &Seen, from: &str, to: &str| {
            assert!(seen.of("key").contains(&key(from, backend)), "{backend:?} {seen:?}");
            assert!(seen.of("successor").contains(&key(to, backend)), "{backend:?} {seen:?}");
        };
        assert_eq!(seen[0].of("successor").is_empty(), backend != Backend::Cookie, "{backend:?} {seen:?}");
        let third = act(layer, Some(&second), Session::renew).await.token().unwrap();
        let seen = spans.take();
        assert_eq!(seen.iter().map(Seen::line).collect::<Vec<_>>(), ["renew response 0 stored"], "{backend:?}");
        leads(&seen[0], &second, &third);
        setup.clock.advance(DAY);
        let fourth = act(layer, Some(&third), |session| assert_eq!(session.len(), 2)).await.token().unwrap_or(third);
        assert_eq!(spans.lines(), ["touch response 0 stored"], "{backend:?}");
        let again = act(layer, Some(&fourth), |session| session.destroy().and_then(|()| session.insert("c", 1))).await;
        let seen = spans.take();
        assert_eq!(seen.iter().map(Seen::line).collect::<Vec<_>>(), ["replace response 0 stored"], "{backend:?}");
        leads(&seen[0], &fourth, &again.token().unwrap());
        let fifth = begin(layer, |session| session.insert("a", 1)).await;
        act(layer, Some(&fifth), Session::clear).await;
        let sixth = begin(layer, |session| session.insert("a", 1)).await;
        spans.take();
        act(layer, Some(&sixth), Session::destroy).await;
        assert_eq!(spans.lines(), ["destroy response 0 stored"], "{backend:?}");
        if backend == Backend::Cookie {
            continue;
        }
        act(layer, Some(&sixth), |session| session.insert("b", 1)).await;
        assert_eq!(spans.lines(), ["refuse response 0 gone"], "{backend:?}");
        let twice = begin(layer, |session| session.insert("a", 1)).await;
        spans.take();
        send(layer, Some(&twice), |session| async move {
            session.insert("b", 1).unwrap();
            session.commit().await.unwrap();
            session.commit().await.unwrap();
            session.insert("c", 1)
        })
        .await;
        assert_eq!(spans.lines(), ["write explicit 0 stored", "write response 0 stored"], "{backend:?}");
    }
}

#[tokio::test]
async fn a_request_that_commits_nothing_has_no_span() {
    for backend in Backend::ALL {
        let (spans, _guard) = Spans::capture(Level::TRACE);
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        spans.take();
        act(&setup.layer, None, |session| assert!(session.is_empty())).await;
        act(&setup.layer, Some(&"A".repeat(32)), |session| assert!(session.is_empty())).await;
        act(&setup.layer, Some(&token), |session| session.insert("a", 1)).await;
        send(&setup.layer, Some(&token), |session| async move {
            session.commit().await.unwrap();
            session.reload().await
        })
        .await;
        act(&setup.layer, Some(&token), |session| {
            session.insert("a", 2).unwrap();
            StatusCode::INTERNAL_SERVER_ERROR
        })
        .await;
        assert_eq!(spans.lines(), [""; 0], "{backend:?}");
    }
}

#[tokio::test]
async fn a_commit_that_meets_others_or_fails_is_still_one_span() {
    for backend in Backend::SERVER {
        let (spans, _guard) = Spans::capture(Level::DEBUG);
        let setup = Setup::new(backend);
        let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
        let slow = hold(&setup.layer, &token, |session| session.insert("b", 1)).await;
        act(&setup.layer, Some(&token), |session| session.insert("c", 1)).await;
        spans.take();
        slow.release().await;
        let seen = spans.take();
        assert_eq!(seen.iter().map(Seen::line).collect::<Vec<_>>(), ["write response 1 stored"], "{backend:?}");
        assert_eq!(seen[0].events, ["session.conflict", "session.committed"], "{backend:?}");
        setup.store.fault(Op::Update, Fault::Fail, 1);
        act(&setup.layer, Some(&token), |session| session.insert("d", 1)).await;
        let seen = spans.take();
        assert_eq!(seen.iter().map(Seen::line).collect::<Vec<_>>(), ["write response 0 failed"], "{backend:?}");
        assert_eq!(seen[0].events, ["session.commit.failed"], "{backend:?}");
        let late = hold(&setup.layer, &token, |session| session.insert("e", 1)).await;
        act(&setup.layer, Some(&token), Session::destroy).await;
        spans.take();
        late.release().await;
        assert_eq!(spans.lines(), ["write response 0 gone"], "{backend:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_closes_the_span_and_leaves_it_meanwhile() {
    let (spans, _guard) = Spans::capture(Level::DEBUG);
    let setup = Setup::with(Backend::Remote, |builder| builder.store_timeout(HOUR));
    let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
    spans.take();
    setup.store.fault(Op::Update, Fault::Hang, 1);
    {
        let mut response = pin!(respond(&setup.layer, Some(&token), |session| async move { session.insert("b", 1) }));
        // As often as it takes to load and to ask the store for the write.
        for _ in 0..16 {
            assert!(matches!(response.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
            tokio::task::yield_now().await;
        }
        let open = spans.0.lock().unwrap().clone();
        let [(_, seen)] = open.as_slice() else { panic!("{open:?}") };
        assert!(!seen.is_closed && seen.entered == 0 && seen.of("outcome").is_empty(), "{seen:?}");
    }
    assert_eq!(spans.lines(), ["write response  unfinished"]);
}

/// What must not depend on the client runs as a task of its own, within the request's span all the same.
#[tokio::test]
async fn a_commit_is_within_the_span_of_its_request() {
    use tracing::Instrument as _;

    for backend in Backend::ALL {
        let (spans, _guard) = Spans::capture(Level::DEBUG);
        let setup = Setup::new(backend);
        let acts: [fn(&Session) -> Result<(), tower_session_layer::Error>; 2] =
            [|session| session.insert("b", 1), |session| session.destroy()];
        for change in acts {
            let token = begin(&setup.layer, |session| session.insert("a", 1)).await;
            spans.take();
            act(&setup.layer, Some(&token), change).instrument(tracing::info_span!("request")).await;
            let parents: Vec<_> = spans.take().into_iter().map(|seen| seen.parent).collect();
            assert_eq!(parents, [Some("request")], "{backend:?}");
        }
    }
}
