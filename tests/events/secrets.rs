//! Nothing secret is in the log of any store that needs no server, down to `TRACE`, from any thread, spans included.

use crate::support::scope;
use std::path::Path;

use crate::support::{Browser, Log, is_alone};
use axum::Router;
use axum::extract::Path as Part;
use axum::routing::post;
use http::StatusCode;
use tower_session_layer::{
    CachedStore, CookieKey, CookieStore, FileStore, MemoryStore, MovingStore, Sealed, Session, SessionLayer,
    SessionStore, SessionToken, TokenShape,
};

/// A value, an owner and a flash that must not be found in the log.
const MARKER: &str = "hunter2";

fn app(layer: &SessionLayer) -> Router {
    Router::new()
        .route("/mark", post(|session: Session| async move { session.insert("a", MARKER) }))
        .route("/set/{n}", post(|session: Session, Part(n): Part<u32>| async move { session.insert("b", n) }))
        .route("/flash", post(|session: Session| async move { session.flash("c", MARKER) }))
        .route("/sign-in", post(|session: Session| async move { session.sign_in(MARKER) }))
        .route("/csrf", post(|session: Session| async move { session.csrf_token().map(|_| ()) }))
        .route("/renew", post(|session: Session| async move { session.renew() }))
        .route("/commit", post(commit))
        .route("/destroy", post(|session: Session| async move { session.destroy() }))
        .layer(layer.clone())
}

/// By hand, where the store needs no new cookie for it.
async fn commit(session: Session) -> Result<(), tower_session_layer::Error> {
    session.insert("d", MARKER)?;
    session.commit().await
}

/// Every store that needs no server, the wrappers around others among them.
async fn every_layer(directory: &Path) -> Vec<(&'static str, SessionLayer)> {
    fn layer(store: impl SessionStore) -> SessionLayer {
        let builder = SessionLayer::builder(store).cookie_name("sid").max_sessions_per_owner(1);
        builder.build().unwrap()
    }
    let cookies = CookieStore::builder([CookieKey::generate().unwrap()]);
    let cookies = cookies.revocations(MemoryStore::new()).build().unwrap();
    let cookie_alone = SessionLayer::builder(CookieStore::new(CookieKey::generate().unwrap())).cookie_name("sid");
    let mut layers = vec![
        ("memory", layer(MemoryStore::new())),
        ("sealed", layer(Sealed::new(MemoryStore::new()).unwrap())),
        ("cached", layer(CachedStore::new(MemoryStore::new()).unwrap())),
        ("moving", layer(MovingStore::new(MemoryStore::new(), MemoryStore::new()).unwrap())),
        ("cookie", cookie_alone.build().unwrap()),
        ("revocations", SessionLayer::builder(cookies).cookie_name("sid").build().unwrap()),
    ];
    #[cfg(unix)]
    layers.push(("file", layer(FileStore::new(directory.join("files")).unwrap())));
    #[cfg(feature = "sqlite")]
    {
        let url = format!("sqlite:{}", directory.join("sessions.db").display());
        let store = tower_session_layer::SqliteStore::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        layers.push(("sqlite", layer(store)));
    }
    layers
}

#[tokio::test]
async fn no_store_lets_a_token_or_a_value_into_events_and_spans() {
    if !is_alone("secrets::no_store_lets_a_token_or_a_value_into_events_and_spans") {
        return;
    }
    let log = Log::capture_everywhere();
    let directory = tempfile::tempdir().unwrap();
    for (name, layer) in every_layer(directory.path()).await {
        let mut browser = Browser::new(app(&layer));
        let mut tokens = Vec::new();
        for _ in 0..2 {
            // The second browser's sign-in ends the first one's session, where there is a limit.
            browser = browser.another();
            for path in ["/mark", "/flash", "/sign-in", "/csrf", "/renew", "/set/1", "/commit", "/set/2"] {
                assert_eq!(browser.post(path).await.status, StatusCode::OK, "{name} {path}");
                tokens.extend(browser.token());
            }
        }
        browser.post("/destroy").await;
        tokens.dedup();
        for token in &tokens {
            browser.with_token(token).post("/set/9").await;
            browser.with_token(token).post("/destroy").await;
        }
        let text = log.take();
        for plan in ["create", "write", "renew", "destroy"] {
            let span = format!("plan=\"{plan}\"");
            assert!(text.contains(&span), "{name}: no span of a {plan}");
        }
        assert!(text.contains("TRACE"), "{name}: all levels are there");
        let told = |part: &str| text.lines().find(|line| line.contains(part)).map(str::to_owned);
        assert_eq!(told(MARKER), None, "{name}");
        for token in tokens {
            assert_eq!(told(&token), None, "{name}");
            // Of a token that is no text of 32 bytes the digest is another matter, and the text itself is looked for above.
            let Some(parsed) = SessionToken::parse(token.as_bytes(), TokenShape::Random, scope()) else { continue };
            assert_eq!(told(&parsed.key().hex()[..9]), None, "{name}: more than eight digits of the digest");
            let hex: String = parsed.secret().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(told(&hex), None, "{name}");
            assert_eq!(told(&hex.to_ascii_uppercase()), None, "{name}");
        }
    }
}
