//! Calls that are polled step by step, or run on several tasks at once.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// Polls a call up to `times` times and drops it. Returns its output if it was ready by then.
pub(super) async fn polled<F: Future>(times: usize, call: F) -> Option<F::Output> {
    let mut call = pin!(call);
    let mut left = times;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Suspends `slow` after `polls` polls, lets `quick` overtake it, and finishes both.
///
/// Returns both outputs, and whether `slow` needed no more than `polls` polls.
pub(super) async fn overtake<A, B>(
    polls: usize,
    slow: impl Future<Output = A>,
    quick: impl Future<Output = B>,
) -> (A, B, bool) {
    const PATIENCE: usize = 16;
    let (mut slow, mut quick) = (pin!(slow), pin!(quick));
    if let Some(first) = polled(polls, slow.as_mut()).await {
        return (first, quick.await, true);
    }
    loop {
        for _ in 0..PATIENCE {
            if let Some(second) = polled(1, quick.as_mut()).await {
                return (slow.await, second, false);
            }
            tokio::task::yield_now().await;
        }
        // `slow` may hold a lock that `quick` waits for, so it gets a poll now and then.
        if let Some(first) = polled(1, slow.as_mut()).await {
            return (first, quick.await, false);
        }
    }
}

/// Runs each call on a task of its own, all begun at one moment, and returns their outputs in order.
pub(super) async fn together<T: Send + 'static>(
    calls: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let calls: Vec<_> = calls.into_iter().collect();
    let start = Arc::new(tokio::sync::Barrier::new(calls.len()));
    let begun = calls.into_iter().map(|call| {
        let start = Arc::clone(&start);
        tokio::spawn(async move {
            start.wait().await;
            call.await
        })
    });
    let tasks: Vec<_> = begun.collect();
    let mut outputs = Vec::with_capacity(tasks.len());
    for task in tasks {
        outputs.push(task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    outputs
}
