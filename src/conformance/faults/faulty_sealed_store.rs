//! A store whose token is the session, with a fault.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};

use crate::clock::{micros, time};
use crate::conformance::{Profile, check};
use crate::error::StoreError;
use crate::record::{Record, RecordHead, SessionHandle, Version};
use crate::store::{Change, Created, Deadline, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::token::{SessionToken, StoreKey, TokenShape};

mod faultless {
    crate::session_store_conformance!(client_side: super::FaultySealedStore::new(super::SealedFault::None));
}

const FAULTS: &[(SealedFault, &str)] = &[
    (SealedFault::NoLimitDeclared, "shape_and_limits_are_declared"),
    (SealedFault::LosesOwner, "record_is_loaded_as_it_was_sealed"),
    (SealedFault::LosesOwner, "owners_are_unsupported"),
    (SealedFault::DeadlineIsAlwaysSet, "update_seals_the_new_record"),
    (SealedFault::IgnoresVersion, "update_seals_the_new_record"),
    (SealedFault::IgnoresVersion, "touch_seals_the_new_deadline"),
    (SealedFault::TouchMovesBack, "touch_seals_the_new_deadline"),
    (SealedFault::NeverExpires, "what_ends_now_is_absent_for_every_method"),
    (SealedFault::NeverExpires, "times_from_1970_to_9999_are_exact"),
    (SealedFault::ForgetsWhatEnded, "clock_that_goes_back_revives_nothing"),
    (SealedFault::LatestEndIsEverybodys, "clock_that_goes_back_revives_nothing"),
    (SealedFault::IgnoresItsEnd, "forged_tokens_are_absent"),
    (SealedFault::Plain, "forged_tokens_are_absent"),
    (SealedFault::Plain, "token_shows_nothing_and_is_never_the_same"),
    (SealedFault::OneNonce, "token_shows_nothing_and_is_never_the_same"),
    (SealedFault::TooLargeIsSealed, "record_over_the_limit_is_a_typed_error"),
    (SealedFault::PretendsOwners, "owners_are_unsupported"),
    (SealedFault::PretendsToDelete, "owners_are_unsupported"),
    (SealedFault::DeadlineIsAlwaysSet, "answers_are_those_of_the_model"),
];

#[test]
fn each_fault_is_found_by_its_law() {
    let missed: Vec<_> = FAULTS
        .iter()
        .filter(|(fault, law)| {
            let checked = || check(Profile::ClientSide, law, async || FaultySealedStore::new(*fault));
            catch_unwind(AssertUnwindSafe(checked)).is_ok()
        })
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SealedFault {
    None,
    DeadlineIsAlwaysSet,
    ForgetsWhatEnded,
    IgnoresItsEnd,
    IgnoresVersion,
    LatestEndIsEverybodys,
    LosesOwner,
    NeverExpires,
    NoLimitDeclared,
    OneNonce,
    Plain,
    PretendsOwners,
    PretendsToDelete,
    TooLargeIsSealed,
    TouchMovesBack,
}

const MAX_RECORD: usize = 3_000;

#[derive(Debug)]
struct FaultySealedStore {
    fault: SealedFault,
    /// The sessions that were found expired, by handle and deadline.
    expired: Mutex<HashSet<(SessionHandle, u64)>>,
}

impl FaultySealedStore {
    fn new(fault: SealedFault) -> Self {
        Self { fault, expired: Mutex::default() }
    }

    fn cipher() -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&[7; 32].into())
    }

    fn seal(&self, record: &Record) -> Result<SessionToken, StoreError> {
        if record.encoded_len() > MAX_RECORD && self.fault != SealedFault::TooLargeIsSealed {
            return Err(StoreError::too_large(record.encoded_len(), MAX_RECORD));
        }
        let owner = record.owner().filter(|_| self.fault != SealedFault::LosesOwner).unwrap_or_default();
        let mut plain = Vec::new();
        for number in [record.version.get(), record.deadline, record.seen, owner.len() as u64] {
            plain.extend(number.to_be_bytes());
        }
        plain.extend(record.handle.as_bytes());
        plain.extend(owner.as_bytes());
        plain.extend(record.encode());
        let mut nonce = [0; 24];
        if self.fault != SealedFault::OneNonce {
            getrandom::fill(&mut nonce).unwrap();
        }
        let body = match self.fault {
            SealedFault::Plain => plain,
            _ => Self::cipher().encrypt(&XNonce::from(nonce), plain.as_slice()).unwrap(),
        };
        let text = URL_SAFE_NO_PAD.encode([&nonce[..], &body].concat());
        Ok(SessionToken::from_sealed(text).unwrap())
    }

    fn open(&self, token: &SessionToken, now: SystemTime) -> Option<Record> {
        let mut text = token.secret().to_vec();
        if self.fault == SealedFault::IgnoresItsEnd {
            // As a store that stops at the first character it does not know, or at a length that it has read.
            while text.len() > 32 && URL_SAFE_NO_PAD.decode(&text).ok().and_then(|raw| decrypted(&raw)).is_none() {
                text.pop();
            }
        }
        let raw = URL_SAFE_NO_PAD.decode(&text).ok()?;
        let plain = if self.fault == SealedFault::Plain { raw.get(24..)?.to_vec() } else { decrypted(&raw)? };
        let (numbers, rest) = plain.split_at_checked(32)?;
        let number = |index: usize| u64::from_be_bytes(numbers[8 * index..8 * index + 8].try_into().unwrap());
        let (handle, rest) = rest.split_first_chunk()?;
        let (owner, body) = rest.split_at_checked(usize::try_from(number(3)).ok()?)?;
        let owner = std::str::from_utf8(owner).ok().filter(|owner| !owner.is_empty()).map(Into::into);
        let head = RecordHead::new(Version::new(number(0)), time(number(1)), time(number(2)), owner);
        let head = head.with_sign_in(SessionHandle::from_bytes(*handle), 0);
        let record = Record::decode(head, body).ok()?;
        let mut expired = self.expired.lock().unwrap();
        if record.is_expired(now) {
            expired.insert((record.handle, record.deadline));
        }
        let is_over = match self.fault {
            SealedFault::NeverExpires => false,
            SealedFault::ForgetsWhatEnded => record.is_expired(now),
            SealedFault::LatestEndIsEverybodys => expired.iter().any(|(_, end)| record.deadline <= *end),
            _ => expired.contains(&(record.handle, record.deadline)),
        };
        (!is_over).then_some(record)
    }
}

