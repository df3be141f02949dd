//! The values that the stores keep around a record: a file, a Redis value, a row.

use std::time::SystemTime;

use tower_session_layer::store::{Loaded, Record, RecordHead, file, redis, sql};
use tower_session_layer::{SessionHandle, SessionToken, StoreKey, TokenScope};

use super::choices::{Choices, at};
use super::records;

type Decode = fn(&StoreKey, &[u8], SystemTime) -> Loaded;

pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let key = SessionToken::from_random([7; 24], TokenScope::of("sid")).key();
    let decode: Decode = if choices.below(2) == 0 { file::bytes::decode } else { redis::bytes::decode };
    match choices.below(4) {
        0 => {
            // A fuzzer that watches comparisons may hit the digests, so this only has to come to an end.
            drop(decode(&key, choices.rest(), at(1)));
        }
        1 => row(&mut choices),
        2 => framed(&mut choices, &key),
        _ => changed(&mut choices, &key, decode),
    }
}

/// A row whose columns are anything.
fn row(choices: &mut Choices<'_>) {
    let (head, now) = records::head(choices);
    let kind = i64::from(choices.below(6) as u8) - i64::from(choices.below(8) == 7);
    let version = match kind {
        1 | 2 => Some(head.version.map_or(0, |version| version.get().cast_signed())),
        3 | 5 => Some(0),
        _ => None,
    };
    let seen = matches!(kind, 1 | 3 | 4).then_some(head.seen);
    let owner = match choices.below(4) {
        0 => Some(choices.take(3).to_vec()),
        _ => head.owner.as_ref().map(|owner| owner.as_bytes().to_vec()),
    };
    let handle = match choices.below(4) {
        0 => None,
        1 => Some(choices.take(3).to_vec()),
        _ => Some(vec![choices.byte(); 16]),
    };
    let sign_in = (choices.below(2) == 1).then(|| choices.number().cast_signed());
    let body = choices.rest();
    let times = (head.deadline, seen);
    let read = sql::bytes::decode(version, times, owner.clone(), (handle.clone(), sign_in), body.to_vec(), now);
    let handle = handle.map_or(Ok([0; 16]), <[u8; 16]>::try_from).map(SessionHandle::from_bytes);
    let expected = match (kind, owner.map(String::from_utf8).transpose(), handle) {
        (1 | 3, Ok(owner), Ok(handle)) => {
            let version = head.version.filter(|_| kind == 1);
            let head = RecordHead::new(version, head.deadline, head.seen, owner.map(Into::into));
            let head = head.with_sign_in(handle, sign_in.unwrap_or_default().cast_unsigned());
            Loaded::decode(head, body, now).unwrap_or(Loaded::Absent)
        }
        _ => Loaded::Absent,
    };
    assert_eq!(read, expected);
}

/// A frame that is right around bytes that may be none of ours.
fn framed(choices: &mut Choices<'_>, key: &StoreKey) {
    let (head, now) = records::head(choices);
    let body = choices.rest();
    let inside = Loaded::decode(head.clone(), body, now).unwrap_or(Loaded::Absent);
    assert_eq!(file::bytes::decode(key, &file::bytes::encode(key, &head, body), now), inside);
    if let Loaded::Live(record) = &inside {
        assert_eq!(redis::bytes::decode(key, &redis::bytes::encode(key, record), now), inside);
    }
}

/// A valid value, then one that somebody has changed.
fn changed(choices: &mut Choices<'_>, key: &StoreKey, decode: Decode) {
    let version = choices.number() | 1;
    let record = choices.record(version, 1_000);
    let mut head = record.head();
    head.sign_in = u64::from(choices.byte());
    let record = Record::decode(head, &record.encode()).unwrap();
    let is_file = std::ptr::fn_addr_eq(decode, file::bytes::decode as Decode);
    let whole = if is_file {
        file::bytes::encode(key, &record.head(), &record.encode())
    } else {
        redis::bytes::encode(key, &record)
    };
    assert_eq!(decode(key, &whole, at(1)), Loaded::Live(record.clone().into()));
    assert_eq!(decode(key, &whole, at(1_000)), Loaded::Absent);
    let other = SessionToken::from_random([8; 24], TokenScope::of("sid")).key();
    assert_eq!(decode(&other, &whole, at(1)), Loaded::Absent);
    let bytes = choices.mutation(&whole);
    match decode(key, &bytes, at(1)) {
        Loaded::Absent => assert_ne!(bytes, whole),
        // A seal covers the times of a file; scripts move those of a Redis value.
        Loaded::Live(found) if is_file => assert_eq!((bytes, &*found), (whole, &record)),
        Loaded::Live(found) => {
            let head = found.head();
            let mut moved = record.head();
            (moved.deadline, moved.seen) = (head.deadline, head.seen);
            assert_eq!(Record::decode(moved, &record.encode()).as_ref(), Ok(&*found));
            assert_eq!([&bytes[..10], &bytes[26..]], [&whole[..10], &whole[26..]]);
        }
        other => panic!("{other:?}"),
    }
}
