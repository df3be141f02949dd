//! A deploy that moves the cookie to another domain or path: browsers keep the earlier cookie beside the present one.

use axum::Router;
use axum::body::Body;
use http::header::COOKIE;
use http::{Request, StatusCode, Uri};
use tower::ServiceExt as _;
use tower_session_layer::{Error, ManualClock, Session, SessionLayer, SessionLayerBuilder};

use crate::support::{Answer, Backend, DAY, MINUTE, TestStore, answer};

type Options = fn(SessionLayerBuilder<TestStore>) -> SessionLayerBuilder<TestStore>;

/// A browser that knows cookies by name, domain and path, all of which it sends to the application.
#[derive(Clone, Default)]
struct Jar(Vec<([String; 3], String)>);

impl Jar {
    async fn ask(&mut self, app: &Router, path: &str) -> Answer {
        let pairs: Vec<_> = self.0.iter().map(|([name, ..], value)| format!("{name}={value}")).collect();
        let request = Request::post(path).header(COOKIE, pairs.join("; ")).body(Body::empty()).unwrap();
        let answer = answer(app.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        for cookie in answer.set_cookies() {
            let (pair, attributes) = cookie.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let attribute = |name| attributes.split("; ").find_map(|one| one.strip_prefix(name)).unwrap_or_default();
            let id = [name, attribute("Domain="), attribute("Path=")].map(str::to_owned);
            self.0.retain(|(known, _)| *known != id);
            if attribute("Max-Age=") != "0" {
                self.0.push((id, value.to_owned()));
            }
        }
        answer
    }

    async fn who(&mut self, app: &Router) -> String {
        self.ask(app, "/who").await.body
    }
}

async fn act(session: Session, uri: Uri) -> Result<String, Error> {
    match uri.path().strip_prefix("/in/") {
        Some(owner) => session.sign_in(owner)?,
        None if uri.path() == "/out" => session.destroy()?,
        None => {}
    }
    Ok(session.owner().as_deref().unwrap_or("nobody").to_owned())
}

fn app(store: &TestStore, clock: &ManualClock, options: Options) -> Router {
    let builder = SessionLayer::builder(store.clone()).clock(clock.clone()).cookie_name("sid");
    Router::new().fallback(act).layer(options(builder).build().unwrap())
}

/// What an earlier deploy, the present one without `formerly`, and the present one have set.
const MOVES: [(&str, Options, Options, Options); 4] = [
    (
        "to a domain",
        |builder| builder,
        |builder| builder.domain("example.com"),
        |builder| builder.domain("example.com").formerly(None, "/"),
    ),
    (
        "to the host",
        |builder| builder.domain("example.com"),
        |builder| builder,
        |builder| builder.formerly("example.com", "/"),
    ),
    (
        "to another path",
        |builder| builder.path("/app"),
        |builder| builder,
        |builder| builder.formerly(None, "/app").formerly("example.com", "/"),
    ),
    (
        "to another domain and path",
        |builder| builder.domain("shop.example.com").path("/app"),
        |builder| builder.domain("example.com"),
        |builder| builder.domain("example.com").formerly("shop.example.com", "/app"),
    ),
];

#[tokio::test]
async fn after_the_cookie_moved_a_sign_out_lasts() {
    for backend in Backend::ALL {
        for (what, earlier, _, present) in MOVES {
            let (store, clock) = (TestStore::new(backend), ManualClock::default());
            let (earlier, present) = (app(&store, &clock, earlier), app(&store, &clock, present));
            let mut jar = Jar::default();
            jar.ask(&earlier, "/in/ada").await;
            clock.advance(MINUTE);
            assert_eq!(jar.who(&present).await, "ada", "{backend:?} {what}: nobody is signed out");

            // A client-side session is sealed again when its deadline moves, and the cookie moves along.
            let mut refreshed = jar.clone();
            clock.advance(DAY);
            refreshed.who(&present).await;
            assert_eq!((refreshed.0.len(), &*refreshed.who(&present).await), (1, "ada"), "{backend:?} {what}");

            let mut out = jar.clone();
            out.ask(&present, "/out").await;
            assert_eq!((out.0.len(), &*out.who(&present).await), (0, "nobody"), "{backend:?} {what}");
            out.ask(&present, "/in/bob").await;
            assert_eq!((out.0.len(), &*out.who(&present).await), (1, "bob"), "{backend:?} {what}");

            let mut over = jar.clone();
            over.ask(&present, "/in/bob").await;
            assert_eq!((over.0.len(), &*over.who(&present).await), (1, "bob"), "{backend:?} {what}");
            over.ask(&present, "/out").await;
            assert_eq!((over.0.len(), &*over.who(&present).await), (0, "nobody"), "{backend:?} {what}");
        }
    }
}

#[tokio::test]
async fn of_two_sealed_sessions_the_one_sealed_last_wins_in_any_order() {
    for (what, earlier, present, _) in MOVES {
        let (store, clock) = (TestStore::new(Backend::Cookie), ManualClock::default());
        let (earlier, present) = (app(&store, &clock, earlier), app(&store, &clock, present));
        let mut jar = Jar::default();
        jar.ask(&earlier, "/in/ada").await;
        clock.advance(MINUTE);
        jar.ask(&present, "/in/bob").await;
        assert_eq!(jar.0.len(), 2, "{what}");
        for _ in 0..2 {
            jar.0.reverse();
            assert_eq!(jar.who(&present).await, "bob", "{what}");
        }
        // A refresh seals again, whichever session it is.
        clock.advance(DAY);
        for (at, owner) in [(0, "ada"), (1, "bob")] {
            let mut one = Jar(vec![jar.0[at].clone()]);
            assert_eq!(one.who(&present).await, owner, "{what}");
            let mut all = Jar([&jar.0[..], &one.0[one.0.len() - 1..]].concat());
            assert_eq!(all.who(&present).await, owner, "{what}: refreshed last");
        }
    }
}

#[tokio::test]
async fn each_response_with_the_cookie_removes_the_former_ones() {
    let expired = "sid=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    for backend in Backend::ALL {
        let (store, clock) = (TestStore::new(backend), ManualClock::default());
        let app = app(&store, &clock, |builder| {
            builder.domain("example.com").formerly(None, "/").formerly("shop.example.com", "/app")
        });
        let former = [
            format!("{expired}; Path=/; HttpOnly; Secure; SameSite=Lax"),
            format!("{expired}; Path=/app; Domain=shop.example.com; HttpOnly; Secure; SameSite=Lax"),
        ];
        let mut jar = Jar::default();
        assert_eq!(jar.ask(&app, "/who").await.set_cookies(), [""; 0], "{backend:?}: nothing is set, nothing removed");
        let set = jar.ask(&app, "/in/ada").await.set_cookies();
        assert!(
            set[0].ends_with("; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"),
            "{backend:?}: {set:?}"
        );
        assert_eq!(set[1..], former, "{backend:?}");
        let removed = jar.ask(&app, "/out").await.set_cookies();
        let present = format!("{expired}; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax");
        assert_eq!(removed, [&[present], &former[..]].concat(), "{backend:?}");
    }
}
