//! Another process takes over what is decided here, and gives it back if it does not come to that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::failover::{Action, ActionId, Event, Machine, Phase, Settings, Step};
use crate::topology::{NodeId, NodeSpec};

use super::coordinator::{Forgetful, local};
use super::driver::{Driver, STOP_PATIENCE, is_acting};
use super::record::Unwritten;

/// How what was wanted ended; an error: one sentence, and nothing changed.
type Done = oneshot::Sender<Result<(), String>>;

/// What the rest of the process wants of the thread.
#[derive(Debug)]
pub(super) enum Will {
    /// Another process is to decide: nothing is decided or recorded here any more, and `state_dir` is free.
    Yield(Done),
    /// It has not come to that: what was yielded is taken back.
    Regain(Done),
}

/// Who waits, and until when at most.
#[derive(Debug)]
pub(super) struct Yielding {
    done: Done,
    by: Instant,
}

/// What a machine is made of.
#[derive(Clone, Debug)]
pub(super) struct Brain {
    /// In the order of ids.
    pub(super) nodes: Vec<(NodeId, NodeSpec)>,
    pub(super) settings: Settings,
    /// Where what was decided is kept.
    pub(super) state_dir: Option<PathBuf>,
    /// Why it is not.
    pub(super) unwritten: Unwritten,
}

/// Its id, unless it only looks or tells.
pub(super) fn changes_something(action: &Action) -> Option<ActionId> {
    match action {
        Action::Publish(_)
        | Action::Tell(_)
        | Action::Answer { .. }
        | Action::Step { step: Step::Probe, .. } => None,
        Action::Step { id, .. }
        | Action::Capture { id, .. }
        | Action::Record { id, .. }
        | Action::Quiesce { id, .. } => Some(*id),
    }
}

impl Driver {
    pub(super) fn heed(&mut self, will: Will) {
        match will {
            Will::Yield(done) => self.yielding = Some(Yielding { done, by: Instant::now() + STOP_PATIENCE }),
            Will::Regain(done) => {
                let _ = done.send(self.regain());
            }
        }
    }

    /// Nothing is yielded while a node or the record is being changed, and nothing before it is known who leads, if that comes to be
    /// known.
    pub(super) fn try_to_yield(&mut self) {
        let Some(Yielding { done, by }) = self.yielding.take() else { return };
        let (phase, is_late) = (self.machine.phase(), Instant::now() >= by);
        let unwritten = self.brain.unwritten.reason();
        let is_quiet = !is_acting(phase) && self.changing.is_empty() && unwritten.is_none();
        if is_quiet && (phase != Phase::Discover || is_late) {
            // Gives the lock of `state_dir` back. What is seen from now on is not recorded.
            self.coordinator = Box::new(Forgetful);
            self.feed(Event::Yielded(true));
            self.status_due = true;
            let _ = done.send(Ok(()));
        } else if !is_late {
            self.yielding = Some(Yielding { done, by });
        } else {
            let why =
                unwritten.unwrap_or_else(|| "a change of primary, or of a node, is under way".to_owned());
            let _ = done.send(Err(why));
        }
    }

    /// Goes on where it was, or from what is recorded if whoever it was yielded to has decided something.
    fn regain(&mut self) -> Result<(), String> {
        let Brain { nodes, settings, state_dir, unwritten } = &self.brain;
        let (coordinator, record) =
            local(state_dir.as_deref(), unwritten.clone()).map_err(|error| error.to_string())?;
        self.coordinator = coordinator;
        let now = Instant::now();
        if let Some(record) = record.filter(|record| record.epoch > self.machine.status(now).epoch) {
            self.machine = Machine::new(nodes.clone(), settings.clone(), Some(record), now);
            // These belong to decisions of the one before.
            (self.steps, self.answers) = (JoinSet::new(), BTreeMap::new());
            self.changing.clear();
        }
        self.feed(Event::Yielded(false));
        self.status_due = true;
        Ok(())
    }
}
