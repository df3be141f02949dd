//! What stands in the server, and what others put there.

use crate::support::scope;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redis::Value;
use tower_session_layer::store::{Created, Deleted, Loaded, Record, Updated, Version};
use tower_session_layer::{RedisStore, SessionStore as _, SessionToken};

use super::faults::{layer, store};
use super::server::Server;
use crate::support::direct::{act, begin, values};
use crate::support::{HOUR, Log, MINUTE};

/// The key of a token, as the store names it.
pub fn name(token: &SessionToken) -> Vec<u8> {
    [b"session:", token.key().as_bytes().as_slice()].concat()
}

/// Makes the sessions in all lists as old as if an hour had passed.
pub async fn an_hour_later(server: &Server) {
    for list in server.keys("session:owner:*").await {
        let entries = server.command(&[&b"ZRANGE"[..], &list, b"0", b"-1", b"WITHSCORES"]).await;
        let entries: Vec<(Vec<u8>, f64)> = redis::from_redis_value(entries).unwrap();
        for (session, place) in entries {
            let place = (place.min(now_in_micros()) - 3.6e9).to_string();
            server.command(&[&b"ZADD"[..], &list, place.as_bytes(), &session]).await;
        }
    }
}

fn now_in_micros() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as f64
}

fn parse(text: &str) -> SessionToken {
    SessionToken::parse(text.as_bytes(), tower_session_layer::TokenShape::Random, scope()).unwrap()
}

#[tokio::test]
async fn nothing_in_the_server_is_a_token_and_all_of_it_expires() {
    let server = Server::start();
    let layer = layer(&store(&server.url()).await, HOUR);
    let anonymous = begin(&layer, |session| session.insert("a", 1)).await;
    let owned = begin(&layer, |session| session.sign_in("ada")).await;
    let ended = begin(&layer, |session| session.sign_in("ada")).await;
    act(&layer, Some(&ended), |session| session.destroy()).await;
    let other = begin(&layer, |session| session.sign_in("bob")).await;
    layer.owners().revoke_all("bob").await.unwrap();

    let mut names = server.keys("*").await;
    names.sort();
    let of_kind = |kind: &str| names.iter().filter(|name| name.starts_with(kind.as_bytes())).count();
    assert_eq!((of_kind("session:owner:{"), of_kind("session:mark:{"), names.len()), (1, 1, 6), "{names:?}");
    for token in [&anonymous, &owned, &ended, &other] {
        assert!(names.contains(&name(&parse(token))));
        let secret = parse(token).secret().to_vec();
        let holds = |name: &Vec<u8>| {
            [token.as_bytes(), &secret].iter().any(|held| name.windows(held.len()).any(|at| at == *held))
        };
        assert!(!names.iter().any(holds));
    }
    for name in &names {
        assert!(server.number(&[&b"PTTL"[..], name]).await > 0, "{name:?} expires");
        let dump: Vec<u8> = redis::from_redis_value(server.command(&[&b"DUMP"[..], name]).await).unwrap();
        for token in [&anonymous, &owned, &ended, &other] {
            let token = parse(token);
            assert!(!dump.windows(24).any(|window| window == token.secret()), "{name:?} holds a token");
        }
    }
    let day = i64::try_from(Duration::from_secs(24 * 60 * 60).as_millis()).unwrap();
    let idle = server.number(&[&b"PTTL"[..], &name(&parse(&anonymous))]).await;
    assert!(idle > 6 * day && idle <= 7 * day, "the key goes with the deadline: {idle}");
    let stone = server.number(&[&b"PTTL"[..], &name(&parse(&ended))]).await;
    assert!(stone <= 60_000, "a tombstone goes after a minute: {stone}");
    let mark = names.iter().find(|name| name.starts_with(b"session:mark")).unwrap();
    let mark = server.number(&[&b"PTTL"[..], mark]).await;
    assert!(mark > day - 600_000 && mark <= day + 1, "a mark goes after a day: {mark}");
    let list = names.iter().find(|name| name.starts_with(b"session:owner")).unwrap();
    let list = server.number(&[&b"PTTL"[..], list]).await;
    assert!(list > 30 * day && list <= 31 * day, "a list outlives its sessions: {list}");
}

#[tokio::test]
async fn prefixes_on_one_server_share_neither_sessions_nor_owners() {
    let server = Server::start();
    let layer_of = async |prefix| layer(&RedisStore::builder(server.url()).prefix(prefix).build().await.unwrap(), HOUR);
    let (shop, blog) = (layer_of("shop:").await, layer_of("blog:").await);
    let token = begin(&shop, |session| session.sign_in("ada")).await;
    assert_eq!(values(&blog, &token).await, None);
    assert!(blog.owners().list("ada").await.unwrap().is_empty());
    assert_eq!(blog.owners().revoke_all("ada").await.unwrap(), 0);
    assert!(act(&blog, Some(&token), |session| session.destroy()).await.leaves_cookie());
    assert!(values(&shop, &token).await.is_some());
}

