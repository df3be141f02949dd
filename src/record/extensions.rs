//! The extensions of a record: what a later release may add to it.

use std::sync::Arc;

use super::encoding::{DecodeError, read_len, read_number};

/// The extensions of a record, as their bytes: each id once, in order.
///
/// An extension that this build does not know is written again as it was read. A record without extensions holds no more
/// than a pointer.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Extensions(pub(super) Option<Arc<Vec<u8>>>);

impl Extensions {
    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |bytes| bytes)
    }

    /// Reads entries that take all of the bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut rest, mut before) = (bytes, None);
        while !rest.is_empty() {
            let tag = read_number(&mut rest)?;
            let (id, is_critical) = (tag >> 1, tag & 1 == 1);
            if before.is_some_and(|before| before >= id) {
                return Err(DecodeError("extensions out of order"));
            }
            let len = read_len(&mut rest)?;
            let entry = rest.split_off(..len).ok_or(DecodeError::CUT_OFF)?;
            if is_critical && !is_known(id, entry) {
                return Err(DecodeError("of a newer format"));
            }
            before = Some(id);
        }
        if before.is_some() { Ok(Self(Some(Arc::new(bytes.to_vec())))) } else { Err(DecodeError("no extension")) }
    }
}

/// Returns whether this build knows an extension that its reader has to know.
fn is_known(id: u128, entry: &[u8]) -> bool {
    #[cfg(feature = "moving")]
    return id == super::moving::ID && super::Moving::decode(entry).is_some();
    #[cfg(not(feature = "moving"))]
    let _ = (id, entry);
    #[cfg(not(feature = "moving"))]
    false
}
