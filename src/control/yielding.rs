//! Another process takes over what is decided here, and gives it back if it does not come to that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::failover::{Event, Machine, Phase, Settings};
use crate::topology::NodeSpec;

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
    pub(super) specs: Vec<NodeSpec>,
    pub(super) settings: Settings,
    /// Where what was decided is kept.
    pub(super) state_dir: Option<PathBuf>,
    /// Why it is not.
    pub(super) unwritten: Unwritten,
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

    /// Nothing is yielded in the middle of a change of primary, and nothing before it is known who leads if that comes to be known.
    pub(super) fn try_to_yield(&mut self) {
        let Some(Yielding { done, by }) = self.yielding.take() else { return };
        let (phase, is_late) = (self.machine.phase(), Instant::now() >= by);
        if !is_acting(phase) && (phase != Phase::Discover || is_late) {
            // Waits for what is being written, and gives the lock of `state_dir` back. What is seen from now on is not recorded.
            self.coordinator = Box::new(Forgetful);
            self.feed(Event::Yielded(true));
            self.status_due = true;
            let _ = done.send(Ok(()));
        } else if !is_late {
            self.yielding = Some(Yielding { done, by });
        } else {
            let _ = done.send(Err("a change of primary is under way".to_owned()));
        }
    }

    /// Goes on from what is recorded: whoever it was yielded to may have decided something.
    fn regain(&mut self) -> Result<(), String> {
        let Brain { specs, settings, state_dir, unwritten } = &self.brain;
        let (coordinator, record) =
            local(state_dir.as_deref(), unwritten.clone()).map_err(|error| error.to_string())?;
        self.coordinator = coordinator;
        if let Some(record) = record {
            self.machine = Machine::new(specs, settings.clone(), Some(record), Instant::now());
            // Both belong to decisions of the one before.
            (self.steps, self.answers) = (JoinSet::new(), BTreeMap::new());
        }
        self.feed(Event::Yielded(false));
        self.status_due = true;
        Ok(())
    }
}
