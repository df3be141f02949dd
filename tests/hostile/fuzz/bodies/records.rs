//! Stored bytes: what decodes is written again as it was, and what does not is an error.

use std::time::SystemTime;

use tower_session_layer::SessionHandle;
use tower_session_layer::store::{Loaded, Record, RecordHead, Tombstone, Version};

use super::choices::{Choices, at};

/// Times are kept in microseconds of 63 bits.
const LATEST: u64 = i64::MAX.unsigned_abs();

pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(3) {
        0 => arbitrary(&mut choices),
        1 => {
            let record = choices.record(5, 1_000);
            let whole = record.encode();
            assert_eq!(Record::decode(record.head(), &whole), Ok(record.clone()));
            check_len(&record, &whole);
            let changed = choices.mutation(&whole);
            check(record.head(), &changed);
        }
        _ => {
            let stone = Tombstone::decode(at(choices.number().min(LATEST)), choices.rest());
            if let Ok(stone) = stone {
                assert_eq!(Tombstone::decode(stone.until(), &stone.encode()), Ok(stone));
            }
        }
    }
}

/// What a store keeps beside the bytes, and the time.
pub fn head(choices: &mut Choices<'_>) -> (RecordHead, SystemTime) {
    let version = if choices.below(4) == 0 { 0 } else { choices.number() };
    let [deadline, seen, now] = [(); 3].map(|()| match choices.below(4) {
        0 => choices.number().min(LATEST),
        _ => u64::from(choices.byte()),
    });
    let owner = (choices.below(2) == 1).then(|| String::from_utf8_lossy(choices.take(5)).into());
    let (handle, sign_in) = (SessionHandle::from_bytes([choices.byte(); 16]), u64::from(choices.byte()));
    (RecordHead::new(Version::new(version), at(deadline), at(seen), owner).with_sign_in(handle, sign_in), at(now))
}

fn arbitrary(choices: &mut Choices<'_>) {
    let (head, now) = head(choices);
    let body = choices.rest();
    check(head.clone(), body);
    let is_record = head.version.is_some();
    let decoded = Loaded::decode(head.clone(), body, now);
    if head.deadline <= now {
        assert_eq!(decoded, Ok(Loaded::Absent));
    } else if is_record {
        assert_eq!(decoded.ok(), Record::decode(head, body).ok().map(|record| Loaded::Live(record.into())));
    } else {
        assert_eq!(decoded.ok(), Tombstone::decode(head.deadline, body).ok().map(Loaded::Tombstone));
    }
}

fn check(head: RecordHead, body: &[u8]) {
    let Ok(record) = Record::decode(head.clone(), body) else { return };
    assert_eq!(record.encode(), body, "there is one way to write a record");
    assert_eq!(record.head(), head);
    check_len(&record, body);
}

/// What a record may get counts whether it is there or not.
fn check_len(record: &Record, body: &[u8]) {
    let written = record.owner().map_or(0, str::len) + body.len();
    assert!(written <= record.encoded_len(), "{written} bytes of {}", record.encoded_len());
}
