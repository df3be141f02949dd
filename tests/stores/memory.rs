//! A store in memory that is full keeps its revocations (promise 27).

use std::time::SystemTime;

use crate::support::direct::{begin, send};
use crate::support::{Browser, DAY};
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tower_session_layer::{Error, ImportLayer, Imported, MemoryStore, Session, SessionCookie, SessionLayer};

const FULL: usize = 60_000;

fn layer() -> (MemoryStore, SessionLayer) {
    let store = MemoryStore::builder().max_bytes(FULL).build().unwrap();
    (store.clone(), SessionLayer::builder(store).cookie_name("sid").build().unwrap())
}

/// Signs so many others in that the first of them are evicted.
async fn fill(layer: &SessionLayer, store: &MemoryStore) {
    for n in 0..300 {
        begin(layer, move |session| session.sign_in(&format!("user-{n}"))).await;
    }
    assert!(store.len() < 300 && store.bytes() <= FULL);
}

#[tokio::test]
async fn a_sign_in_under_way_does_not_outlive_a_revocation_in_a_full_store() {
    for revokes_others in [false, true] {
        let (store, layer) = layer();
        let (owners, other) = (layer.owners(), layer.clone());
        let answer = send(&layer, None, move |session| async move {
            session.sign_in("ada")?;
            assert_eq!(owners.revoke_all("ada").await?, 0);
            let mut has_room = true;
            for n in 0..if revokes_others { 300 } else { 0 } {
                has_room = owners.revoke_all(&format!("other-{n}")).await.is_ok();
            }
            assert_eq!(has_room, !revokes_others);
            fill(&other, &store).await;
            Ok::<_, Error>("welcome")
        });
        let answer = answer.await;
        assert_eq!((answer.status, answer.token()), (StatusCode::SERVICE_UNAVAILABLE, None));
        assert!(layer.owners().list("ada").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_revoked_owner_is_not_imported_again_from_a_full_store() {
    let (store, layer) = layer();
    let old = SessionCookie::builder().name("__session").build().unwrap();
    let import = ImportLayer::new(old, SystemTime::now() + DAY, |_| async {
        let mut session = Imported::new();
        session.sign_in("ada", SystemTime::UNIX_EPOCH)?;
        Ok::<_, Error>(Some(session))
    });
    let user = |session: Session| async move { session.owner().map_or("nobody".into(), |owner| owner.to_string()) };
    let browser = Browser::new(Router::new().route("/user", get(user)).layer(import).layer(layer.clone()));
    let imported = async || {
        let mut browser = browser.another();
        browser.cookies.insert("__session".into(), "old".into());
        browser.get("/user").await.body
    };
    assert_eq!(imported().await, "ada");
    assert_eq!(layer.owners().revoke_all("ada").await.unwrap(), 1);
    assert_eq!(imported().await, "nobody");
    fill(&layer, &store).await;
    assert_eq!(imported().await, "nobody");
}
