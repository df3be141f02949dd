//! Both timeouts, enforced where no client can reach them, and when a deadline moves (promise 20).

use std::time::{Duration, SystemTime};

use crate::support::direct::{act, send};
use crate::support::{Backend, Browser, DAY, HOUR, MINUTE, Op, Setup, serve};
use http::StatusCode;
use tower_session_layer::{Clock as _, Error, Session};

const IDLE: Duration = Duration::from_secs(100 * 60);
const TENTH: Duration = Duration::from_secs(10 * 60);
const REMEMBERED: Duration = Duration::from_secs(3 * 60 * 60);
const BRIEF: Duration = Duration::from_secs(30 * 60);
const INSTANT: Duration = Duration::from_micros(1);

fn setup(backend: Backend) -> Setup {
    Setup::with(backend, |builder| builder.idle_timeout(IDLE).absolute_timeout(DAY))
}

fn browser(setup: &Setup) -> Browser {
    serve(setup, handle)
}

async fn handle(session: Session, path: String) -> Result<(StatusCode, String), Error> {
    let mut status = StatusCode::OK;
    match path.as_str() {
        "/begin" => session.insert("country", "US")?,
        "/read" => return Ok((status, session.get("country")?.unwrap_or_else(|| "none".into()))),
        "/write" => session.update("visits", |visits: Option<u64>| Some(visits.unwrap_or_default() + 1))?,
        "/renew" => session.renew()?,
        "/ada" => session.sign_in("ada")?,
        "/bob" => session.sign_in("bob")?,
        "/remember" => session.set_idle_timeout(REMEMBERED)?,
        "/brief" => session.set_idle_timeout(BRIEF)?,
        "/fail" => {
            session.insert("visits", "failed")?;
            status = StatusCode::INTERNAL_SERVER_ERROR;
        }
        "/unmodified" => {
            session.get::<String>("country")?;
            status = StatusCode::NOT_MODIFIED;
        }
        "/unmodified/remember" => {
            session.set_idle_timeout(REMEMBERED)?;
            status = StatusCode::NOT_MODIFIED;
        }
        "/nothing" => {}
        _ => status = StatusCode::NOT_FOUND,
    }
    Ok((status, String::new()))
}

/// A `Max-Age` in seconds: what is left to the absolute deadline, or to the deadline inside a sealed session.
fn max_age(backend: Backend, absolute: Duration, deadline: Duration) -> u64 {
    if backend == Backend::Cookie { deadline.as_secs() } else { absolute.as_secs() }
}

/// What a request finds whose cookie the client still sends.
async fn found(browser: &Browser) -> String {
    browser.send_without_keeping("GET", "/read", "").await.body
}

#[tokio::test]
async fn an_unused_session_ends_exactly_at_its_idle_timeout() {
    for backend in Backend::ALL {
        for (unused, expected) in [(IDLE.checked_sub(INSTANT).unwrap(), "US"), (IDLE, "none"), (IDLE + MINUTE, "none")]
        {
            let setup = setup(backend);
            let mut browser = browser(&setup);
            browser.post("/begin").await;
            setup.clock.advance(unused);
            assert_eq!(found(&browser).await, expected, "{backend:?} after {unused:?}");
        }
    }
}

#[tokio::test]
async fn nothing_extends_the_absolute_timeout() {
    for backend in Backend::ALL {
        for activity in ["/read", "/write", "/renew", "/ada", "/remember"] {
            let setup = setup(backend);
            let mut browser = browser(&setup);
            browser.post("/begin").await;
            let begun = setup.clock.now();
            for _ in 1..24 {
                setup.clock.advance(HOUR);
                browser.post(activity).await;
            }
            setup.clock.set(begun + DAY - INSTANT);
            assert_eq!(found(&browser).await, "US", "{backend:?} {activity}");
            setup.clock.set(begun + DAY);
            assert_eq!(found(&browser).await, "none", "{backend:?} {activity}");
        }
    }
}

