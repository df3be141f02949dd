//! What the server wrote to its disk, and whose a token is (promises 6 and 10).

use tower_session_layer::{ManualClock, Sealed, SessionLayer, SessionStore};

use super::faults::store;
use super::server::Server;
use crate::support::dump::{files, nothing_leads_on, tokens};
use crate::support::two_cookies::tokens_stay_with_their_cookie;
use crate::support::{HOUR, renewal_keys};

async fn nothing_in_the_file_leads_on(store: impl SessionStore, server: &Server, what: &str) {
    let clock = ManualClock::default();
    let builder = SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").store_timeout(HOUR);
    let layer = builder.renew_after(HOUR, renewal_keys()).build().unwrap();
    let tokens = tokens(&layer, &clock, async || ()).await;
    let written = files(server.directory());
    let len: usize = written.iter().map(Vec::len).sum();
    assert!(len > 1_000, "{what}: {len} bytes in all");
    nothing_leads_on(&written, &tokens, what);
}

#[tokio::test]
async fn no_old_token_opens_a_newer_one_in_the_append_only_file() {
    let server = || Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let plain = server();
    nothing_in_the_file_leads_on(store(&plain.url()).await, &plain, "plain").await;
    let sealed = server();
    nothing_in_the_file_leads_on(Sealed::new(store(&sealed.url()).await).unwrap(), &sealed, "sealed").await;
}

#[tokio::test]
async fn the_token_of_one_cookie_is_absence_in_another() {
    let server = Server::start();
    tokens_stay_with_their_cookie(store(&server.url()).await, "Redis").await;
}
