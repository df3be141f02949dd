//! A Redis server as the list of revocations of sealed cookies.

use std::time::Duration;

use tower_session_layer::{CookieKey, CookieStore, SessionLayer};

use super::faults::store;
use super::server::Server;
use crate::support::direct::{act, begin, values};

#[tokio::test]
async fn copy_of_a_sealed_cookie_opens_on_no_server_after_its_session_has_ended() {
    let redis = Server::start();
    let (mut servers, key) = (Vec::new(), CookieKey::generate().unwrap());
    for _ in 0..2 {
        let cookies = CookieStore::builder([key.clone()]).revocations(store(&redis.url()).await).build().unwrap();
        let patience = Duration::from_millis(500);
        servers.push(SessionLayer::builder(cookies).cookie_name("sid").store_timeout(patience).build().unwrap());
    }
    let copy = begin(&servers[0], |session| session.sign_in("ada")).await;
    let renewed = act(&servers[1], Some(&copy), |session| session.renew().unwrap()).await.token().unwrap();
    assert!(values(&servers[0], &copy).await.is_none(), "a copy from before the renewal");
    assert!(values(&servers[0], &renewed).await.is_some());
    assert!(act(&servers[0], Some(&renewed), |session| session.destroy().unwrap()).await.removes_cookie());
    assert!(values(&servers[1], &renewed).await.is_none(), "a copy from before the logout");

    // Nobody is let in while the list cannot be asked.
    let live = begin(&servers[0], |session| session.sign_in("ada")).await;
    redis.freeze();
    assert_eq!(act(&servers[1], Some(&live), |_| ()).await.status, 503);
    assert_eq!(act(&servers[1], None, |_| ()).await.status, 200, "who has no cookie does not ask");
    redis.thaw();
    assert!(values(&servers[1], &live).await.is_some());
}