#[tokio::test]
async fn a_refresh_waits_for_a_tenth_of_the_idle_timeout_and_for_an_access() {
    for backend in Backend::ALL {
        let setup = setup(backend);
        let mut browser = browser(&setup);
        browser.post("/begin").await;
        let version = setup.record(&browser).await.unwrap().version();
        setup.store.forget();
        let is_sealed = backend == Backend::Cookie;
        for (after, path, touches) in [
            (TENTH.checked_sub(INSTANT).unwrap(), "/read", 0),
            (INSTANT, "/nothing", 0),
            // A sealed session needs a cookie for it.
            (Duration::ZERO, "/unmodified", usize::from(!is_sealed)),
            (Duration::ZERO, "/read", 1),
            (Duration::ZERO, "/read", 1),
            (TENTH.checked_sub(INSTANT).unwrap(), "/read", 1),
            (INSTANT, "/read", 2),
        ] {
            let before = setup.store.calls(Op::Touch);
            setup.clock.advance(after);
            let answer = browser.get(path).await;
            assert_eq!(setup.store.calls(Op::Touch), touches, "{backend:?} {path}");
            let is_resealed = touches > before && is_sealed;
            assert_eq!(answer.max_age(), is_resealed.then_some(IDLE.as_secs()), "{backend:?} {path}");
            assert_eq!(answer.set_cookie().is_some(), is_resealed, "{backend:?} {path}");
        }
        assert_eq!(setup.store.writes(), 2, "{backend:?}: a refresh writes no values");
        assert_eq!(setup.record(&browser).await.unwrap().version(), version, "{backend:?}");
        setup.clock.advance(IDLE.checked_sub(INSTANT).unwrap());
        assert_eq!(found(&browser).await, "US", "{backend:?}");
    }
}

#[tokio::test]
async fn a_hundred_reads_in_a_window_touch_once() {
    for backend in Backend::ALL {
        let setup = setup(backend);
        let mut browser = browser(&setup);
        browser.post("/begin").await;
        setup.clock.advance(TENTH);
        setup.store.forget();
        for _ in 0..100 {
            assert_eq!(browser.get("/read").await.body, "US");
            setup.clock.advance(Duration::from_secs(5));
        }
        assert_eq!((setup.store.calls(Op::Touch), setup.store.writes()), (1, 1), "{backend:?}");
    }
}

#[tokio::test]
async fn a_write_carries_a_due_refresh_along() {
    for backend in Backend::ALL {
        for (after, left) in
            [(TENTH.checked_sub(MINUTE).unwrap(), IDLE.checked_sub(TENTH).unwrap() + MINUTE), (TENTH, IDLE)]
        {
            let setup = setup(backend);
            let mut browser = browser(&setup);
            browser.post("/begin").await;
            setup.store.forget();
            setup.clock.advance(after);
            let answer = browser.post("/write").await;
            assert_eq!((setup.store.calls(Op::Update), setup.store.writes()), (1, 1), "{backend:?}");
            let is_sealed = backend == Backend::Cookie;
            assert_eq!(answer.max_age(), is_sealed.then_some(left.as_secs()), "{backend:?}");
            assert_eq!(answer.set_cookie().is_some(), is_sealed, "{backend:?}");
            setup.clock.advance(left.checked_sub(INSTANT).unwrap());
            assert!(setup.record(&browser).await.is_some(), "{backend:?}");
            setup.clock.advance(INSTANT);
            assert_eq!(found(&browser).await, "none", "{backend:?}");
        }
    }
}

/// What promise 20 says of one session: when it began, when it ends, and its idle timeout.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Model {
    created: SystemTime,
    deadline: SystemTime,
    idle: Duration,
}

