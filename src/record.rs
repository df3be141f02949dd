//! The record that a store keeps of a session, and its bytes.

mod checked;
mod encoding;
mod entry;
mod extensions;
mod handle;
#[cfg(feature = "moving")]
mod moving;
mod tombstone;
mod values;

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
#[cfg(feature = "import")]
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

pub(crate) use self::checked::{Doubt, Fields};
pub use self::encoding::{DecodeError, RecordHead};
pub(crate) use self::entry::{Entry, equal_json};
pub(crate) use self::extensions::Extensions;
pub use self::handle::SessionHandle;
#[cfg(feature = "moving")]
pub(crate) use self::moving::Moving;
pub(crate) use self::tombstone::{GRACE, LEADING_LEN, TOMBSTONE};
pub use self::tombstone::{Tombstone, TombstoneKind};
pub(crate) use self::values::Values;
use crate::clock::{micros, time};

/// The number of one state of a record, which the layer chooses at random for each write.
///
/// A store compares versions for equality and nothing else. Zero is never a version, so a store may write zero for a
/// tombstone.
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
    /// Creates a version of a number; `None` for zero.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the version whose number follows that of `before`; 1 without one.
    pub(crate) fn after(before: Option<Self>) -> Self {
        let next = before.and_then(|before| before.0.checked_add(1));
        Self(next.unwrap_or(NonZeroU64::MIN))
    }
}

/// A session as a store keeps it.
///
/// A clone copies a few shared pointers. `Debug` shows no value. [`encode`](Self::encode) writes everything but the
/// [`RecordHead`]. A store keeps the head beside the bytes, so that it need not parse them to move a deadline or to compare
/// versions.
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
/// let (body, head) = (record.encode(), record.head()); // a store keeps both, side by side
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
/// assert!(record.is_same(&touched) && record.is_same(&record.with_sign_in(7)));
/// # Ok::<(), tower_session_layer::store::DecodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    // All times are microseconds since the Unix epoch; all durations are microseconds.
    pub(crate) created: u64,
    pub(crate) seen: u64,
    pub(crate) deadline: u64,
    pub(crate) absolute: u64,
    /// The session's own idle timeout; 0 if the layer's applies.
    pub(crate) idle: u64,
    /// The time at which the owner signed in; 0 without an owner.
    pub(crate) signed_in: u64,
    /// The moment of the sign-in in the order of the store, which assigns it; 0 if there is none yet.
    pub(crate) sign_in: u64,
    /// The time at which a sign-in without a moment began.
    pub(crate) began: Began,
    pub(crate) version: Version,
    /// The handle; `NONE` in a server-side store if nobody has signed in.
    pub(crate) handle: SessionHandle,
    pub(crate) owner: Option<Arc<str>>,
    /// The CSRF secret, replaced by a renewal. It is made when the program takes it, or with a session that is sealed in
    /// its token; zeros before.
    pub(crate) csrf: [u8; CSRF_LEN],
    /// True if the program has taken the CSRF secret. Such a session is kept even if it is empty otherwise.
    pub(crate) csrf_handed_out: bool,
    /// Seconds from the beginning of the session until its token was last replaced, rounded up; 0 if the layer does not
    /// replace tokens by age.
    pub(crate) renewed: u32,
    pub(crate) flash: Values,
    pub(crate) values: Values,
    pub(crate) extensions: Extensions,
}

/// The time at which a sign-in that is under way began, by the clocks of this process.
///
/// It is not stored, so records are equal whatever it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Began(
    // Boxed, since every record in memory has room for it and hardly any has it.
    Option<Box<Beginning>>,
);

impl Began {
    pub(crate) fn at(beginning: Beginning) -> Self {
        Self(Some(Box::new(beginning)))
    }

    pub(crate) fn get(&self) -> Option<Beginning> {
        self.0.as_deref().copied()
    }
}

/// A time by both clocks of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    pub(crate) at: Instant,
    pub(crate) time: SystemTime,
    /// True for a session that another store has: that store tells which revocations came after its sign-in.
    pub(crate) is_elsewhere: bool,
}

impl Beginning {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), time: SystemTime::now(), is_elsewhere: false }
    }

    /// Returns the beginning of a sign-in that another store orders among the revocations.
    #[cfg(feature = "moving")]
    pub(crate) fn elsewhere() -> Self {
        Self { is_elsewhere: true, ..Self::now() }
    }

    /// Returns the time so long ago, or the earliest that the clocks can show.
    #[cfg(feature = "import")]
    pub(crate) fn ago(ago: Duration) -> Self {
        static EARLIEST: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now = Self::now();
        Self {
            at: now.at.checked_sub(ago).unwrap_or(*EARLIEST),
            time: now.time.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
            ..now
        }
    }

    /// Returns the time since then by the clock that shows more: one may be set back, and the other stands still while a
    /// machine is frozen.
    pub(crate) fn elapsed(&self) -> Duration {
        self.at.elapsed().max(self.time.elapsed().unwrap_or_default())
    }
}

