//! The way from whoever saw something to the thread that tells it: bounded, and nobody waits in it.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::telemetry::{Metrics, SpanOutcome};

use super::change::Change;
use super::request::Request;

/// Requests that wait to be told, some 200 bytes each. Further ones are dropped, and counted.
pub(super) const REQUESTS_MAX: usize = 4_096;

/// … and changes of primary, which have room of their own: they are few, and come when there may be no room for requests.
pub(super) const CHANGES_MAX: usize = 32;

/// Requests that are told at once; with so many waiting the beat is not waited for.
pub(super) const BATCH: usize = 1_024;

/// Takes what is to be told. Cheap to clone, usable from any thread.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Way>>);

#[derive(Debug)]
struct Way {
    requests: mpsc::Sender<Request>,
    changes: mpsc::Sender<Change>,
    enough: Arc<Notify>,
    metrics: Arc<Metrics>,
}

/// The other end.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) changes: mpsc::Receiver<Change>,
    /// A batch is together.
    pub(super) enough: Arc<Notify>,
}

impl Traces {
    /// A way; what finds no room on it is counted here.
    pub(super) fn new(metrics: Arc<Metrics>) -> (Self, Waiting) {
        let (requests, requests_end) = mpsc::channel(REQUESTS_MAX);
        let (changes, changes_end) = mpsc::channel(CHANGES_MAX);
        let enough = Arc::new(Notify::new());
        let waiting = Waiting { requests: requests_end, changes: changes_end, enough: enough.clone() };
        (Self(Some(Arc::new(Way { requests, changes, enough, metrics }))), waiting)
    }

    /// Whether anybody is told anything.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A request that was sampled has its reply.
    pub fn request(&self, request: Request) {
        let Some(way) = &self.0 else { return };
        match way.requests.try_send(request) {
            Ok(()) if way.requests.capacity() <= REQUESTS_MAX - BATCH => way.enough.notify_one(),
            Ok(()) => {}
            Err(TrySendError::Full(lost) | TrySendError::Closed(lost)) => {
                way.metrics.spans(SpanOutcome::Dropped, lost.spans());
            }
        }
    }

    /// A change of primary is over.
    pub fn change(&self, change: Change) {
        let Some(way) = &self.0 else { return };
        if let Err(TrySendError::Full(lost) | TrySendError::Closed(lost)) = way.changes.try_send(change) {
            way.metrics.spans(SpanOutcome::Dropped, lost.spans());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::request;
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_by_its_spans() {
        let metrics = Arc::new(Metrics::new(vec![], vec![], 0, 1));
        let (traces, waiting) = Traces::new(metrics.clone());
        assert!(traces.is_on() && !Traces::default().is_on());
        (0..REQUESTS_MAX).for_each(|_| traces.request(request()));
        assert_eq!(metrics.spans_so_far(SpanOutcome::Dropped), 0);
        traces.request(request());
        traces.request(Request { at_node: None, ..request() });
        assert_eq!(metrics.spans_so_far(SpanOutcome::Dropped), 3 + 2);
        assert_eq!(waiting.requests.len(), REQUESTS_MAX);
        let change = Change {
            ordered: false,
            began: std::time::UNIX_EPOCH,
            took: std::time::Duration::ZERO,
            held: std::time::Duration::ZERO,
            before: (1, None),
            after: (1, None),
            steps: Vec::new(),
        };
        (0..=CHANGES_MAX).for_each(|_| traces.change(change.clone()));
        assert_eq!((metrics.spans_so_far(SpanOutcome::Dropped), waiting.changes.len()), (6, CHANGES_MAX));
        drop(waiting);
        traces.request(request());
        assert_eq!(metrics.spans_so_far(SpanOutcome::Dropped), 9, "nobody is there any more");
    }

    #[tokio::test]
    async fn a_batch_that_is_together_is_announced_and_a_smaller_one_is_not() {
        let (traces, waiting) = Traces::new(Arc::new(Metrics::new(vec![], vec![], 0, 1)));
        let mut announced = tokio_test_poll(&waiting.enough);
        (1..BATCH).for_each(|_| traces.request(request()));
        assert!(!announced());
        traces.request(request());
        assert!(announced());
    }

    /// Whether an announcement is there.
    fn tokio_test_poll(enough: &Notify) -> impl FnMut() -> bool {
        use std::future::Future;
        use std::task::{Context, Waker};
        move || {
            let mut notified = std::pin::pin!(enough.notified());
            notified.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        }
    }
}
