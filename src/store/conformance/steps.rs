//! Calls run poll by poll, or on several tasks at once.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

/// Polls a call so many times and drops it; its output if it was ready by then.
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

/// Suspends `slow` after so many polls, lets `quick` overtake it, and finishes both. The last part says whether
/// `slow` needed no more polls than that.
pub(super) async fn overtake<A, B>(
    polls: usize,
    slow: impl Future<Output = A>,
    quick: impl Future<Output = B>,
) -> (A, B, bool) {
    // `slow` may hold a lock that `quick` waits for, so it gets a poll now and then.
    const PATIENCE: usize = 16;
    let (mut slow, mut quick) = (pin!(slow), pin!(quick));
    let (mut first, mut second) = (None, None);
    let (mut ahead, mut patience) = (polls, PATIENCE);
    let mut was_ahead = false;
    std::future::poll_fn(|cx| {
        if ahead > 0 && first.is_none() {
            ahead -= 1;
            step(slow.as_mut(), &mut first, cx);
            was_ahead = first.is_some();
            if first.is_none() && ahead > 0 {
                return Poll::Pending;
            }
        }
        step(quick.as_mut(), &mut second, cx);
        if second.is_some() || patience == 0 {
            step(slow.as_mut(), &mut first, cx);
            patience = PATIENCE;
        } else if first.is_none() {
            patience -= 1;
            cx.waker().wake_by_ref();
        }
        if first.is_some() && second.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let (first, second) = (first.expect("polled to its end"), second.expect("polled to its end"));
    (first, second, was_ahead)
}

fn step<F: Future>(call: Pin<&mut F>, output: &mut Option<F::Output>, cx: &mut std::task::Context<'_>) {
    if output.is_none()
        && let Poll::Ready(ready) = call.poll(cx)
    {
        *output = Some(ready);
    }
}

/// Runs calls on as many tasks, all begun at one moment.
pub(super) async fn together<T: Send + 'static>(
    calls: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let calls: Vec<_> = calls.into_iter().collect();
    let start = Arc::new(tokio::sync::Barrier::new(calls.len()));
    let tasks: Vec<_> = calls
        .into_iter()
        .map(|call| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                call.await
            })
        })
        .collect();
    let mut outputs = Vec::with_capacity(tasks.len());
    for task in tasks {
        match task.await {
            Ok(output) => outputs.push(output),
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => panic!("a task of the suite was cancelled: {cancelled}"),
            },
        }
    }
    outputs
}