#[tokio::test]
async fn list_of_an_owner_heals_after_its_sessions_have_expired() {
    let server = Server::start();
    let layer = layer(&store(&server.url()).await, HOUR);
    let owners = layer.owners();
    let tokens = [
        begin(&layer, |session| session.sign_in("ada")).await,
        begin(&layer, |session| session.sign_in("ada")).await,
        begin(&layer, |session| session.sign_in("ada")).await,
    ];
    let list = server.list(&["KEYS", "session:owner:*"]).await.remove(0);
    // As Redis does when a key expires: nobody tells the list.
    server.command(&[&b"DEL"[..], &name(&parse(&tokens[0]))]).await;
    assert_eq!(server.number(&["ZCARD", &list]).await, 3);
    assert_eq!(owners.list("ada").await.unwrap().len(), 2);
    assert_eq!(server.number(&["ZCARD", &list]).await, 3, "its record could be on its way");
    an_hour_later(&server).await;
    assert_eq!(owners.list("ada").await.unwrap().len(), 2);
    assert_eq!(server.number(&["ZCARD", &list]).await, 2, "reading the list strikes what has expired");
    server.command(&[&b"DEL"[..], &name(&parse(&tokens[1]))]).await;
    assert_eq!(owners.revoke_all("ada").await.unwrap(), 1);
    assert_eq!(server.list(&["KEYS", "session:owner:*"]).await, [""; 0], "an empty list goes");

    // Entries of sessions that could not have lived until now go when their owner next signs in.
    let long_ago = [0_u8; 48];
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut add = redis::cmd("ZADD");
    let _: Value = add.arg(&list).arg(1).arg(&long_ago[..]).query_async(&mut connection).await.unwrap();
    begin(&layer, |session| session.sign_in("ada")).await;
    assert_eq!(server.number(&["ZCARD", &list]).await, 1);
}

/// A record that the layer made, and its token.
async fn stored(server: &Server, store: &RedisStore) -> (SessionToken, Record) {
    let token = parse(&begin(&layer(store, HOUR), |session| session.insert("a", 1)).await);
    let Loaded::Live(record) = store.load(&token, SystemTime::now()).await.unwrap() else { panic!("it lives") };
    assert_eq!(server.number(&[&b"EXISTS"[..], &name(&token)]).await, 1);
    (token, (*record).clone())
}

#[tokio::test]
async fn value_that_is_not_ours_is_absent_with_a_warning_and_stays() {
    let server = Server::start();
    let store = store(&server.url()).await;
    let (one, record) = stored(&server, &store).await;
    let version = record.version();
    for (index, (what, make)) in [
        ("a list", vec!["RPUSH", "KEY", "x"]),
        ("a hash", vec!["HSET", "KEY", "x", "y"]),
        ("other text", vec!["SET", "KEY", "hello"]),
        (
            "long text",
            vec!["SET", "KEY", "hellohellohellohellohellohellohellohellohellohellohellohellohellohellohello"],
        ),
        ("empty text", vec!["SET", "KEY", ""]),
        ("a number", vec!["SET", "KEY", "17"]),
        ("another session's value", vec!["COPY", "ONE", "KEY"]),
        ("a newer format", vec!["COPY", "ONE", "KEY", "SETRANGE", "1", "\u{3}"]),
        ("a value cut off", vec!["COPY", "ONE", "KEY", "SETRANGE", "32", "long"]),
    ]
    .into_iter()
    .enumerate()
    {
        let token = SessionToken::from_random([index as u8; 24], scope());
        let key = name(&token);
        let words: Vec<_> = make
            .iter()
            .take_while(|word| **word != "SETRANGE")
            .map(|word| match *word {
                "KEY" => key.clone(),
                "ONE" => name(&one),
                other => other.as_bytes().to_vec(),
            })
            .collect();
        server.command(&words).await;
        if let Some(at) = make.iter().position(|word| *word == "SETRANGE") {
            server.command(&[b"SETRANGE", &key[..], make[at + 1].as_bytes(), make[at + 2].as_bytes()]).await;
        }
        let before = server.command(&[&b"DUMP"[..], &key]).await;
        let now = SystemTime::now();

        let log = Log::capture();
        assert_eq!(store.load(&token, now).await.unwrap(), Loaded::Absent, "{what}");
        let said = log.take();
        let warnings: Vec<_> = said.lines().filter(|line| line.contains("WARN")).collect();
        assert_eq!(warnings.len(), 1, "{what}: {said}");
        let digest = token.key().hex();
        assert!(warnings[0].contains(&digest[..8]) && !said.contains(&digest[..9]), "{what}: {said}");
        drop(log);

        assert_eq!(store.create(&token, &other(&record), now).await.unwrap(), Created::Taken, "{what}");
        if !what.starts_with("another") && !what.starts_with("a value cut") {
            assert_eq!(store.touch(&token, version, now + MINUTE, now).await.unwrap(), Updated::Gone, "{what}");
            assert_eq!(store.delete(&token.key(), MINUTE, now).await.unwrap(), Deleted::Absent, "{what}");
        }
        assert_eq!(server.command(&[&b"DUMP"[..], &key]).await, before, "{what} stays as it was");
    }
    // Neither of the copies has touched the original.
    assert!(matches!(store.load(&one, SystemTime::now()).await.unwrap(), Loaded::Live(found) if *found == record));
}

/// The same record at another version.
fn other(record: &Record) -> Arc<Record> {
    let mut head = record.head();
    head.version = Version::new(17);
    Record::decode(head, &record.encode()).unwrap().into()
}

#[tokio::test]
async fn sign_in_that_cannot_be_checked_does_not_count() {
    let server = Server::start();
    let layer = layer(&store(&server.url()).await, HOUR);
    begin(&layer, |session| session.sign_in("ada")).await;
    let list = server.list(&["KEYS", "session:owner:*"]).await.remove(0);
    let mark = list.replace("owner", "mark");
    server.command(&["SET", &mark, "no mark"]).await;
    let answer = act(&layer, None, |session| session.sign_in("ada")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.set_cookies().is_empty());
    assert_eq!(server.text(&["GET", &mark]).await, "no mark");
}