fn decrypted(raw: &[u8]) -> Option<Vec<u8>> {
    let (nonce, body) = raw.split_first_chunk::<24>()?;
    FaultySealedStore::cipher().decrypt(&XNonce::from(*nonce), body).ok()
}

impl SessionStore for FaultySealedStore {
    fn token_shape(&self) -> TokenShape {
        TokenShape::sealed(4_200, 1)
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn max_record_len(&self) -> Option<usize> {
        (self.fault != SealedFault::NoLimitDeclared).then_some(MAX_RECORD)
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        Ok(self.open(token, now).map_or(Loaded::Absent, |record| Loaded::Live(record.into())))
    }

    async fn create(&self, _: &SessionToken, record: &Arc<Record>, _: SystemTime) -> Result<Created, StoreError> {
        self.seal(record).map(Created::Instead)
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let Some(stored) = self.open(token, now) else { return Ok(Updated::Gone) };
        if stored.version() != from && self.fault != SealedFault::IgnoresVersion {
            return Ok(Updated::Conflict);
        }
        match change {
            Change::Replace(next, deadline) => {
                let deadline = if self.fault == SealedFault::DeadlineIsAlwaysSet { Deadline::Set } else { *deadline };
                self.seal(&deadline.apply(stored.deadline(), next.clone())).map(Updated::Instead)
            }
            Change::Retire(_) => Ok(Updated::Done),
        }
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let Some(mut stored) = self.open(token, now) else { return Ok(Updated::Gone) };
        if stored.version() != version && self.fault != SealedFault::IgnoresVersion {
            return Ok(Updated::Conflict);
        }
        stored.touch(deadline, now);
        if self.fault == SealedFault::TouchMovesBack {
            stored.deadline = micros(deadline);
        }
        self.seal(&stored).map(Updated::Instead)
    }

    async fn delete(&self, _: &StoreKey, _: Duration, _: SystemTime) -> Result<Deleted, StoreError> {
        if self.fault == SealedFault::PretendsToDelete { Ok(Deleted::Absent) } else { Err(StoreError::unsupported()) }
    }

    async fn owned(&self, _: &str, _: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        if self.fault == SealedFault::PretendsOwners { Ok(Vec::new()) } else { Err(StoreError::unsupported()) }
    }

    async fn revoke(&self, _: &str, _: &Revocation, _: SystemTime) -> Result<usize, StoreError> {
        Err(StoreError::unsupported())
    }

    async fn sweep(&self, _: usize, _: SystemTime) -> Result<usize, StoreError> {
        Ok(0)
    }
}
