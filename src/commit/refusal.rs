//! A sign-in that a revocation refuses.

use std::time::Duration;

use crate::layer::Shared;
use crate::store::RevocationMark;

/// Reports a refusal and takes the mark's time over: whoever tries again does so after that revocation, whatever this
/// clock says. Without that, nobody whose sessions were revoked by a clock that ran ahead could sign in before this one
/// has caught up.
pub(super) fn heed(shared: &Shared, mark: &RevocationMark, now: u64) {
    shared.learn(mark.before());
    match mark.before().saturating_sub(now) {
        0 => came_too_late(),
        ahead => tracing::warn!(
            name: "session.sign_in.refused",
            ahead = ?Duration::from_micros(ahead),
            "a sign-in was refused by a revocation that is ahead of this clock, which has stepped back or is behind \
             another server's"
        ),
    }
}

/// Reports a refusal that shows in a record which was ended before anybody else knew it.
pub(super) fn came_too_late() {
    tracing::info!(
        name: "session.sign_in.revoked",
        "a sign-in came too late: its owner's sessions were revoked meanwhile"
    );
}
