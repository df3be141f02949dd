//! Sealed sessions: what a dump of the store shows, and what is done about a store that somebody else has written to.

use crate::support::scope;
use std::time::{Duration, SystemTime};

use crate::support::direct::{act, at_once, begin, values};
use crate::support::record::record_of_len;
use crate::support::store::files;
use crate::support::{Log, MINUTE};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tower_session_layer::store::{Change, Created, Deadline, Loaded, Record, Updated, Version};
use tower_session_layer::{
    Clock as _, ConfigError, CookieKey, CookieStore, Durability, FileStore, ManualClock, MemoryStore, Sealed, Session,
    SessionLayer, SessionStore, SessionToken, TokenShape,
};

fn layer(store: impl SessionStore, clock: &ManualClock) -> SessionLayer {
    SessionLayer::builder(store).clock(clock.clone()).cookie_name("sid").build().unwrap()
}

fn token(text: &str) -> SessionToken {
    SessionToken::parse(text.as_bytes(), TokenShape::Random, scope()).unwrap()
}

/// The cookie's text.
fn encoded(token: &SessionToken) -> String {
    URL_SAFE_NO_PAD.encode(token.secret())
}

/// What is stored, as it is stored.
fn stored(store: &MemoryStore, token: &SessionToken, now: SystemTime) -> Record {
    match at_once(store.load(token, now)).unwrap() {
        Loaded::Live(record) => (*record).clone(),
        other => panic!("{other:?}"),
    }
}

/// Replaces what is stored by something else, as an attacker does who may write to the store.
fn overwrite(store: &MemoryStore, token: &SessionToken, record: &Record, now: SystemTime) {
    at_once(store.delete(&token.key(), Duration::ZERO, now)).unwrap();
    let created = at_once(store.create(token, &record.clone().into(), now)).unwrap();
    assert!(matches!(created, Created::Stored | Created::SignedIn(_)), "{created:?}");
}

