//! The loop beside the driver: takes what nodes accepted, tells the others, shows who has it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::topology::NodeId;

use super::super::link::Dial;
use super::change::Change;
use super::courier::{self, ERRANDS_MAX, End, Ended, Errand};
use super::handle::{Accepted, Doors};
use super::keeper::Keeper;
use super::report::ParityReport;

/// Whom the task talks with.
#[derive(Debug)]
pub(in crate::control) struct Ends {
    pub(in crate::control) doors: Doors,
    pub(in crate::control) report: watch::Sender<Arc<ParityReport>>,
}

struct Task {
    dials: Vec<Dial>,
    couriers: Vec<mpsc::Sender<Errand>>,
    keeper: Keeper,
    ends: Ends,
}

/// Runs until nobody can send a change any more.
pub(in crate::control) async fn run(dials: Vec<Dial>, ends: Ends) {
    let (sink, mut ended) = mpsc::channel(ERRANDS_MAX);
    let mut couriers = Vec::new();
    for dial in &dials {
        let (errands, waiting) = mpsc::channel(ERRANDS_MAX);
        tokio::spawn(courier::run(dial.clone(), waiting, sink.clone()));
        couriers.push(errands);
    }
    let mut task = Task { keeper: Keeper::new(dials.len()), dials, couriers, ends };
    loop {
        tokio::select! {
            accepted = task.ends.doors.changes.recv() => match accepted {
                Some(accepted) => task.accepted(accepted),
                None => return,
            },
            Some(ended) = ended.recv() => task.ended(ended),
        }
        if task.ends.doors.missed.swap(false, Ordering::Relaxed) {
            task.keeper.missed(None, "a change, since too many came at once");
        }
        task.show();
    }
}

impl Task {
    fn accepted(&mut self, accepted: Accepted) {
        let Accepted { by, request, done } = accepted;
        if request.is_empty() {
            return self.keeper.missed(Some(by), "a change of more than 64 KiB");
        }
        let Some(change) = Change::of(&request).map(Arc::new) else { return };
        info!(change = change.told, by = self.name(by), "on its way to every node");
        let done = Arc::new(done);
        for node in self.keeper.accepted(by) {
            self.send(node, change.clone(), &done);
        }
    }

    fn send(&mut self, node: NodeId, change: Arc<Change>, done: &Arc<oneshot::Sender<()>>) {
        let errand = Errand { change: change.clone(), _done: done.clone() };
        if self.couriers[node.index()].try_send(errand).is_err() {
            self.ended(Ended { node, change, end: End::Missed });
        }
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { node, change, end } = ended;
        let before = self.keeper.report().of(node).faults;
        self.keeper.ended(node, &change, &end);
        let faults = self.keeper.report().of(node).faults;
        for fault in faults.iter().filter(|fault| !before.contains(fault)) {
            warn!(node = self.name(node), "out of parity: {fault}");
        }
    }

    fn name(&self, node: NodeId) -> String {
        self.dials.get(node.index()).map(|dial| dial.address.to_string()).unwrap_or_default()
    }

    fn show(&self) {
        let report = self.keeper.report();
        self.ends.report.send_if_modified(|shown| {
            let changed = **shown != report;
            if changed {
                *shown = Arc::new(report);
            }
            changed
        });
    }
}
