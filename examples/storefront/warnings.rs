//! Warnings, kept until the shop is open. If it cannot open, the error is the only line.

use std::sync::{Mutex, PoisonError};

static WAITING: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub(crate) fn add(warning: String) {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
}

pub(crate) fn print() {
    for warning in WAITING.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        eprintln!("storefront: warning: {}", crate::one_line(&warning));
    }
}