impl Model {
    fn step(self, path: &str, now: SystemTime, is_sealed: bool) -> Self {
        let mut next = self;
        next.idle = match path {
            "/remember" => REMEMBERED,
            "/unmodified/remember" if !is_sealed => REMEMBERED,
            "/brief" => BRIEF,
            _ => self.idle,
        };
        let sets_idle = next.idle != self.idle;
        let later = (now + next.idle).min(self.created + DAY);
        let is_due = later > self.deadline && later >= self.deadline + next.idle / 10;
        let may_move = match path {
            "/nothing" => false,
            // It has no cookie, which a sealed session needs.
            "/unmodified" | "/unmodified/remember" => !is_sealed,
            _ => true,
        };
        if sets_idle || (may_move && is_due) {
            next.deadline = later;
        }
        next
    }
}

#[tokio::test]
async fn the_cookie_lasts_as_long_as_the_session_can_and_the_deadline_moves_at_no_other_time() {
    const PATHS: [&str; 9] = [
        "/read",
        "/write",
        "/renew",
        "/remember",
        "/brief",
        "/fail",
        "/nothing",
        "/unmodified",
        "/unmodified/remember",
    ];
    for backend in Backend::ALL {
        let is_sealed = backend == Backend::Cookie;
        let setup = setup(backend);
        let mut random = 17_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut session: Option<(Browser, Model)> = None;
        for step in 0..200 {
            setup.clock.advance(MINUTE * u32::try_from(next(25)).unwrap());
            let now = setup.clock.now();
            let Some((mut browser, before)) = session.take().filter(|(_, model)| model.deadline > now) else {
                let mut browser = browser(&setup);
                browser.post("/begin").await;
                session = Some((browser, Model { created: now, deadline: now + IDLE, idle: IDLE }));
                continue;
            };
            let path = PATHS[usize::try_from(next(9)).unwrap()];
            let answer = browser.post(path).await;
            let model = before.step(path, now, is_sealed);
            let at = format!("{backend:?}, step {step}, {path}");
            let record = setup.record(&browser).await.unwrap_or_else(|| panic!("{at}: gone"));
            assert_eq!((record.created(), record.deadline()), (model.created, model.deadline), "{at}");
            let is_resealed = model.deadline != before.deadline || model.idle != before.idle || path == "/write";
            let is_news = path == "/renew" || (is_sealed && is_resealed);
            let absolute = (model.created + DAY).duration_since(now).unwrap();
            let left = max_age(backend, absolute, model.deadline.duration_since(now).unwrap());
            assert_eq!(answer.max_age(), is_news.then_some(left), "{at}");
            session = Some((browser, model));
        }
    }
}

#[tokio::test]
async fn an_idle_timeout_of_its_own_survives_later_writes() {
    for backend in Backend::ALL {
        for (later, by) in [("a write", "/write"), ("a renewal", "/renew"), ("a sign-in", "/ada")] {
            let setup = setup(backend);
            let mut browser = browser(&setup);
            browser.post("/begin").await;
            let answer = browser.post("/remember").await;
            let resealed = (backend == Backend::Cookie).then_some(REMEMBERED.as_secs());
            assert_eq!(answer.max_age(), resealed, "{backend:?}: counted from now");
            setup.clock.advance(HOUR);
            browser.post(by).await;
            setup.clock.advance(REMEMBERED.checked_sub(INSTANT).unwrap());
            assert!(setup.record(&browser).await.is_some(), "{backend:?} {later}");
            setup.clock.advance(INSTANT);
            assert_eq!(found(&browser).await, "none", "{backend:?} {later}");
        }
    }
}

