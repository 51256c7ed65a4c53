//! The loop beside the driver: takes what nodes accepted, tells the others, compares them, shows who has what.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::topology::{NodeId, find};

use super::super::link::{Dial, within};
use super::super::status::StatusReader;
use super::change::{Change, Scripting};
use super::courier::{self, ERRANDS_MAX, End, Ended, Errand, Load};
use super::handle::{Accepted, Doors, Sighting};
use super::introductions::Introductions;
use super::keeper::{Keeper, Round};
use super::report::ParityReport;
use super::scripts::digest_of;
use super::shelves::Shelves;
use super::snapshot::{self, Snapshot};

/// Longest wait for what a node has; one that does not tell is not compared.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whom the task talks with.
#[derive(Debug)]
pub(in crate::control) struct Ends {
    pub(in crate::control) doors: Doors,
    pub(in crate::control) report: watch::Sender<Arc<ParityReport>>,
    /// What is known of the group.
    pub(in crate::control) status: StatusReader,
    /// Who wants the nodes to be compared now, and is told when they were.
    pub(in crate::control) demands: mpsc::Receiver<oneshot::Sender<()>>,
    /// Nodes that are about to lead.
    pub(in crate::control) warms: mpsc::Receiver<Warm>,
    /// Reads go to replicas.
    pub(in crate::control) spreads_reads: bool,
    /// `limits.script_cache`, in bytes.
    pub(in crate::control) script_cache: u64,
    /// What gives the nodes the proxy's own users.
    pub(in crate::control) introductions: Vec<Vec<Vec<u8>>>,
}

/// A node is about to lead: it is to have every script.
#[derive(Debug)]
pub(in crate::control) struct Warm {
    pub(in crate::control) node: NodeId,
    /// Dropped when it has them, or they can not be brought.
    pub(in crate::control) done: oneshot::Sender<()>,
}

/// A node, and who runs errands to it.
struct Served {
    dial: Dial,
    courier: mpsc::Sender<Errand>,
}

/// A comparison under way.
struct Reading {
    round: Round,
    found: BTreeMap<NodeId, Snapshot>,
    under_way: JoinSet<Option<(NodeId, Snapshot)>>,
    wanted_by: Vec<oneshot::Sender<()>>,
}

struct Task {
    nodes: BTreeMap<NodeId, Served>,
    keeper: Keeper,
    shelves: Shelves,
    introductions: Introductions,
    ends: Ends,
    reading: Option<Reading>,
    /// Who wants the next one.
    wanted_by: Vec<oneshot::Sender<()>>,
}

/// Runs until the driver ends. `dials` are the nodes, whenever they change.
pub(in crate::control) async fn run(mut dials: watch::Receiver<Arc<[Dial]>>, ends: Ends) {
    let (sink, mut ended) = mpsc::channel(ERRANDS_MAX);
    let mut task = Task {
        nodes: BTreeMap::new(),
        keeper: Keeper::new(ends.spreads_reads, Instant::now()),
        shelves: Shelves::new(ends.script_cache),
        introductions: Introductions::new(&ends.introductions),
        ends,
        reading: None,
        wanted_by: Vec::new(),
    };
    task.declare(&dials.borrow_and_update().clone(), &sink);
    loop {
        tokio::select! {
            accepted = task.ends.doors.changes.recv() => match accepted {
                Some(accepted) => task.accepted(accepted),
                None => return,
            },
            Some(ended) = ended.recv() => task.ended(ended),
            declared = dials.changed() => match declared {
                Ok(()) => task.declare(&dials.borrow_and_update().clone(), &sink),
                Err(_) => return,
            },
            alive = task.ends.status.changed() => match alive {
                true => task.look(),
                false => return,
            },
            Some(demand) = task.ends.demands.recv() => {
                task.wanted_by.push(demand);
                task.keeper.hasten(Instant::now());
            }
            Some(warm) = task.ends.warms.recv() => task.warm(warm),
            Some(sighting) = task.ends.doors.sightings.recv() => task.sighted(sighting),
            read = next_read(task.reading.as_mut()) => task.read(read),
            () = tokio::time::sleep_until(task.keeper.due().into()), if task.reading.is_none() => task.begin(),
        }
        if task.ends.doors.missed.swap(false, Ordering::Relaxed) {
            task.keeper.missed(None, "a change, since too many came at once", Instant::now());
        }
        task.show();
    }
}

