//! What a store keeps of a session, and how it is written as bytes.

mod encoding;
mod tombstone;
mod values;

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

#[cfg(feature = "cookie")]
pub(crate) use self::encoding::RENEWED_LEN;
pub use self::encoding::{DecodeError, Head};
pub(crate) use self::tombstone::{GRACE, TOMBSTONE};
pub use self::tombstone::{Tombstone, TombstoneKind};
pub(crate) use self::values::{Entry, Values, equal_json};
use crate::clock::{span, time};

/// Which state of a record is meant: a random number that the layer chooses for each write.
///
/// A store compares versions for equality and nothing else. Zero is no version, so a store may write it where a
/// tombstone stands.
///
/// # Examples
///
/// ```
/// use tower_session_layer::store::Version;
///
/// assert_eq!(Version::new(7).map(Version::get), Some(7));
/// assert_eq!(Version::new(0), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(NonZeroU64);

impl Version {
    /// Makes a version of a number other than zero.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn after(before: Option<Self>) -> Self {
        let next = before.and_then(|before| before.0.checked_add(1));
        Self(next.unwrap_or(NonZeroU64::MIN))
    }
}

/// The public name of a session among its owner's: not the token, and of no use as one.
///
/// It stays the same when the session is renewed; signing in gives a new one. Its text is 22 base64url characters.
///
/// # Examples
///
/// ```
/// use tower_session_layer::store::SessionHandle;
///
/// let handle = SessionHandle::from_bytes([7; 16]); // as a page may name it: `DELETE /devices/0707…`
/// assert_eq!(SessionHandle::parse(&handle.to_string()), Some(handle));
/// assert_eq!(SessionHandle::parse("somebody"), None);
/// assert_eq!(*handle.as_bytes(), [7; 16]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionHandle([u8; 16]);

impl SessionHandle {
    /// Stands in a session that has no handle yet.
    pub(crate) const NONE: Self = Self([0; 16]);

    /// Makes a handle of its bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses the text of a handle.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionHandle({self})")
    }
}

/// A session as a store keeps it.
///
/// A clone is a few shared pointers. `Debug` shows no value. [`encode`](Self::encode) writes all but the
/// [`Head`], which a store keeps beside the bytes, so that moving a deadline or comparing a version parses nothing.
///
/// # Examples
///
/// ```
/// # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
/// # use hidden::*;
/// # let (_, found) = stored(|session| async move {
/// #     session.insert("country", "US")?;
/// #     session.sign_in("ada")
/// # });
/// # let (_, record) = found.unwrap();
/// use std::time::{Duration, SystemTime};
/// use tower_session_layer::store::Record;
///
/// let (body, head) = (record.encode(), record.head()); // what a store keeps, and what stands beside it
/// assert_eq!(Record::decode(head, &body)?, record);
/// assert!(Record::decode(record.head(), b"damaged").is_err());
///
/// assert_eq!((record.owner(), record.idle_timeout()), (Some("ada"), None));
/// assert!(record.signed_in().is_some() && record.created() <= record.seen());
/// assert!(record.deadline() <= record.absolute_deadline() && !record.is_expired(SystemTime::now()));
/// assert_eq!(record.size(), r#"country"US""#.len());
/// assert!(body.len() <= record.encoded_len());
///
/// let mut touched = record.clone();
/// touched.touch(record.deadline() + Duration::from_secs(60), record.seen());
/// assert!(touched.deadline() > record.deadline() && touched.version() == record.version());
/// # Ok::<(), tower_session_layer::store::DecodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    // Microseconds since the Unix epoch, or of duration, throughout.
    pub(crate) created: u64,
    pub(crate) seen: u64,
    pub(crate) deadline: u64,
    pub(crate) absolute: u64,
    /// The session's own idle timeout; 0 where the layer's holds.
    pub(crate) idle: u64,
    /// When the owner signed in; 0 without an owner.
    pub(crate) signed_in: u64,
    pub(crate) version: Version,
    pub(crate) handle: SessionHandle,
    pub(crate) owner: Option<Arc<str>>,
    /// Made with the session and replaced when it is renewed.
    pub(crate) csrf: [u8; CSRF_LEN],
    /// Whether the CSRF secret was handed out, which makes even an empty session worth keeping.
    pub(crate) pinned: bool,
    /// Seconds from the beginning until the token was replaced last, rounded up, if the layer goes by that.
    pub(crate) renewed: u32,
    pub(crate) flash: Values,
    pub(crate) values: Values,
}

