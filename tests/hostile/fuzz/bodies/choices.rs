//! Decisions made by bytes. Where they run out, all further ones are zero.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tower_session_layer::store::{Record, RecordHead, Version};
use tower_session_layer::{MemoryStore, SessionHandle};

/// Microseconds from the deadline of a record to its latest end.
pub const SPARE: u64 = 99;

pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub fn number(&mut self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Up to so many bytes.
    pub fn take(&mut self, most: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        front
    }

    pub fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    /// A valid record with up to three values and one flash value.
    pub fn record(&mut self, version: u64, deadline: u64) -> Record {
        let owner = (self.below(2) == 1).then(|| String::from_utf8_lossy(self.take(3)).into_owned());
        let flags =
            [1, 2, 4, 8, 16, 32].into_iter().fold(0, |flags, flag| flags | (flag * u8::from(self.below(2) == 1)));
        let mut body = vec![2, flags];
        let is_set = |flag| flags & flag != 0;
        // One microsecond, and that much back or on in microseconds or seconds, but never nothing.
        body.push(1 << 2 | 2);
        number(&mut body, (deadline + SPARE - 1) << 2 | 2);
        for flag in [4, 8] {
            let distance = u64::from(self.byte()) + 1;
            if is_set(flag) {
                number(&mut body, distance << 2 | u64::from(self.below(2) == 1) << 1);
            }
        }
        if is_set(16) {
            number(&mut body, u64::from(self.byte()) + 1);
        }
        if is_set(1) {
            body.extend([self.byte() | 1; 24]);
        }
        for (flag, most) in [(32, 1), (0, 3)] {
            let count = if flag == 0 { self.below(most + 1) } else { usize::from(is_set(flag)) };
            if flag == 0 || count > 0 {
                body.push(count as u8);
            }
            for key in ["a", "b", "ß"].iter().take(count) {
                let len = self.below(40);
                let json = serde_json::to_string(&String::from_utf8_lossy(self.take(len))).unwrap();
                number(&mut body, key.len() as u64);
                number(&mut body, json.len() as u64);
                body.extend_from_slice(key.as_bytes());
                body.extend_from_slice(json.as_bytes());
            }
        }
        let handle = SessionHandle::from_bytes([self.byte(); 16]);
        let head = RecordHead::new(Version::new(version), at(deadline), at(1), owner.map(Into::into));
        Record::decode(head.with_sign_in(handle, 0), &body).unwrap()
    }

    /// The bytes with up to four of them changed, or cut off, or followed by others.
    pub fn mutation(&mut self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for _ in 0..=self.below(4) {
            let place = (self.below(256) << 8 | self.below(256)) % bytes.len().max(1);
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[place] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[place] = self.byte(),
                2 if !bytes.is_empty() => drop(bytes.remove(place)),
                3 => bytes.truncate(place),
                4 => bytes.insert(place, self.byte()),
                _ => bytes.extend_from_slice(self.take(8)),
            }
        }
        bytes
    }
}

/// So many microseconds after the Unix epoch.
pub fn at(micros: u64) -> std::time::SystemTime {
    std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(micros)
}

/// A store that is made quickly.
pub fn small_memory() -> MemoryStore {
    MemoryStore::builder().max_sessions(4_000).build().unwrap()
}

/// What a future answers that need not wait.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// Appends a number as records hold it.
fn number(body: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        body.push(number as u8 | 0x80);
        number >>= 7;
    }
    body.push(number as u8);
}