/// What the next node has told, if it did; `None` when all have.
async fn next_read(reading: Option<&mut Reading>) -> Option<Option<(NodeId, Snapshot)>> {
    match reading {
        Some(reading) => reading.under_way.join_next().await.map(|told| told.ok().flatten()),
        None => std::future::pending().await,
    }
}

impl Task {
    /// These are the nodes from now on. A courier whose node has gone ends with what it was given.
    fn declare(&mut self, dials: &[Dial], sink: &mpsc::Sender<Ended>) {
        let mut before = std::mem::take(&mut self.nodes);
        for dial in dials {
            let stays = before.remove(&dial.node).filter(|served| served.dial.address == dial.address);
            let served = stays.unwrap_or_else(|| {
                self.introductions.forget(dial.node);
                let (courier, errands) = mpsc::channel(ERRANDS_MAX);
                tokio::spawn(courier::run(dial.clone(), errands, sink.clone()));
                Served { dial: dial.clone(), courier }
            });
            self.nodes.insert(dial.node, served);
        }
        self.keeper.declare(dials.iter().map(|dial| (dial.node, dial.address.to_string())));
        // What was begun with others compares with who may no longer be there.
        self.wanted_by.extend(self.reading.take().into_iter().flat_map(|reading| reading.wanted_by));
        self.keeper.hasten(Instant::now());
    }