/// Bytes of a session's CSRF secret.
pub(crate) const CSRF_LEN: usize = 24;

impl Record {
    /// Makes a session without content. The commit fills in the fields that a new session needs.
    pub(crate) fn blank() -> Self {
        Self {
            created: 0,
            seen: 0,
            deadline: 0,
            absolute: 0,
            idle: 0,
            signed_in: 0,
            renewed: 0,
            version: Version::after(None),
            handle: SessionHandle::NONE,
            owner: None,
            csrf: [0; CSRF_LEN],
            pinned: false,
            flash: Values::default(),
            values: Values::default(),
        }
    }

    /// Returns when the session began.
    pub fn created(&self) -> SystemTime {
        time(self.created)
    }

    /// Returns when the session was last written or its deadline moved.
    pub fn seen(&self) -> SystemTime {
        time(self.seen)
    }

    /// Returns when the session ends unless it is used: from then on it is absent, swept or not.
    pub fn deadline(&self) -> SystemTime {
        time(self.deadline)
    }

    /// Returns when the session ends however much it is used.
    pub fn absolute_deadline(&self) -> SystemTime {
        time(self.absolute)
    }

    /// Returns the session's own idle timeout, if it has one that differs from the layer's.
    pub fn idle_timeout(&self) -> Option<Duration> {
        (self.idle > 0).then(|| Duration::from_micros(self.idle))
    }

    /// Returns when the owner signed in.
    pub fn signed_in(&self) -> Option<SystemTime> {
        (self.signed_in > 0).then(|| time(self.signed_in))
    }

    /// Returns the version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the session's public name.
    pub fn handle(&self) -> SessionHandle {
        self.handle
    }

    /// Returns who signed in.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Returns the bytes of all keys and values, flash included.
    pub fn size(&self) -> usize {
        self.values.bytes() + self.flash.bytes()
    }

    /// Returns how long [`encode`](Self::encode)'s bytes become at most without a change, with the owner's name, which
    /// stands beside them.
    pub fn encoded_len(&self) -> usize {
        let entries = self.flash.entries().len() + self.values.entries().len();
        self.owner.as_ref().map_or(0, |owner| owner.len()) + encoding::FIXED_LEN + 8 * entries + self.size()
    }

    /// Whether the session ends at or before `now`.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.deadline <= crate::clock::micros(now)
    }

    /// Applies what [`SessionStore::touch`](crate::SessionStore::touch) says: the deadline moves later or stays.
    pub fn touch(&mut self, deadline: SystemTime, now: SystemTime) {
        self.deadline = self.deadline.max(crate::clock::micros(deadline));
        self.seen = self.seen.max(crate::clock::micros(now));
    }

    /// Returns what stands beside the encoded bytes.
    pub fn head(&self) -> Head {
        Head { version: Some(self.version), deadline: self.deadline(), seen: self.seen(), owner: self.owner.clone() }
    }

    /// The idle timeout that holds, in microseconds.
    pub(crate) fn idle_or(&self, default: Duration) -> u64 {
        if self.idle > 0 { self.idle } else { span(default) }
    }

    /// Whether nothing is worth keeping: no value, flash, owner or CSRF secret that was handed out.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.flash.is_empty() && self.owner.is_none() && !self.pinned
    }

    /// The key whose value is the largest.
    pub(crate) fn largest_key(&self) -> Option<String> {
        let entries = self.values.entries().iter().chain(self.flash.entries());
        entries.max_by_key(|entry| entry.json().len()).map(|entry| entry.key().to_owned())
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("created", &self.created())
            .field("deadline", &self.deadline())
            .field("version", &self.version)
            .field("has_owner", &self.owner.is_some())
            .field("keys", &self.values.entries().len())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
