//! The thread that tells a collector: gathers a batch, posts it, tries again for a while, counts what is lost.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::telemetry::{Metrics, SpanOutcome};

use super::change::Change;
use super::encode::export;
use super::ids::Ids;
use super::post::post;
use super::queue::{BATCH, Traces, Waiting};
use super::request::Request;
use super::settings::Endpoint;
use super::verdict::{Collector, Verdict, pause};

/// What waits is told so often, and sooner when there is much of it.
const BEAT: Duration = Duration::from_secs(1);

/// What waits at the end of the process is told within so long, or lost.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// `[tracing]` but for the share, which is one of the frontend's limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `tracing.otlp`; `None`: nobody is told anything.
    pub collector: Option<Endpoint>,
}

/// The running thread, if there is one.
#[derive(Debug, Default)]
pub struct Exporter(Option<(JoinHandle<()>, watch::Sender<bool>)>);

impl Exporter {
    /// Starts telling, if there is somebody to tell.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub fn start(settings: Settings, metrics: &Arc<Metrics>) -> io::Result<(Traces, Self)> {
        let Some(collector) = settings.collector else { return Ok((Traces::default(), Self::default())) };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (traces, waiting) = Traces::new(metrics.clone());
        let (end, ends) = watch::channel(false);
        let mut ids = Ids::new(RandomState::new().hash_one(0));
        let teller = Teller {
            instance: format!("{:032x}", ids.trace()),
            collector,
            metrics: metrics.clone(),
            waiting,
            ids,
            present: None,
            state: Collector::default(),
        };
        let work = move || {
            runtime.block_on(teller.run(ends));
            // A name that is still being looked up keeps nobody waiting.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("traces".to_owned()).spawn(work)?;
        Ok((traces, Self(Some((thread, end)))))
    }

    /// Tells what waits, within a second, and ends.
    pub fn stop(self) {
        let Some((thread, end)) = self.0 else { return };
        // It is there until it is told to end.
        let _ = end.send(true);
        let _ = thread.join();
    }
}

/// Spans that are on their way.
#[derive(Debug)]
struct Batch {
    body: Bytes,
    spans: u64,
    tries: u32,
}

struct Teller {
    instance: String,
    collector: Endpoint,
    metrics: Arc<Metrics>,
    waiting: Waiting,
    ids: Ids,
    /// What is being told; it outlives the wait for an answer.
    present: Option<Batch>,
    state: Collector,
}

impl Teller {
    async fn run(mut self, mut ends: watch::Receiver<bool>) {
        tokio::select! {
            () = self.tell() => {}
            // An error: whoever could say so is gone.
            _ = ends.wait_for(|end| *end) => {}
        }
        let by = Instant::now() + LAST_WORDS;
        let told = timeout_at(by, async {
            while self.present.is_some() || self.gather() {
                if self.try_once().await.is_some() {
                    self.give_up();
                }
            }
        });
        // What is left is given up.
        let _ = told.await;
        self.give_up();
        while self.gather() {
            self.give_up();
        }
    }

    /// For ever.
    async fn tell(&mut self) {
        loop {
            tokio::select! {
                () = sleep(BEAT) => {}
                () = self.waiting.enough.notified() => {}
            }
            while self.gather() {
                while let Some(after) = self.try_once().await {
                    let tries = self.present.as_ref().map_or(u32::MAX, |batch| batch.tries);
                    match pause(tries, after, self.ids.span()) {
                        Some(pause) => sleep(pause).await,
                        None => self.give_up(),
                    }
                }
            }
        }
    }

    /// Makes a batch of what waits; false when nothing does.
    fn gather(&mut self) -> bool {
        let changes: Vec<Change> = std::iter::from_fn(|| self.waiting.changes.try_recv().ok()).collect();
        let next = || self.waiting.requests.try_recv().ok();
        let requests: Vec<Request> = std::iter::from_fn(next).take(BATCH).collect();
        let mut spans = Vec::new();
        changes.iter().for_each(|change| change.append(&mut self.ids, &mut spans));
        requests.iter().for_each(|request| request.append(&mut self.ids, &mut spans));
        if spans.is_empty() {
            return false;
        }
        let body = Bytes::from(export(&spans, &self.instance));
        self.present = Some(Batch { body, spans: spans.len() as u64, tries: 0 });
        true
    }

    /// Posts the present batch, if there is one. `Some`: it is still there, and may be posted again, not before so long if the
    /// collector said when.
    async fn try_once(&mut self) -> Option<Option<Duration>> {
        let batch = self.present.as_mut()?;
        batch.tries += 1;
        match post(&self.collector, batch.body.clone()).await {
            Verdict::Taken { rejected } => {
                let spans = self.present.take().map_or(0, |batch| batch.spans);
                let rejected = rejected.min(spans);
                self.metrics.spans(SpanOutcome::Sent, spans - rejected);
                self.metrics.spans(SpanOutcome::Failed, rejected);
                if let Some(missed) = self.state.took() {
                    tracing::info!(collector = %self.collector, missed, "traces are taken again");
                }
                None
            }
            Verdict::Later { after, why } => {
                self.say(&why);
                Some(after)
            }
            Verdict::Never { why } => {
                self.say(&why);
                self.give_up();
                None
            }
        }
    }

    fn say(&mut self, why: &str) {
        if self.state.failed() {
            tracing::warn!(collector = %self.collector, why, "traces are not taken; they are counted until they are");
        }
    }

    /// The present batch is lost.
    fn give_up(&mut self) {
        if let Some(batch) = self.present.take() {
            self.state.missed(batch.spans);
            self.metrics.spans(SpanOutcome::Failed, batch.spans);
        }
    }
}