fn fill(session: &Session) -> Result<String, tower_session_layer::Error> {
    session.sign_in("user-17")?;
    session.insert("card", "4929-marker")?;
    session.flash("notice", "flash-marker")?;
    session.csrf_token()
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

const MARKERS: [&str; 4] = ["4929-marker", "flash-marker", "card", "notice"];

#[tokio::test]
async fn dump_of_the_store_shows_no_value_and_no_token() {
    let clock = ManualClock::default();
    let memory = MemoryStore::new();
    let directory = tempfile::tempdir().unwrap();
    let file = FileStore::builder(directory.path()).durability(Durability::Process).build().unwrap();
    let dump_files = || -> Vec<u8> {
        let dump = |path| std::fs::read(path).unwrap();
        files(directory.path()).into_iter().flat_map(dump).collect()
    };
    for layer in
        [layer(Sealed::new(memory.clone()).unwrap(), &clock), layer(Sealed::new(file.clone()).unwrap(), &clock)]
    {
        let answer = act(&layer, None, |session| fill(session).unwrap()).await;
        let text = answer.token().unwrap();
        let found = act(&layer, Some(&text), |session| session.get::<String>("card").unwrap().unwrap()).await;
        assert_eq!(found.body, "4929-marker");

        let token = token(&text);
        let dump = match at_once(memory.load(&token, clock.now())).unwrap() {
            Loaded::Live(record) => [format!("{:?}", record.head()).as_bytes(), &record.encode()].concat(),
            _ => dump_files(),
        };
        assert!(contains(&dump, b"user-17"), "the owner is what sessions are listed by");
        for marker in MARKERS.iter().map(|marker| marker.as_bytes()).chain([text.as_bytes(), token.secret()]) {
            assert!(!contains(&dump, marker), "{:?}", String::from_utf8_lossy(marker));
        }
    }
    // The same search finds what is not sealed.
    act(&layer(file, &clock), None, |session| fill(session).unwrap()).await;
    assert!(MARKERS.iter().all(|marker| contains(&dump_files(), marker.as_bytes())));
}

#[tokio::test]
async fn what_does_not_open_is_absent_with_one_warning_and_stays() {
    let clock = ManualClock::default();
    let memory = MemoryStore::new();
    let (sealed, plain) = (layer(Sealed::new(memory.clone()).unwrap(), &clock), layer(memory.clone(), &clock));
    let mine = begin(&sealed, |session| session.insert("who", "me")).await;
    let victim = begin(&sealed, |session| session.insert("who", "victim")).await;
    let foreign = begin(&plain, |session| session.insert("who", "admin")).await;
    let (mine, victim) = (token(&mine), token(&victim));
    let (my_record, whole) = (stored(&memory, &mine, clock.now()), stored(&memory, &victim, clock.now()));

    let mut tampered = vec![("moved to another token", victim.clone(), my_record)];
    let body = whole.encode();
    for at in (0..body.len()).step_by(3) {
        for bit in [1, 4, 32] {
            let mut flipped = body.clone();
            flipped[at] ^= bit;
            if let Ok(record) = Record::decode(whole.head(), &flipped) {
                tampered.push(("a flipped bit", victim.clone(), record));
            }
        }
    }
    // The nonce decides which flips still leave a record: about nine in ten.
    assert!(tampered.len() > 50, "{}", tampered.len());
    let (mut eve, mut rolled) = (whole.head(), whole.head());
    (eve.owner, rolled.version) = (Some("eve".into()), Version::new(9));
    tampered.push(("another owner", victim.clone(), Record::decode(eve, &body).unwrap()));
    tampered.push(("another version", victim.clone(), Record::decode(rolled, &body).unwrap()));
    let foreign = token(&foreign);
    tampered.push(("never sealed", foreign.clone(), stored(&memory, &foreign, clock.now())));
    for (what, token, record) in tampered {
        overwrite(&memory, &token, &record, clock.now());
        let text = encoded(&token);
        let log = Log::capture();
        assert_eq!(values(&sealed, &text).await, None, "{what}");
        let warnings: Vec<_> = log.text().lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect();
        assert_eq!(warnings.len(), 1, "{what}: {warnings:?}");
        assert!(warnings[0].contains(&format!("{:?}", token.key())) && !warnings[0].contains(&text), "{warnings:?}");
        // The next write begins a session of its own, and what was there stays.
        let fresh = act(&sealed, Some(&text), |session| session.insert("who", "anew").unwrap()).await.token().unwrap();
        assert_ne!(fresh, text, "{what}");
        let standing = stored(&memory, &token, clock.now());
        assert_eq!(standing.with_sign_in(record.sign_in()), record, "{what}");
    }
    overwrite(&memory, &victim, &whole, clock.now());
    assert!(values(&sealed, &encoded(&victim)).await.is_some(), "put back as it was");
}

/// Somebody who can write to the store moves deadlines, as a touch does.
#[tokio::test]
async fn session_whose_deadline_was_moved_beyond_its_latest_end_does_not_open() {
    let clock = ManualClock::default();
    let memory = MemoryStore::new();
    let layer = layer(Sealed::new(memory.clone()).unwrap(), &clock);
    let text = begin(&layer, |session| session.insert("who", "me")).await;
    let token = token(&text);
    let record = stored(&memory, &token, clock.now());
    let end = record.absolute_deadline();
    let touch = |deadline| at_once(memory.touch(&token, record.version(), deadline, clock.now())).unwrap();
    assert_eq!(touch(end), Updated::Done);
    assert!(values(&layer, &text).await.is_some(), "as late as a touch may move it");
    assert_eq!(touch(end + Duration::from_micros(1)), Updated::Done);
    let log = Log::capture();
    assert_eq!(values(&layer, &text).await, None);
    assert!(log.text().contains("does not open with its token"), "{}", log.text());
    touch(end + MINUTE);
    clock.set(end);
    assert_eq!(values(&layer, &text).await, None, "it has ended");
}

#[test]
fn the_store_s_limit_counts_what_sealing_adds() {
    let memory = MemoryStore::builder().max_bytes(16 << 10).build().unwrap();
    let inner = memory.max_record_len().unwrap();
    let sealed = Sealed::new(memory.clone()).unwrap();
    let longest = sealed.max_record_len().unwrap();
    assert!(longest < inner * 3 / 4 && longest > inner / 2, "{longest} of {inner}");
    let now = ManualClock::default().now();
    let (one, other) = (SessionToken::from_random([1; 24], scope()), SessionToken::from_random([2; 24], scope()));
    let largest = record_of_len(1, longest, (now, now + MINUTE));
    assert_eq!(at_once(sealed.create(&one, &largest.clone().into(), now)).unwrap(), Created::Stored);
    assert!(stored(&memory, &one, now).encoded_len() <= inner);
    assert_eq!(at_once(sealed.load(&one, now)).unwrap(), Loaded::Live(largest.clone().into()));
    let larger = record_of_len(2, longest + 1, (now, now + MINUTE));
    assert!(at_once(sealed.create(&other, &larger.clone().into(), now)).unwrap_err().is_too_large());
    let change = Change::Replace(larger.into(), Deadline::Keep);
    assert!(at_once(sealed.update(&one, largest.version(), &change, now)).unwrap_err().is_too_large());
}

#[test]
fn a_change_that_is_sent_again_is_done_though_it_is_sealed_anew() {
    let (sealed, now) = (Sealed::new(MemoryStore::new()).unwrap(), ManualClock::default().now());
    let (token, record) = (SessionToken::from_random([1; 24], scope()), record_of_len(1, 200, (now, now + MINUTE)));
    for _ in 0..2 {
        assert_eq!(at_once(sealed.create(&token, &record.clone().into(), now)).unwrap(), Created::Stored);
    }
    let next = record_of_len(2, 300, (now, now + MINUTE));
    let change = Change::Replace(next.clone().into(), Deadline::Keep);
    for _ in 0..2 {
        assert_eq!(at_once(sealed.update(&token, record.version(), &change, now)).unwrap(), Updated::Done);
    }
    assert_eq!(at_once(sealed.load(&token, now)).unwrap(), Loaded::Live(next.into()));
}

#[test]
fn a_store_that_seals_already_is_refused() {
    let cookies = CookieStore::new(CookieKey::new(&[7; 32]).unwrap());
    assert_eq!(Sealed::new(cookies).unwrap_err(), ConfigError::ClientSideStore("Sealed"));
}