#[tokio::test]
async fn the_end_of_a_session_is_shown_as_it_will_be_stored() {
    for backend in Backend::ALL {
        let setup = setup(backend);
        let now = setup.clock.now();
        let began = act(&setup.layer, None, move |session| {
            assert_eq!(session.expires_at(), now + IDLE, "{backend:?}: a new one");
            session.insert("a", 1)
        })
        .await;
        setup.clock.advance(MINUTE);
        let token = began.token();
        act(&setup.layer, token.as_deref(), move |session| {
            assert_eq!(session.expires_at(), now + IDLE, "{backend:?}: a use that is not worth a write");
            session.set_idle_timeout(REMEMBERED)?;
            assert_eq!(session.expires_at(), now + MINUTE + REMEMBERED, "{backend:?}");
            Ok::<_, Error>(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_session_of_another_owner_begins_anew() {
    for backend in Backend::ALL {
        let setup = setup(backend);
        let mut browser = browser(&setup);
        browser.post("/ada").await;
        browser.post("/begin").await;
        browser.post("/remember").await;
        setup.clock.advance(HOUR);
        let answer = browser.post("/bob").await;
        let record = setup.record(&browser).await.unwrap();
        assert_eq!(record.created(), setup.clock.now(), "{backend:?}");
        assert_eq!(record.absolute_deadline(), setup.clock.now() + DAY, "{backend:?}");
        assert_eq!(record.idle_timeout(), None, "{backend:?}: hers was of the session before");
        assert_eq!(answer.max_age(), Some(max_age(backend, DAY, IDLE)), "{backend:?}");
        assert_eq!((record.owner(), found(&browser).await.as_str()), (Some("bob"), "none"), "{backend:?}");
    }
}

#[tokio::test]
async fn sessions_live_and_end_at_either_end_of_time() {
    let year_9999 = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    for backend in Backend::ALL {
        for start in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + INSTANT, year_9999] {
            let longest = 400 * DAY;
            let setup = Setup::with(backend, |builder| builder.idle_timeout(longest).absolute_timeout(longest));
            setup.clock.set(start);
            let mut browser = browser(&setup);
            let answer = browser.post("/begin").await;
            assert!(answer.max_age().is_some_and(|age| (34_559_999..=34_560_000).contains(&age)), "{backend:?}");
            let absolute = setup.record(&browser).await.unwrap().absolute_deadline();
            assert!(absolute.duration_since(start + longest).is_ok_and(|late| late <= INSTANT), "{backend:?}");
            for path in ["/write", "/renew", "/ada", "/read"] {
                setup.clock.advance(50 * DAY);
                browser.post(path).await;
            }
            assert_eq!(setup.record(&browser).await.unwrap().absolute_deadline(), absolute, "{backend:?} {start:?}");
            setup.clock.set(absolute - INSTANT);
            assert_eq!(found(&browser).await, "US", "{backend:?} {start:?}");
            setup.clock.set(absolute);
            assert_eq!(found(&browser).await, "none", "{backend:?} {start:?}");
        }
    }
}

#[tokio::test]
async fn an_idle_timeout_that_cannot_be_is_refused() {
    for backend in Backend::ALL {
        let setup = setup(backend);
        let mut browser = serve(&setup, |session, _| async move {
            for extreme in [Duration::ZERO, Duration::from_nanos(1), DAY + INSTANT, Duration::MAX] {
                assert!(session.set_idle_timeout(extreme).is_err_and(|error| error.is_idle_timeout()), "{extreme:?}");
            }
            assert!(!session.is_changed());
            session.set_idle_timeout(Duration::from_secs(1))?;
            session.set_idle_timeout(DAY)
        });
        assert_eq!(browser.get("/").await.status, StatusCode::OK, "{backend:?}");
    }
}

#[tokio::test]
async fn idle_timeout_set_before_the_first_value_is_kept_by_a_commit_between_them() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        let answer = send(&setup.layer, None, |session| async move {
            session.set_idle_timeout(DAY).unwrap();
            session.commit().await.unwrap();
            session.insert("a", 1).unwrap();
        })
        .await;
        assert_eq!(answer.max_age(), Some(max_age(backend, 30 * DAY, DAY)), "{backend:?}");
        let end = setup.clock.now() + DAY;
        act(&setup.layer, answer.token().as_deref(), move |session| assert_eq!(session.expires_at(), end)).await;
    }
}
