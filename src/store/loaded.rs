//! The answer to a load, out of the bytes that a store keeps.

use std::time::SystemTime;

use super::Loaded;
use crate::record::{DecodeError, Record, RecordHead, Tombstone};

impl Loaded {
    /// Reads the bytes that [`Record::encode`] or [`Tombstone::encode`] wrote. A record or tombstone that ends at or
    /// before `now` is absent.
    ///
    /// # Errors
    ///
    /// The bytes are neither a record nor a tombstone. A store reports that with a warning and answers
    /// [`Loaded::Absent`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tower_session_layer::store::{Loaded, RecordHead};
    ///
    /// let now = SystemTime::now();
    /// let head = RecordHead::new(None, now + Duration::from_secs(60), now, None); // without a version: a tombstone
    /// assert!(Loaded::decode(head.clone(), b"damaged", now).is_err());
    /// assert_eq!(Loaded::decode(head, b"damaged", now + Duration::from_secs(60)).ok(), Some(Loaded::Absent));
    /// ```
    pub fn decode(head: RecordHead, body: &[u8], now: SystemTime) -> Result<Self, DecodeError> {
        if head.deadline <= now {
            return Ok(Self::Absent);
        }
        match head.version {
            Some(_) => Record::decode(head, body).map(|record| Self::Live(record.into())),
            None => Tombstone::decode(head.deadline, body).map(Self::Tombstone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::time;

    #[test]
    fn what_ended_is_absent_at_its_deadline() {
        let record = Record { deadline: 3, ..Record::blank() };
        let (head, body) = (record.head(), record.encode());
        assert!(matches!(Loaded::decode(head.clone(), &body, time(2)), Ok(Loaded::Live(_))));
        assert!(matches!(Loaded::decode(head, &body, time(3)), Ok(Loaded::Absent)));
    }
}
