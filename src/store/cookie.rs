//! The session sealed in the client's cookie: nothing is kept on the server.

mod bound;
mod builder;
mod plain;
mod revocations;
mod seal;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::bound::BoundCookie;
pub use self::builder::CookieStoreBuilder;
use super::expired::ExpiredSessions;
use super::object;
use super::{Change, Created, Deleted, Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::cookie::SessionCookie;
use crate::error::StoreError;
use crate::key::CookieKey;
use crate::record::{Record, SessionHandle, TombstoneKind, Version};
use crate::token::{SessionToken, StoreKey, TokenScope, TokenShape};

/// A client-side store: each session is in its own cookie, sealed so that the client can neither read nor change it.
///
/// # What it promises
///
/// The whole session is encrypted and authenticated with XChaCha20-Poly1305 (RFC 8439, with the 192-bit nonce of
/// draft-irtf-cfrg-xchacha: random nonces stay safe at any request rate). The cookie's name and the
/// [audience](CookieStoreBuilder::audience) are bound in, so that no other cookie passes for this one. Deadlines are
/// inside the seal and are checked against the server's clock, whatever the client does with `Max-Age`. A cookie that
/// cannot be opened, for whichever reason, is absent; nothing is ever read or written unsealed. The sealed length is a
/// multiple of 32 bytes before its encoding, and values are not compressed, so that it tells little.
///
/// # What it cannot promise
///
/// The client holds the state, and a copy of it stays good until its deadline:
///
/// - **The last cookie to arrive wins.** Of two concurrent requests that change different values, one is lost; a request
///   that began before a logout may bring the session back with its answer.
/// - **A copied cookie survives logout and renewal.** Both only replace the client's cookie. Choose timeouts that bear
///   this, a list of [revocations](CookieStoreBuilder::revocations), which ends this, or a server-side store where it
///   matters, as for payment or administration.
/// - **A cookie that moved leaves the earlier one behind.** If a deploy changes the cookie's domain or path, browsers send
///   both. The session that was sealed last counts, but a sign-out removes the present cookie only, and the earlier one
///   then counts again. Name it in [`formerly`](crate::SessionLayerBuilder::formerly).
/// - **Nobody can list or revoke an owner's sessions**: [`owned`](SessionStore::owned) and
///   [`revoke`](SessionStore::revoke) are [unsupported](StoreError::unsupported). Removing a key ends all sessions
///   that it sealed.
/// - **An old copy can be put back.** Things that must be counted or used up belong in a database.
///
/// Without a list of revocations no method waits, so dropping one of their futures leaves nothing half done; with a list,
/// a session has ended or it has not.
///
/// A clock that steps back revives no session that this store has found expired. The store and its clones remember at
/// least the last 4,096 of them; other processes do not, nor does this one after a restart. No other session is taken
/// for expired: a session that begins after the step lives, however far ahead the clock was.
///
/// # Size
///
/// A cookie with name and attributes has at most 4,096 bytes, which leaves 2,900 for the record under the default name,
/// some 2,800 of them for keys and values. They travel with every request, so keep ids here and the things themselves
/// elsewhere. A session that does not fit is an error and never cut off. [`max_chunks`](CookieStoreBuilder::max_chunks)
/// spreads larger sessions over up to three cookies; mind that many servers accept 8 kB of headers altogether.
///
/// # Keys and their rotation
///
/// The first key seals, and each key opens the cookies that name it. To rotate:
///
/// 1. Put the new key *behind* the old one on every server: `[old, new]`. Every server can then open cookies of a key that
///    none uses yet.
/// 2. Put the new key in front: `[new, old]`. A session that the old key sealed is sealed again when it is next accessed.
/// 3. Remove the old key, at the latest after the absolute timeout. The cookies that it sealed are absent from then on.
///
/// After a leak begin with step 3, `[new]`, which ends all sessions.
///
/// # Examples
///
/// ```
/// use tower_session_layer::{CookieKey, CookieStore, ConfigError};
///
/// fn store(new: &[u8], old: &[u8]) -> Result<CookieStore, ConfigError> {
///     CookieStore::builder([CookieKey::new(new)?, CookieKey::new(old)?]).audience("shop, production").build()
/// }
/// # let secret: Vec<u8> = (1..=64).collect();
/// # store(&secret[..32], &secret[32..])?;
/// assert_eq!(store(&[0; 32], &[0; 32]).unwrap_err(), ConfigError::ZeroKey);
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct CookieStore {
    keys: Arc<[CookieKey]>,
    audience: Arc<str>,
    max_chunks: u8,
    revocations: Option<Arc<dyn object::DynStore>>,
    /// The sessions that this store or a clone found expired.
    expired: Arc<ExpiredSessions<SessionHandle>>,
    /// Set by `bind`.
    bound: Option<Arc<BoundCookie>>,
}

impl CookieStore {
    /// Creates a store of one key and one cookie.
    pub fn new(key: CookieKey) -> Self {
        Self::builder([key]).0
    }

    /// Starts with a ring of keys: the first seals, all open.
    pub fn builder(keys: impl IntoIterator<Item = CookieKey>) -> CookieStoreBuilder {
        CookieStoreBuilder(Self {
            keys: keys.into_iter().collect(),
            audience: "".into(),
            max_chunks: 1,
            revocations: None,
            expired: Arc::default(),
            bound: None,
        })
    }

    /// Opens a session that is live and not revoked. Returns whether the first key sealed it, too.
    async fn live(&self, token: &SessionToken, now: SystemTime) -> Result<Option<(Record, bool)>, StoreError> {
        let opened = self.open(token, now);
        if let (Some((record, _)), Some(list)) = (&opened, &self.revocations)
            && revocations::include(&**list, self.scope()?, record, now).await?
        {
            tracing::debug!(
                name: "session.token.copied",
                key = ?token.key(), "a request came with a copy of a session that has ended"
            );
            return Ok(None);
        }
        Ok(opened)
    }

    /// Ends a session in all copies of its cookie if there is a list of revocations. Returns `false` if it had ended
    /// already.
    async fn end(&self, session: &Record, now: SystemTime) -> Result<bool, StoreError> {
        match &self.revocations {
            Some(list) => revocations::add(&**list, self.scope()?, session, now).await,
            None => Ok(true),
        }
    }

    /// Opens a session that has not expired. Returns whether the first key sealed it, too.
    fn open(&self, token: &SessionToken, now: SystemTime) -> Option<(Record, bool)> {
        let (record, is_current) = self.bound.as_ref()?.open(token)?;
        if record.is_expired(now) {
            self.expired.note(record.handle, record.deadline);
            return None;
        }
        (!self.expired.includes(record.handle, record.deadline)).then_some((record, is_current))
    }

    fn bound(&self) -> Result<&BoundCookie, StoreError> {
        const NOT_BOUND: &str =
            "the cookie store does not know its cookie: call `bind`, as a `SessionLayer` does when it is built";
        self.bound.as_deref().ok_or_else(|| StoreError::new(NOT_BOUND))
    }

    fn seal(&self, record: &Record) -> Result<SessionToken, StoreError> {
        self.bound()?.seal(record)
    }

    fn scope(&self) -> Result<TokenScope, StoreError> {
        Ok(self.bound()?.scope)
    }
}

impl SessionStore for CookieStore {
    /// Returns the shape of a text that fits into the cookie that the store is [bound](Self::bind) to; before that, no text
    /// fits.
    fn token_shape(&self) -> TokenShape {
        TokenShape::sealed(self.bound.as_ref().map_or(0, |bound| bound.max_text_len), self.max_chunks)
    }

    /// Returns whether no method waits: if there is a list of revocations, whether the list is immediate.
    fn is_immediate(&self) -> bool {
        self.revocations.as_ref().is_none_or(|list| list.is_immediate())
    }

    /// Returns the length of the longest record that is sure to fit: zero before [`bind`](Self::bind).
    fn max_record_len(&self) -> Option<usize> {
        Some(self.bound.as_ref().map_or(0, |bound| bound.max_record_len))
    }

    fn sweep_interval(&self) -> Option<Duration> {
        self.revocations.as_ref().and_then(|list| list.sweep_interval())
    }

    /// Binds the store to the cookie's name and to the room that its attributes leave.
    ///
    /// Before that it seals and opens nothing. A clone made before stays unbound.
    fn bind(&mut self, cookie: &SessionCookie) {
        self.bound = Some(Arc::new(BoundCookie::new(&self.keys, cookie, &self.audience, self.max_chunks)));
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        Ok(match self.live(token, now).await? {
            Some((record, true)) => Loaded::Live(record.into()),
            Some((record, false)) => Loaded::Outdated(record.into()),
            None => Loaded::Absent,
        })
    }

    /// Seals the record: always [`Created::Instead`]; `fresh` is not used.
    ///
    /// # Errors
    ///
    /// The record is [too large](StoreError::is_too_large), the store is not bound, or there is no randomness.
    async fn create(&self, _: &SessionToken, record: &Arc<Record>, _: SystemTime) -> Result<Created, StoreError> {
        self.seal(record).map(Created::Instead)
    }

    /// Seals the new state if the token is live at `from`. The token itself stays good unless a renewal or a tombstone ends
    /// it in the list of revocations.
    ///
    /// # Errors
    ///
    /// The errors of [`create`](Self::create), or the list of revocations failed. It may have noted the end all the same.
    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let found = match change {
            // To end a session in the list of revocations tells whether it had ended before.
            Change::Retire(tombstone) if tombstone.kind() != TombstoneKind::Emptied => self.open(token, now),
            _ => self.live(token, now).await?,
        };
        let Some((stored, _)) = found else { return Ok(Updated::Gone) };
        let (updated, ends) = match change {
            Change::Replace(next, _) if stored.version == next.version => (Updated::Instead(token.clone()), false),
            _ if stored.version != from => (Updated::Conflict, false),
            Change::Replace(next, deadline) => {
                let sealed = self.seal(&deadline.apply(stored.deadline(), next.clone()))?;
                // Only a renewal replaces the CSRF secret.
                (Updated::Instead(sealed), next.csrf != stored.csrf)
            }
            // A session that was left empty does not end: the values that another request has written stay.
            Change::Retire(tombstone) => (Updated::Done, tombstone.kind() != TombstoneKind::Emptied),
        };
        Ok(if ends && !self.end(&stored, now).await? { Updated::Gone } else { updated })
    }

    /// Seals the same values with the first key and the deadline that [`Record::touch`] gives.
    ///
    /// # Errors
    ///
    /// There is no randomness, or the list of revocations failed.
    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        let Some((mut record, _)) = self.live(token, now).await? else { return Ok(Updated::Gone) };
        if record.version != version {
            return Ok(Updated::Conflict);
        }
        record.touch(deadline, now);
        self.seal(&record).map(Updated::Instead)
    }

    /// Refuses: no key leads to a session that a client holds. [`update`](Self::update) to a tombstone ends a session in the
    /// list of revocations. Without a list the removal of the client's cookie is all that ends it, and a copy survives.
    ///
    /// # Errors
    ///
    /// Always [`StoreError::unsupported`].
    async fn delete(&self, _: &StoreKey, _: Duration, _: SystemTime) -> Result<Deleted, StoreError> {
        Err(StoreError::unsupported())
    }

    /// Refuses: the clients hold the sessions.
    ///
    /// # Errors
    ///
    /// Always [`StoreError::unsupported`].
    async fn owned(&self, _: &str, _: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        Err(StoreError::unsupported())
    }

    /// Refuses: the clients hold the sessions.
    ///
    /// # Errors
    ///
    /// Always [`StoreError::unsupported`].
    async fn revoke(&self, _: &str, _: &Revocation, _: SystemTime) -> Result<usize, StoreError> {
        Err(StoreError::unsupported())
    }

    /// Sweeps the list of revocations, the only thing that the server keeps.
    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        match &self.revocations {
            Some(list) => list.sweep(limit, now).await,
            None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::time;
    use crate::record::{Entry, Extensions, SessionHandle, Values};

    /// Returns a record with a text of `len` bytes.
    pub(super) fn record(len: usize) -> Record {
        Record {
            created: 1_000_000,
            seen: 2_000_000,
            deadline: 100_000_000,
            absolute: 200_000_000,
            idle: 0,
            signed_in: 0,
            sign_in: 0,
            began: crate::record::Began::default(),
            renewed: 0,
            version: Version::new(7).unwrap(),
            handle: SessionHandle::from_bytes([8; 16]),
            owner: None,
            csrf: [0; 24],
            csrf_handed_out: false,
            flash: Values::default(),
            values: Values::from_sorted(vec![Entry::new("text", &format!("\"{}\"", "x".repeat(len)))]),
            extensions: Extensions::default(),
        }
    }

    #[test]
    fn authentic_contents_of_another_build_are_absence() {
        let mut store = CookieStore::new(CookieKey::new(&[7; 32]).unwrap());
        store.bind(&SessionCookie::builder().build().unwrap());
        let open = |plaintext: &[u8]| {
            let text = store.bound.as_ref().unwrap().ring[0].seal([9; seal::NONCE_LEN], plaintext).unwrap();
            store.open(&SessionToken::from_sealed(text).unwrap(), time(0)).map(|(record, _)| record)
        };
        let whole = plain::write(&record(5)).unwrap();
        assert_eq!(open(&whole), Some(record(5)));
        assert_eq!(open(&[&whole[..44], &[3], &whole[45..]].concat()), None, "a newer record format");
        for strange in [vec![], vec![0; 96], vec![0xff; 96]] {
            assert_eq!(open(&strange), None);
        }
        let mut deep = record(0);
        let nested = format!("{}{}", "[".repeat(1_400), "]".repeat(1_400));
        deep.values = Values::from_sorted(vec![Entry::new("deep", &nested)]);
        assert_eq!(open(&plain::write(&deep).unwrap()), Some(deep), "read without recursion");
    }
}
