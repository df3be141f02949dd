//! Records made by hand, for tests that speak to a store directly.

use std::time::SystemTime;

use tower_session_layer::store::{Record, RecordHead, Version};

/// A record whose one value, `k`, is this JSON.
pub fn record(version: u64, owner: Option<&str>, json: &str, (now, deadline): (SystemTime, SystemTime)) -> Record {
    let mut body = vec![1];
    for time in [0, 0, 0, u64::from(owner.is_some())] {
        body.extend(time.to_be_bytes());
    }
    // Handle, CSRF secret and flag, no flash, one value.
    body.extend([8; 16]);
    body.extend([0; 24 + 1 + 4]);
    body.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    body.extend(u32::try_from(json.len()).unwrap().to_be_bytes());
    body.extend(b"k");
    body.extend(json.as_bytes());
    let head = RecordHead::new(Version::new(version), deadline, now, owner.map(Into::into));
    Record::decode(head, &body).unwrap()
}

/// The same without an owner, of exactly so many bytes.
pub fn record_of_len(version: u64, len: usize, times: (SystemTime, SystemTime)) -> Record {
    let text = "x".repeat(len - record(version, None, "\"\"", times).encoded_len());
    record(version, None, &format!("\"{text}\""), times)
}
