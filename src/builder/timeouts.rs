//! The options that say when a session or a token ends.

use std::time::{Duration, SystemTime};

use super::{DAY, HOUR, SessionLayerBuilder};
use crate::key::CookieKey;
use crate::store::SessionStore;

impl<S: SessionStore> SessionLayerBuilder<S> {
    /// Sets the time without use after which a session ends; 7 days by default, or the absolute timeout if that is
    /// shorter.
    ///
    /// An access to the session moves its deadline only if that gains at least a tenth of this time, so that most
    /// requests write nothing. The cookie's `Max-Age` follows the [absolute timeout](Self::absolute_timeout), so the
    /// deadline moves without a cookie. A client-side store alone sends its cookie again, with the deadline inside.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    /// Sets the time after which a session ends even if it is in use; 30 days by default. Nothing extends it, not even
    /// a renewal. The cookie's `Max-Age` is what is left of it, in whole seconds and at least one. With a client-side store
    /// `Max-Age` is what is left to the session's deadline.
    pub fn absolute_timeout(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// Ends every session that began before this time, as is needed after a breach; off by default.
    ///
    /// These sessions are absent as if they had expired. A server-side store keeps their records until their deadlines.
    /// Use [`Owners::revoke_all`](crate::Owners::revoke_all) to end the sessions of one person.
    pub fn not_before(mut self, time: SystemTime) -> Self {
        self.not_before = time;
        self
    }

    /// Replaces the token of a live session when the token reaches this age; off by default. The OWASP Session Management
    /// Cheat Sheet advises it ("renewal timeout").
    ///
    /// A copied token that was put aside is then dead. A thief who keeps using the copy stays in, since each request with
    /// the old token gets the new one for a while. If owner and thief send requests more than 60 seconds apart, the later
    /// one has a dead token, and the [event hook](Self::on_event) reports it.
    /// [`Owners::revoke_all`](crate::Owners::revoke_all) ends the session for both.
    ///
    /// The first request that accesses the session after that time gets the new token with its response. For 60 seconds
    /// the old token *leads on* to the session: requests with it still get the session. This serves requests that were
    /// sent at the same time, and clients whose response got lost. Each response to the old token has the new cookie.
    /// After these 60 seconds the old token is dead, as it is at once after [`Session::renew`](crate::Session::renew).
    /// A renewal or a sign-in ends the old token at once.
    ///
    /// Values, owner, CSRF token and both timeouts stay. If the store fails to replace a token, a warning is logged and
    /// the next request tries again. Each replacement costs two writes, and each request with the old token costs one
    /// read and one write more.
    ///
    /// While an old token leads on, the store keeps the new one, sealed under the first of `keys` and the old token. So
    /// neither a copy of the store and old tokens, nor the keys and the store, give access. Every key opens what it
    /// sealed: to rotate, put the new key in front and remove the old one two minutes later. All servers need the same
    /// keys, and the keys of a [`CookieStore`](crate::CookieStore) may serve here too.
    ///
    /// [`build`](Self::build) refuses an empty list of keys, an age of less than 60 seconds or of more than the absolute timeout, and a
    /// client-side store.
    pub fn renew_after(mut self, age: Duration, keys: impl IntoIterator<Item = CookieKey>) -> Self {
        self.renewal = Some(age);
        self.renewal_keys = keys.into_iter().collect();
        self
    }

    /// Sets the timeouts of NIST SP 800-63B-4 for authenticator assurance level 1: 30 days, idle 30 days.
    pub fn nist_aal1(self) -> Self {
        self.idle_timeout(30 * DAY).absolute_timeout(30 * DAY)
    }

    /// Sets the timeouts of NIST SP 800-63B-4 for authenticator assurance level 2: 24 hours, idle 1 hour.
    pub fn nist_aal2(self) -> Self {
        self.idle_timeout(HOUR).absolute_timeout(DAY)
    }

    /// Sets the timeouts of NIST SP 800-63B-4 for authenticator assurance level 3: 12 hours, idle 15 minutes.
    pub fn nist_aal3(self) -> Self {
        self.idle_timeout(HOUR / 4).absolute_timeout(12 * HOUR)
    }
}
