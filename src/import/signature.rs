//! The signed cookies of Remix and Express.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hkdf::hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::imported::Imported;
use crate::error::ConfigError;

const TAG_LEN: usize = 32;

/// A verifier of cookies that Node's `cookie-signature` has signed, for the [import](crate::ImportLayer) of their
/// sessions.
///
/// The format is the text, a dot, and the HMAC-SHA256 of the text in base64 without padding. A cookie that none of the
/// secrets has signed is refused; the comparison takes constant time. A signed cookie contains neither its time nor its
/// name, so it is valid as long as its secret is accepted.
///
/// # Examples
///
/// ```
/// use tower_session_layer::{ConfigError, CookieSignature};
///
/// let signature = CookieSignature::new(["new secret", "old ✓"])?;
/// let cookie = "s%3AZm9vYmFy-_0123456789abcdefghijkl.nleG%2Fd6JnRw8tcYTn4DNAIDTf0finBM%2F2pSUCvhBNeA";
/// assert_eq!(signature.express_session_id(cookie).as_deref(), Some("Zm9vYmFy-_0123456789abcdefghijkl"));
/// assert_eq!(signature.express_session_id(&cookie.replace("Zm9v", "Zm9w")), None);
///
/// let signature = CookieSignature::new(["new", "old"])?;
/// let session = signature.remix_session("eyJhIjoxfQ%3D%3D.ARclEl5cseSiN0RDAd7ldl%2BVPOKuJuuBHyLP30V%2BLbY").unwrap();
/// assert_eq!(session.get::<u32>("a").unwrap(), Some(1));
/// assert!(signature.remix_session("eyJhIjoxfQ%3D%3D").is_none(), "not signed");
/// assert_eq!(signature.verify("forged.ARclEl5cseSiN0RDAd7ldl+VPOKuJuuBHyLP30V+LbY"), None);
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone)]
pub struct CookieSignature {
    /// One HMAC for each secret, with the key already processed.
    keyed: Vec<Hmac<Sha256>>,
}

impl CookieSignature {
    /// Creates a verifier that accepts the signatures of these secrets.
    ///
    /// The secrets come from the old application, so they may be shorter than a key of this crate.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::NoKey`]: there is no secret.
    /// - [`ConfigError::ShortKey`]: a secret is empty, with which anybody can sign.
    pub fn new(secrets: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<Self, ConfigError> {
        let keyed = secrets.into_iter().map(|secret| match secret.as_ref() {
            [] => Err(ConfigError::ShortKey(0)),
            secret => Ok(keyed(secret)),
        });
        let keyed = keyed.collect::<Result<Vec<_>, _>>()?;
        if keyed.is_empty() { Err(ConfigError::NoKey) } else { Ok(Self { keyed }) }
    }

    /// Returns the signed text of a cookie's value; `None` if the value is unsigned or forged.
    ///
    /// The value may be percent-encoded, as it is in the header.
    pub fn verify(&self, cookie: &str) -> Option<String> {
        let mut signed = percent_decoded(cookie)?;
        let dot = signed.rfind('.')?;
        self.is_signed(&signed[..dot], &signed[dot + 1..]).then(|| {
            signed.truncate(dot);
            signed
        })
    }

    /// Returns the session's id out of a cookie of `express-session`: `s:`, the id, and its signature.
    ///
    /// The id is the key of the session in the old store. The row there is a JSON object for [`Imported::from_json`],
    /// whose member `cookie` is Express's own.
    pub fn express_session_id(&self, cookie: &str) -> Option<String> {
        let decoded = percent_decoded(cookie)?;
        let (id, tag) = decoded.strip_prefix("s:")?.rsplit_once('.')?;
        (!id.is_empty() && self.is_signed(id, tag)).then(|| id.to_owned())
    }

    /// Returns the session out of a cookie of Remix's or React Router's `createCookieSessionStorage`, which Hydrogen
    /// uses too: base64 of a JSON object, and its signature.
    ///
    /// The values that `session.flash` has set become flash values.
    pub fn remix_session(&self, cookie: &str) -> Option<Imported> {
        let json = STANDARD.decode(self.verify(cookie)?).ok()?;
        let imported = Imported::from_json(str::from_utf8(&json).ok()?)?;
        Some(imported.split_flash(|key| key.strip_prefix("__flash_")?.strip_suffix("__")))
    }

    fn is_signed(&self, text: &str, tag: &str) -> bool {
        let mut bytes = [0; TAG_LEN];
        if STANDARD_NO_PAD.decode_slice(tag, &mut bytes) != Ok(TAG_LEN) {
            return false;
        }
        self.keyed.iter().any(|keyed| keyed.clone().chain_update(text).verify_slice(&bytes).is_ok())
    }
}

impl fmt::Debug for CookieSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSignature(…)")
    }
}

fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes keys of any length")
}

/// Decodes a text that JavaScript's `encodeURIComponent` has encoded; `None` for a text that it never writes.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
