//! A control thread of the test's own, and what it published.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redhold::control::{self, Handle, Running, Settings, Status};
use redhold::routing::RoutingTable;
use redhold::topology::{Address, Answer, Marks, NodeId, NodeSpec, Order};

use super::support::{Group, LONG, Server, eventually_some};

pub(crate) struct Brain {
    pub(crate) handle: Handle,
    pub(crate) marks: Arc<Marks>,
    running: Running,
}

/// Settings for these nodes, in order; nothing is kept on disk.
pub(crate) fn settings(group: &Group) -> Settings {
    settings_of(group.nodes().iter().map(Server::port))
}

pub(crate) fn settings_of(ports: impl Iterator<Item = u16>) -> Settings {
    let node = |port| NodeSpec {
        address: Address { host: "127.0.0.1".into(), port },
        peer_address: None,
        zone: String::new(),
        priority: 100,
    };
    Settings { nodes: ports.map(node).collect(), ..Settings::default() }
}

impl Brain {
    #[track_caller]
    pub(crate) fn start(settings: Settings) -> Self {
        let marks = Arc::new(Marks::new(Instant::now()));
        let (handle, running) =
            control::start(settings, None, None, marks.clone()).expect("the control thread starts");
        Self { handle, marks, running }
    }

    /// One that has already published a writable primary.
    #[track_caller]
    pub(crate) fn serving(settings: Settings) -> (Self, Arc<RoutingTable>) {
        let brain = Self::start(settings);
        let table = brain.table_that("a primary is published", |table| table.writable().is_some());
        (brain, table)
    }

    pub(crate) fn stop(self) {
        self.running.stop();
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        self.handle.status.load()
    }

    #[track_caller]
    pub(crate) fn table_that(
        &self,
        what: &str,
        condition: impl Fn(&RoutingTable) -> bool,
    ) -> Arc<RoutingTable> {
        self.reach(what, || Some(self.handle.routes.load()).filter(|table| condition(table)))
    }

    #[track_caller]
    pub(crate) fn status_that(&self, what: &str, condition: impl Fn(&Status) -> bool) -> Arc<Status> {
        self.reach(what, || Some(self.status()).filter(|status| condition(status)))
    }

    /// Waits for the first table of an epoch beyond `epoch` with a writable primary; also when it was seen.
    #[track_caller]
    pub(crate) fn next_primary(&self, epoch: u64) -> (Arc<RoutingTable>, Instant) {
        let start = Instant::now();
        while start.elapsed() < LONG {
            let table = self.handle.routes.load();
            if table.epoch > epoch && table.writable().is_some() {
                return (table, Instant::now());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        panic!("no new primary within {LONG:?}:\n{}", self.story());
    }

    pub(crate) fn order(&self, order: Order) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(self.handle.orders.place(order))
    }

    #[track_caller]
    fn reach<T>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        eventually_some(LONG * 2, what, || {
            let found = probe();
            assert!(found.is_some() || start.elapsed() < LONG, "{what}: not so:\n{}", self.story());
            found
        })
    }

    /// Everything that status tells, for a failing test.
    pub(crate) fn story(&self) -> String {
        let status = self.status();
        let mut text = format!("{:?} {:?}\n", status.machine.phase, status.machine.held);
        for episode in &status.machine.episodes {
            for note in &episode.notes {
                text.push_str(&format!("{:?} {} {}\n", note.since, note.phase, note.text));
            }
        }
        text + &format!("{:#?}\n{:?}", status.machine.nodes, status.nodes)
    }
}

pub(crate) fn index(id: Option<NodeId>) -> usize {
    id.expect("a primary").slot()
}

/// A folder removed when dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("redhold-control-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary folder is writable");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
