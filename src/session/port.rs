//! The messages between a session and its store: answers now or later, the session that was found, and the occasion of
//! a commit.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::state::{Live, Stored};
use crate::cookie::Candidates;
use crate::record::Record;

/// A future that can be moved while it waits.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The answer of a store, given at once or by a future. `L` is the future's output, if it differs.
pub(crate) enum Answer<T, L = T> {
    Ready(T),
    Later(Boxed<L>),
}

impl<T> Answer<T> {
    pub(crate) async fn wait(self) -> T {
        match self {
            Self::Ready(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}

/// Polls a future that should be ready at once; `None` if it waits.
#[inline]
pub(crate) fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The session found for a request, and the index of the candidate that opened it.
///
/// The token itself is moved only once, since moving it costs more than moving an index.
pub(crate) enum Opened {
    Nothing,
    Live {
        at: usize,
        record: Arc<Record>,
        outdated: bool,
    },
    Dead {
        at: usize,
    },
    /// The session that a token leads on to, after that token was replaced because of its age.
    Successor(Box<Live>),
}

impl Opened {
    #[inline]
    pub(crate) fn with(self, candidates: &mut Candidates) -> Stored {
        let stored = match self {
            Self::Nothing => None,
            Self::Live { at, record, outdated } => {
                candidates.take(at).map(|token| Stored::Live(Live { token, record, outdated }))
            }
            Self::Dead { at } => candidates.take(at).map(Stored::Dead),
            Self::Successor(live) => Some(Stored::Live(*live)),
        };
        stored.unwrap_or(Stored::New)
    }
}

/// The occasion on which a session is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The handler called `commit()`.
    Explicit,
    /// The handler called `reload()`.
    Reload,
    /// The handler answered.
    Response { is_server_error: bool, is_not_modified: bool },
    /// The inner service failed, so there is no response that could carry a cookie.
    Failed,
}

impl Occasion {
    /// Returns whether the request ends with this commit.
    pub(crate) fn is_last(self) -> bool {
        matches!(self, Self::Response { .. } | Self::Failed)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::Reload => "reload",
            Self::Response { .. } => "response",
            Self::Failed => "error",
        }
    }
}
