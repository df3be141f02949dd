//! The public name of a session.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The public name of a session among those of its owner. A handle is not the token and gives no access.
///
/// A renewal keeps the handle; a sign-in gives the session a new one. The text of a handle has 22 base64url characters.
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
    /// The handle of a session that has no handle yet.
    pub(crate) const NONE: Self = Self([0; 16]);

    /// Creates a handle of its bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses the text of a handle; `None` for any other text.
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
