//! The tokens that a request brings.

use crate::token::SessionToken;

/// The number of well-formed tokens that are tried.
pub(super) const MAX_CANDIDATES: usize = 4;

/// The well-formed tokens of a request, in the order in which they are tried.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidates {
    first: Option<SessionToken>,
    // Apart from the others, since most requests have one token and need no allocation for it.
    others: Vec<SessionToken>,
    /// True if a value under our name was not a token.
    pub(super) is_malformed: bool,
}

impl Candidates {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub(crate) fn is_malformed(&self) -> bool {
        self.is_malformed
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.others.len() == MAX_CANDIDATES - 1
    }

    /// Adds a token unless it is there already.
    #[inline]
    pub(super) fn push(&mut self, token: SessionToken) {
        match &self.first {
            None => self.first = Some(token),
            Some(first) if *first == token || self.others.contains(&token) => {}
            Some(_) => self.others.push(token),
        }
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&SessionToken> {
        match at.checked_sub(1) {
            None => self.first.as_ref(),
            Some(at) => self.others.get(at),
        }
    }

    /// Takes one token out. The places of the others are unspecified from then on.
    #[inline]
    pub(crate) fn take(&mut self, at: usize) -> Option<SessionToken> {
        match at.checked_sub(1) {
            None => self.first.take(),
            Some(at) => (at < self.others.len()).then(|| self.others.swap_remove(at)),
        }
    }

    pub(crate) fn into_iter(self) -> impl Iterator<Item = SessionToken> {
        self.first.into_iter().chain(self.others)
    }
}
