//! The faults of `create`.

use std::time::SystemTime;

use super::{Fault, FaultyStore};
use crate::clock::{micros, monotonic};
use crate::conformance::fixture::values;
use crate::error::StoreError;
use crate::record::{Record, SessionHandle};
use crate::store::{Created, Loaded};
use crate::token::SessionToken;

impl FaultyStore {
    pub(super) async fn create_with_fault(
        &self,
        fresh: &SessionToken,
        record: &Record,
        now: SystemTime,
    ) -> Result<Created, StoreError> {
        let mut record = self.stored(record)?;
        let mark = || {
            let mark = self.step(|model| model.marks.get(record.owner().unwrap_or_default()).copied());
            async { mark.await.unwrap_or_default() }
        };
        // The clock of the store, and times of its own that are no moments.
        let clock = monotonic();
        let moment = match self.fault {
            Fault::MomentIsTheLayersTime => micros(now),
            Fault::MomentIsThatOfTheHost => record.signed_in,
            _ => 0,
        };
        match self.fault {
            Fault::MomentIsTheLayersTime | Fault::MomentIsThatOfTheHost if record.sign_in == 0 => {
                record.sign_in = if record.owner.is_some() { moment.max(1) } else { 0 };
            }
            Fault::RenewalIsASignIn => record.sign_in = 0,
            Fault::ResentSignInIsAnother => {
                let again = self.step(|model| match model.load(fresh, now) {
                    Loaded::Live(standing) if record.is_same(&standing) && standing.owner.is_some() => {
                        model.latest += 1;
                        Some(Created::SignedIn(model.latest))
                    }
                    _ => None,
                });
                if let Some(created) = again.await {
                    return Ok(created);
                }
            }
            Fault::CreateGoesByVersion => {
                if let Loaded::Live(standing) = self.step(|model| model.load(fresh, now)).await
                    && standing.version == record.version
                {
                    let moment = standing.sign_in;
                    return Ok(if moment > 0 { Created::SignedIn(moment) } else { Created::Stored });
                }
            }
            Fault::MarkLetsRenewalsIn | Fault::MarkLetsUnknownBeginsIn
                if (record.sign_in > 0) == (self.fault == Fault::MarkLetsRenewalsIn)
                    && record.began.get().is_none() =>
            {
                return Ok(self.step(|model| model.create_unmarked(fresh, &record, now)).await);
            }
            Fault::MarkGoesByTheLayersClock if mark().await.refuses(&record, now) => return Ok(Created::Revoked),
            Fault::MarkGoesByTheLayersClock => {
                return Ok(self.step(|model| model.create_unmarked(fresh, &record, now)).await);
            }
            Fault::ListsWhatIsThereOnly if record.owner.is_some() => {
                self.lists.lock().unwrap().insert(fresh.key());
                self.wait().await;
            }
            Fault::LosesFlash => record.flash = values([]),
            Fault::RoundsToMillis => record.deadline = record.deadline / 1_000 * 1_000,
            Fault::CreateInTwoSteps if self.step(|model| model.load(fresh, now)).await == Loaded::Absent => {
                self.put(fresh, Loaded::Live(record.into())).await;
                return Ok(Created::Stored);
            }
            Fault::CreateOverwrites => self.put(fresh, Loaded::Absent).await,
            Fault::ResentCreateIsTaken if self.step(|model| model.load(fresh, now)).await != Loaded::Absent => {
                return Ok(Created::Taken);
            }
            Fault::MarkIsReadFirst => {
                if mark().await.refuses(&record, clock) {
                    return Ok(Created::Revoked);
                }
                return Ok(self.step(|model| model.create_unmarked(fresh, &record, now)).await);
            }
            Fault::MarkSparesNobody => {
                // A stranger's handle is never spared.
                let stranger = Record { handle: SessionHandle::from_bytes([0; 16]), ..record.clone() };
                if mark().await.refuses(&stranger, clock) {
                    return Ok(Created::Revoked);
                }
            }
            _ => {}
        }
        Ok(self.step(|model| model.create(fresh, &record, now)).await)
    }
}
