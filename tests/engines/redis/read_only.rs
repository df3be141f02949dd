//! Servers that can be read and not be written (promises 21, 23, 24).

use tower_session_layer::{ManualClock, RedisStore, Session, SessionLayer};

use super::server::Server;
use crate::support::direct::{act, begin, values};
use crate::support::{DAY, HOUR, Log};

async fn layer(url: &str, clock: &ManualClock) -> SessionLayer {
    let store = RedisStore::new(url).await.unwrap();
    SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").store_timeout(HOUR).build().unwrap()
}

/// A session of Ada that has expired, and one that lives.
async fn two(writer: &SessionLayer, clock: &ManualClock) -> [String; 2] {
    let sign_in = |session: &Session| session.sign_in("ada").and_then(|()| session.insert("a", 1));
    let expired = begin(writer, sign_in).await;
    clock.advance(6 * DAY);
    let live = begin(writer, sign_in).await;
    clock.advance(DAY);
    [expired, live]
}

async fn reads_and_refuses(reader: &SessionLayer, [expired, live]: &[String; 2], code: &str) {
    let log = Log::capture();
    for _ in 0..2 {
        let answer = act(reader, Some(expired), |session| session.is_new().to_string()).await;
        let said = log.take();
        assert!(answer.status.is_success() && answer.body == "true", "{code}: {answer:?} {said}");
        let warnings: Vec<_> = said.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
        assert!(warnings.len() == 1 && warnings[0].contains("an expired session counts as absent"), "{code}: {said}");
        assert!(warnings[0].contains(code) && !said.contains(expired), "{code}: {said}");
    }
    assert_eq!(values(reader, live).await.unwrap()["a"], 1, "{code}");
    assert_eq!(reader.owners().list("ada").await.unwrap().len(), 1, "{code}");
    for token in [Some(live), Some(expired), None] {
        log.take();
        let answer = act(reader, token.map(String::as_str), |session| session.insert("a", 2)).await;
        let said = log.take();
        assert!(answer.status.as_u16() == 503 && answer.set_cookies().is_empty(), "{code}: {answer:?}");
        assert!(said.contains(code), "{code}: {said}");
    }
    assert!(reader.owners().revoke_all("ada").await.is_err(), "{code}");
    assert_eq!(values(reader, live).await.unwrap()["a"], 1, "{code}");
}

#[tokio::test]
async fn expired_session_is_absent_and_a_live_one_is_read_on_a_replica() {
    let (master, replica) = (Server::start(), Server::start());
    let clock = ManualClock::default();
    let tokens = two(&layer(&master.url(), &clock).await, &clock).await;
    replica.command(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]).await;
    replica.wait_for("MASTER <-> REPLICA sync: Finished with success");
    let reader = layer(&replica.url(), &clock).await;
    reads_and_refuses(&reader, &tokens, "READONLY").await;
    replica.command(&["REPLICAOF", "NO", "ONE"]).await;
    assert!(act(&reader, Some(&tokens[1]), |session| session.insert("a", 2)).await.leaves_cookie());
    assert_eq!(values(&reader, &tokens[1]).await.unwrap()["a"], 2);
    assert_eq!(values(&reader, &tokens[0]).await, None);
    assert_eq!(reader.owners().revoke_all("ada").await.unwrap(), 1);
}

#[tokio::test]
async fn expired_session_is_absent_and_a_live_one_is_read_by_a_user_who_may_only_read() {
    let server = Server::start();
    let clock = ManualClock::default();
    let tokens = two(&layer(&server.url(), &clock).await, &clock).await;
    let reading = ["+get", "+mget", "+zrange", "+zcard", "+ping", "+info"];
    for (name, more) in [("reader", &[][..]), ("asker", &["+eval", "+evalsha", "+getrange", "+time", "+pttl"])] {
        let user = ["ACL", "SETUSER", name, "on", "nopass", "~*"];
        server.command(&[&user[..], &reading, more].concat()).await;
        let reader = layer(&format!("redis://{name}:x@127.0.0.1:{}", server.port), &clock).await;
        // Within a script, older servers say ERR.
        reads_and_refuses(&reader, &tokens, if more.is_empty() { "NOPERM" } else { "redis answered " }).await;
    }
}