impl PartialEq for Began {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Began {}

/// Bytes of a session's CSRF secret.
pub(crate) const CSRF_LEN: usize = 24;

impl Record {
    /// Returns the record of a session in its first state. The commit sets the times, the handle and the secrets.
    pub(crate) fn blank() -> Self {
        Self {
            created: 0,
            seen: 0,
            deadline: 0,
            absolute: 0,
            idle: 0,
            signed_in: 0,
            sign_in: 0,
            began: Began::default(),
            version: Version::after(None),
            handle: SessionHandle::NONE,
            owner: None,
            csrf: [0; CSRF_LEN],
            csrf_handed_out: false,
            renewed: 0,
            flash: Values::default(),
            values: Values::default(),
            extensions: Extensions::default(),
        }
    }

    /// Returns the time at which the session began.
    pub fn created(&self) -> SystemTime {
        time(self.created)
    }

    /// Returns the time at which the session was last written or its deadline was last moved.
    pub fn seen(&self) -> SystemTime {
        time(self.seen)
    }

    /// Returns the time at which the session ends unless it is used before. From then on it is absent, swept or not.
    pub fn deadline(&self) -> SystemTime {
        time(self.deadline)
    }

    /// Returns the time at which the session ends even if it is in use.
    pub fn absolute_deadline(&self) -> SystemTime {
        time(self.absolute)
    }

    /// Returns the session's own idle timeout; `None` if the layer's applies.
    pub fn idle_timeout(&self) -> Option<Duration> {
        (self.idle > 0).then(|| Duration::from_micros(self.idle))
    }

    /// Returns the time at which the owner signed in; `None` without an owner.
    pub fn signed_in(&self) -> Option<SystemTime> {
        (self.signed_in > 0).then(|| time(self.signed_in))
    }

    /// Returns the version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the moment of the sign-in in the order of the store; 0 if the store has not given one yet.
    pub fn sign_in(&self) -> u64 {
        self.sign_in
    }

    /// Returns the record of a sign-in that begins now and has no moment yet, as the layer makes it. Tests of stores need
    /// it.
    #[must_use]
    pub fn signing_in(&self) -> Self {
        Self { began: Began::at(Beginning::now()), sign_in: 0, ..self.clone() }
    }

    /// Returns the record with the moment that the store gives to its sign-in.
    #[must_use]
    pub fn with_sign_in(&self, moment: u64) -> Self {
        Self { sign_in: moment, began: Began::default(), ..self.clone() }
    }

    /// Returns the handle, the public name of a signed-in session; all zeros if the session has none.
    pub fn handle(&self) -> SessionHandle {
        self.handle
    }

    /// Returns the handle if somebody is signed in.
    pub(crate) fn owned_handle(&self) -> Option<SessionHandle> {
        self.owner.as_ref().map(|_| self.handle)
    }

    /// Returns the name of the owner; `None` if nobody has signed in.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Returns the size of all keys and values in bytes, flash values included.
    pub fn size(&self) -> usize {
        self.values.bytes() + self.flash.bytes()
    }

    /// Returns an upper bound of the length of [`encode`](Self::encode)'s bytes plus the owner's name, which a store
    /// keeps beside them.
    ///
    /// The bound does not grow when the layer replaces the token or moves the deadline.
    pub fn encoded_len(&self) -> usize {
        let (entries, size) = (self.flash.len() + self.values.len(), self.size());
        // Two lengths take eight bytes unless both are huge.
        let lengths = if size < 1 << 28 { 8 } else { 10 };
        let owner = self.owner.as_ref().map_or(0, |owner| owner.len());
        owner + encoding::FIXED_LEN + lengths * entries + size + self.extensions.len()
    }

    /// Returns whether the session ends at or before `now`.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.deadline <= micros(now)
    }

    /// Moves the deadline as [`SessionStore::touch`](crate::SessionStore::touch) demands: to a later time or not at
    /// all.
    pub fn touch(&mut self, deadline: SystemTime, now: SystemTime) {
        self.deadline = self.deadline.max(micros(deadline));
        self.seen = self.seen.max(micros(now));
    }

    /// Returns the head, which a store keeps beside the encoded bytes.
    pub fn head(&self) -> RecordHead {
        RecordHead {
            version: Some(self.version),
            deadline: self.deadline(),
            seen: self.seen(),
            owner: self.owner.clone(),
            handle: self.handle,
            sign_in: self.sign_in,
        }
    }

    /// Returns whether `stored` is this record, as it was created: the times that a touch moves and the moment that the
    /// store gave may differ.
    ///
    /// So a store knows a record again that [`create`](crate::SessionStore::create) is sent once more.
    pub fn is_same(&self, stored: &Self) -> bool {
        let Self { seen, deadline, sign_in, .. } = *stored;
        self.version == stored.version && *stored == Self { seen, deadline, sign_in, ..self.clone() }
    }

    /// Returns whether the session has nothing to keep: no value, flash value or owner, and no CSRF secret that the
    /// program has taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.flash.is_empty() && self.owner.is_none() && !self.csrf_handed_out
    }

    /// Returns the key with the largest value.
    pub(crate) fn largest_key(&self) -> Option<String> {
        let entries = self.values.iter().chain(self.flash.iter());
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
            .field("keys", &self.values.len())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
