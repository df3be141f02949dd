//! Records made by hand, for tests that speak to a store directly.

use std::time::SystemTime;

use tower_session_layer::SessionHandle;
use tower_session_layer::store::{Record, RecordHead, Version};

/// A record of this head whose one value is this JSON. It begins, ends at the latest and was signed in at these times, in
/// seconds since the Unix epoch; 0 without a sign-in.
pub fn record_of(head: RecordHead, [created, absolute, signed_in]: [u64; 3], key: &str, json: &str) -> Record {
    let mut body = vec![2, if signed_in > 0 { 8 } else { 0 }];
    for (from, to) in
        [(0, created), (created, absolute), (created, signed_in)].into_iter().take(2 + usize::from(body[1] > 0))
    {
        number(&mut body, from.abs_diff(to) << 2 | u64::from(to < from));
    }
    body.push(1);
    number(&mut body, key.len() as u64);
    number(&mut body, json.len() as u64);
    body.extend(key.as_bytes());
    body.extend(json.as_bytes());
    Record::decode(head, &body).unwrap()
}

fn number(body: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        body.push(number as u8 | 0x80);
        number >>= 7;
    }
    body.push(number as u8);
}

/// A record whose one value, `k`, is this JSON.
pub fn record(version: u64, owner: Option<&str>, json: &str, (now, deadline): (SystemTime, SystemTime)) -> Record {
    let head = RecordHead::new(Version::new(version), deadline, now, owner.map(Into::into));
    let head = head.with_sign_in(SessionHandle::from_bytes([8; 16]), 0);
    // Its latest end is the second after its deadline.
    let latest = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 1;
    record_of(head, [0, latest, u64::from(owner.is_some())], "k", json)
}

/// The same without an owner, of exactly so many bytes.
pub fn record_of_len(version: u64, len: usize, times: (SystemTime, SystemTime)) -> Record {
    let text = "x".repeat(len - record(version, None, "\"\"", times).encoded_len());
    record(version, None, &format!("\"{text}\""), times)
}
