//! One switch that starts the end: SIGTERM and `POST /api/drain` both throw it.

use std::sync::Arc;

use tokio::sync::watch;

/// Begins the drain of the process, once, from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain {
    begun: Arc<watch::Sender<bool>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { begun: Arc::new(watch::Sender::new(false)) }
    }
}

impl Drain {
    /// Begins it; true for the call that did, false when it had begun before.
    pub fn begin(&self) -> bool {
        self.begun.send_if_modified(|begun| !std::mem::replace(begun, true))
    }

    /// Whether it has begun.
    #[must_use]
    pub fn begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Waits until it has begun.
    pub async fn wait(&self) {
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = self.begun.subscribe().wait_for(|begun| *begun).await;
    }
}
