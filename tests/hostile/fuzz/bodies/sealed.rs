//! What is sealed opens unchanged, in its place and with its key, and in no other case.

use std::sync::{Arc, LazyLock};

use tower_session_layer::store::{Created, Loaded, Record, RecordHead};
use tower_session_layer::{CookieKey, CookieStore, Sealed, SessionCookie, SessionStore, SessionToken, TokenScope};

use super::choices::{Choices, SPARE, at, at_once, small_memory};

const DEADLINE: u64 = 1_000;

pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(3) {
        0 => arbitrary_text(choices.rest()),
        1 => cookie(&mut choices),
        _ => record(&mut choices),
    }
}

static COOKIE: LazyLock<CookieStore> = LazyLock::new(|| store(7, "sid", ""));
static STRANGERS: LazyLock<[CookieStore; 3]> =
    LazyLock::new(|| [store(8, "sid", ""), store(7, "sid2", ""), store(7, "sid", "shop")]);

fn store(key: u8, cookie: &str, audience: &str) -> CookieStore {
    let mut store = CookieStore::builder([CookieKey::new(&[key; 32]).unwrap()]).audience(audience).build().unwrap();
    store.bind(&SessionCookie::builder().name(cookie).build().unwrap());
    store
}

/// A text that nobody sealed never opens, whatever it is.
fn arbitrary_text(bytes: &[u8]) {
    let mut text = Vec::from(&b"AU7QP2rvK4b_"[..bytes.first().map_or(0, |byte| usize::from(byte % 13))]);
    text.extend(bytes.iter().map(|byte| match byte {
        b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => *byte,
        _ => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"[usize::from(byte % 32)],
    }));
    let Some(token) = SessionToken::parse(&text, COOKIE.token_shape(), TokenScope::of("sid")) else { return };
    assert_eq!(at_once(COOKIE.load(&token, at(1))).unwrap(), Loaded::Absent);
}

fn cookie(choices: &mut Choices<'_>) {
    let record = Arc::new(choices.record(5, DEADLINE));
    let unused = SessionToken::from_random([0; 24], TokenScope::of("sid"));
    let Created::Instead(token) = at_once(COOKIE.create(&unused, &record, at(1))).unwrap() else { panic!() };
    let load = |store: &CookieStore, token: &SessionToken| at_once(store.load(token, at(1))).unwrap();
    assert_eq!(load(&COOKIE, &token), Loaded::Live(Arc::clone(&record)));
    // Another key, another cookie, another audience.
    assert_eq!(load(&STRANGERS[choices.below(3)], &token), Loaded::Absent);
    let changed = choices.mutation(token.secret());
    if changed != token.secret()
        && let Some(changed) = SessionToken::parse(&changed, COOKIE.token_shape(), TokenScope::of("sid"))
    {
        assert_eq!(load(&COOKIE, &changed), Loaded::Absent, "{changed:?}");
    }
}

/// A record sealed for a store on the server, which somebody who can write there has changed.
fn record(choices: &mut Choices<'_>) {
    let inner = small_memory();
    let sealed = Sealed::new(inner.clone()).unwrap();
    let record = choices.record(5, DEADLINE);
    let (token, other) = (
        SessionToken::from_random([choices.byte(); 24], TokenScope::of("sid")),
        SessionToken::from_random([0xee; 24], TokenScope::of("sid")),
    );
    at_once(sealed.create(&token, &Arc::new(record.clone()), at(1))).unwrap();
    // The store gives a sign-in its moment.
    assert_eq!(live(&sealed, &token).map(|found| found.with_sign_in(record.sign_in())).as_ref(), Some(&record));
    let shell = live(&inner, &token).unwrap();

    let head = shell.head();
    let mut owner = head.owner.as_deref().map(ToOwned::to_owned);
    let (mut version, mut deadline, mut place, mut body) = (head.version, head.deadline, &token, shell.encode());
    match choices.below(6) {
        0 => version = tower_session_layer::store::Version::new(choices.number()),
        1 => owner = Some(String::from_utf8_lossy(choices.take(4)).into_owned()),
        2 => place = &other,
        3 => deadline = at(DEADLINE + u64::from(choices.byte())),
        _ => body = choices.mutation(&body),
    }
    let planted = RecordHead::new(version, deadline, head.seen, owner.map(Into::into));
    let Ok(planted) = Record::decode(planted.with_sign_in(head.handle, head.sign_in), &body) else { return };
    let stolen = small_memory();
    if at_once(stolen.create(place, &Arc::new(planted.clone()), at(1))).unwrap() != Created::Stored {
        return;
    }
    let opened = live(&Sealed::new(stolen).unwrap(), place);
    // Nothing but the times that a touch moves may differ, and none moves the deadline beyond the latest end.
    let is_untouched = place == &token
        && planted.deadline() <= at(DEADLINE + SPARE)
        && Record::decode(moved(&head, &planted), &shell.encode()).as_ref() == Ok(&planted);
    let expected = is_untouched.then(|| Record::decode(moved(&record.head(), &planted), &record.encode()).unwrap());
    assert_eq!(opened, expected);
}

/// The head with the times of another record.
fn moved(head: &RecordHead, to: &Record) -> RecordHead {
    let mut head = head.clone();
    (head.deadline, head.seen) = (to.deadline(), to.seen());
    head
}

fn live(store: &impl SessionStore, token: &SessionToken) -> Option<Record> {
    match at_once(store.load(token, at(1))).unwrap() {
        Loaded::Live(record) => Some((*record).clone()),
        Loaded::Absent => None,
        other => panic!("{other:?}"),
    }
}
