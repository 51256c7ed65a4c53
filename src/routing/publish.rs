//! One [`Publisher`], many [`Routes`]: the only file that names `arc-swap`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::RoutingTable;

/// The one right to replace the table. Not cloneable.
#[derive(Debug)]
pub struct Publisher {
    table: Arc<ArcSwap<RoutingTable>>,
    changed: watch::Sender<u64>,
}

/// A reader's view of the current table.
#[derive(Clone, Debug)]
pub struct Routes {
    table: Arc<ArcSwap<RoutingTable>>,
    changed: watch::Receiver<u64>,
}

/// Makes the pair around a first table.
#[must_use]
pub fn publisher(first: RoutingTable) -> (Publisher, Routes) {
    let table = Arc::new(ArcSwap::from_pointee(first));
    let (sender, receiver) = watch::channel(0);
    (Publisher { table: table.clone(), changed: sender }, Routes { table, changed: receiver })
}

/// A reader's own copy of the current table.
#[derive(Debug)]
pub struct Cached(arc_swap::Cache<Arc<ArcSwap<RoutingTable>>, Arc<RoutingTable>>);

impl Cached {
    /// The table as of now; one atomic load when it did not change.
    pub fn load(&mut self) -> &Arc<RoutingTable> {
        self.0.load()
    }
}

impl Publisher {
    /// Replaces the table in one atomic step and wakes those who wait for a change.
    pub fn publish(&self, table: RoutingTable) {
        self.table.store(Arc::new(table));
        self.changed.send_modify(|version| *version += 1);
    }
}

impl Routes {
    /// The table as of now.
    #[must_use]
    pub fn load(&self) -> Arc<RoutingTable> {
        self.table.load_full()
    }

    /// A cache for a hot path: revalidated with one atomic load.
    #[must_use]
    pub fn cached(&self) -> Cached {
        Cached(arc_swap::Cache::new(self.table.clone()))
    }

    /// Waits until a table newer than the last one seen by this reader was published; false when the publisher
    /// is gone.
    pub async fn changed(&mut self) -> bool {
        self.changed.changed().await.is_ok()
    }
}