    fn accepted(&mut self, accepted: Accepted) {
        let (Accepted { by, request, done }, now) = (accepted, Instant::now());
        if request.is_empty() {
            return self.keeper.missed(Some(by), "a change of more than 64 KiB", now);
        }
        let Some(change) = Change::of(&request).map(Arc::new) else { return };
        // Many applications load their scripts with each connection.
        match change.scripting {
            None => info!(change = change.told, by = self.name(by), "on its way to every node"),
            Some(_) => debug!(change = change.told, by = self.name(by), "on its way to every node"),
        }
        match change.scripting {
            Some(Scripting::Loads) => self.shelves.loaded(by, &change.words[2]),
            Some(Scripting::Flushes) => {
                // What was said before it may not have been taken yet, and would be remembered after it.
                while let Ok(sighting) = self.ends.doors.sightings.try_recv() {
                    self.sighted(sighting);
                }
                self.shelves.flush();
                self.ends.doors.flushes.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
        let done = Arc::new(done);
        for node in self.keeper.accepted(by, &change, now) {
            self.send(node, Load::Change(change.clone()), Some(&done));
        }
    }

    fn send(&mut self, node: NodeId, load: Load, done: Option<&Arc<oneshot::Sender<()>>>) {
        let errand = Errand { load: load.clone(), _done: done.cloned() };
        let sent = self.nodes.get(&node).is_some_and(|served| served.courier.try_send(errand).is_ok());
        if !sent {
            self.ended(Ended { node, load, end: End::Missed });
        }
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { node, load, end } = ended;
        match load {
            Load::Change(change) => {
                if end == End::Missed && self.introductions.missed(node, &change) {
                    self.keeper.look_again(Instant::now());
                }
                if change.scripting == Some(Scripting::Loads) && end == End::Done {
                    self.shelves.brought(node, digest_of(&change.words[2]));
                }
                self.keeper.ended(node, &change, &end);
            }
            Load::Scripts(scripts) => {
                if end != End::Done {
                    self.shelves.lost(node, &scripts);
                }
                self.keeper.scripts_ended(node, &end);
            }
        }
    }

    fn sighted(&mut self, sighting: Sighting) {
        let wanted = match sighting {
            Sighting::Seen(body) => self.shelves.seen(&body),
            Sighting::Missing(node, digest) => self.shelves.missed(node, digest),
        };
        if wanted {
            self.bring_scripts();
        }
    }

    /// Every node that can be reached gets what it lacks.
    fn bring_scripts(&mut self) {
        let status = self.ends.status.load();
        for node in status.nodes.iter().filter(|node| node.error.is_none() && node.facts.is_some()) {
            for scripts in self.shelves.due(node.id) {
                self.send(node.id, Load::Scripts(scripts), None);
            }
        }
    }

    fn warm(&mut self, warm: Warm) {
        let done = Arc::new(warm.done);
        for scripts in self.shelves.due_to_lead(warm.node) {
            self.send(warm.node, Load::Scripts(scripts), Some(&done));
        }
    }

    fn look(&mut self) {
        let status = self.ends.status.load();
        let seen = status.nodes.iter().map(|node| {
            let up = node.error.is_none() && node.facts.is_some();
            (node.id, up, node.facts.as_ref().map(|facts| facts.run_id.as_str()))
        });
        self.keeper.look(status.machine.primary, seen, Instant::now());
        // The process that has taken over may have been given other users.
        let ours = !status.machine.yielded;
        for node in status.nodes.iter().filter(|node| ours && node.error.is_none()) {
            let Some(facts) = &node.facts else { continue };
            for change in self.introductions.due(node.id, &facts.run_id) {
                self.send(node.id, Load::Change(change), None);
            }
        }
        let mut restarted = false;
        for node in &status.nodes {
            if let Some(facts) = &node.facts {
                restarted |= self.shelves.look(node.id, &facts.run_id);
            }
        }
        if restarted {
            self.bring_scripts();
        }
    }

    fn begin(&mut self) {
        let wanted_by = std::mem::take(&mut self.wanted_by);
        let Some(round) = self.keeper.begin(Instant::now()) else { return };
        let status = self.ends.status.load();
        // Who has changed there what is the proxy's own has changed it for so long.
        for node in round.asked.iter().filter(|_| !status.machine.yielded) {
            for change in self.introductions.all() {
                self.send(*node, Load::Change(change), None);
            }
        }
        self.bring_scripts();
        let mut under_way = JoinSet::new();
        for id in &round.asked {
            let (Some(served), Some(node)) = (self.nodes.get(id), find(&status.nodes, *id)) else { continue };
            let version = node.facts.as_ref().map(|facts| facts.version.clone()).unwrap_or_default();
            let (id, dial, settings) = (*id, served.dial.clone(), round.settings.clone());
            under_way.spawn(async move {
                let deadline = within(PATIENCE);
                let mut link = dial.open(deadline).await.ok()?;
                let more = settings.iter().map(String::as_str);
                Some((id, snapshot::read(&mut link, &version, more, deadline).await.ok()?))
            });
        }
        self.reading = Some(Reading { round, found: BTreeMap::new(), under_way, wanted_by });
    }

    fn read(&mut self, read: Option<Option<(NodeId, Snapshot)>>) {
        if let Some(told) = read {
            if let Some(reading) = &mut self.reading {
                reading.found.extend(told);
            }
            return;
        }
        // Dropped at the end: whoever wanted to know is told by it.
        let Some(reading) = self.reading.take() else { return };
        let status = self.ends.status.load();
        let except: Vec<String> = status.settings_changed.iter().map(|it| it.name.clone()).collect();
        for (node, change) in self.keeper.compared(&reading.round, &reading.found, &except, Instant::now()) {
            info!(change = change.told, node = self.name(node), "brought to a node that lacks it");
            self.send(node, Load::Change(Arc::new(change)), None);
        }
        self.show();
        drop(reading.wanted_by);
    }

    fn name(&self, node: NodeId) -> String {
        self.nodes.get(&node).map(|served| served.dial.address.to_string()).unwrap_or_default()
    }

    /// Shows what changed, and says it once.
    fn show(&self) {
        let report = self.keeper.report();
        let before = self.ends.report.borrow().clone();
        if *before == report {
            return;
        }
        for (id, now) in &report.nodes {
            let (node, then) = (self.name(*id), before.of(*id));
            now.faults.iter().filter(|it| !then.faults.contains(it)).for_each(|fault| {
                warn!(%node, "out of parity: {fault}");
            });
            if then.in_parity == Some(false) && now.in_parity == Some(true) {
                info!(%node, "in parity again");
            }
        }
        report.advice.iter().filter(|it| !before.advice.contains(it)).for_each(|text| warn!("{text}"));
        self.ends.report.send_replace(Arc::new(report));
    }
}
