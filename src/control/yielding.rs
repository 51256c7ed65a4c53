//! Another process takes over what is decided here, and gives it back if it does not come to that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{info, warn};

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

/// Pause before the second attempt to take back what was yielded; it doubles with each.
const AGAIN_FIRST: Duration = Duration::from_millis(100);

/// Longest pause between two.
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// What was yielded could not be taken back: when it is tried again, and how long was waited for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Regaining {
    at: Instant,
    pause: Duration,
}

impl Regaining {
    /// The first attempt has failed.
    fn first(now: Instant) -> Self {
        Self { at: now + AGAIN_FIRST, pause: AGAIN_FIRST }
    }

    /// One more has.
    fn next(self, now: Instant) -> Self {
        let pause = (self.pause * 2).min(AGAIN_MAX);
        Self { at: now + pause, pause }
    }

    fn is_due(&self, now: Instant) -> bool {
        now >= self.at
    }
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

/// Whether it may be yielded now; false: it is waited for. `changes`: a node is being changed; `unwritten`: why the record is not
/// what was decided; `is_late`: it is waited for no longer.
///
/// # Errors
/// One sentence: why it is not yielded.
fn may_yield(phase: Phase, changes: bool, unwritten: Option<String>, is_late: bool) -> Result<bool, String> {
    let is_quiet = !is_acting(phase) && !changes && unwritten.is_none();
    match (is_quiet, is_late) {
        (true, true) => Ok(true),
        (true, false) => Ok(phase != Phase::Discover),
        (false, false) => Ok(false),
        (false, true) => {
            Err(unwritten.unwrap_or_else(|| "a change of primary, or of a node, is under way".to_owned()))
        }
    }
}

impl Driver {
    pub(super) fn heed(&mut self, will: Will) {
        match will {
            Will::Yield(done) => self.yielding = Some(Yielding { done, by: Instant::now() + STOP_PATIENCE }),
            Will::Regain(done) => {
                let regained = self.regain();
                self.regaining = regained.is_err().then(|| Regaining::first(Instant::now()));
                let _ = done.send(regained);
            }
        }
    }

    /// Nothing is yielded while a node or the record is being changed, and nothing before it is known who leads, if that comes to be
    /// known.
    pub(super) fn try_to_yield(&mut self) {
        let Some(Yielding { done, by }) = self.yielding.take() else { return };
        let (phase, is_late) = (self.machine.phase(), Instant::now() >= by);
        match may_yield(phase, !self.changing.is_empty(), self.brain.unwritten.reason(), is_late) {
            Ok(true) => {
                // Gives the lock of `state_dir` back. What is seen from now on is not recorded.
                self.coordinator = Box::new(Forgetful);
                self.regaining = None;
                self.feed(Event::Yielded(true));
                self.status_due = true;
                let _ = done.send(Ok(()));
            }
            Ok(false) => self.yielding = Some(Yielding { done, by }),
            Err(why) => {
                let _ = done.send(Err(why));
            }
        }
    }

    /// Until then nobody decides.
    pub(super) fn try_to_regain(&mut self) {
        let Some(regaining) = self.regaining.take_if(|regaining| regaining.is_due(Instant::now())) else {
            return;
        };
        match self.regain() {
            Ok(()) => info!("what was yielded is taken back"),
            Err(error) => {
                warn!(%error, "what was yielded can not be taken back yet");
                self.regaining = Some(regaining.next(Instant::now()));
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_yielded_in_the_middle_of_a_change() {
        let steady = |changes, unwritten: Option<&str>, is_late| {
            may_yield(Phase::Steady, changes, unwritten.map(str::to_owned), is_late)
        };
        assert_eq!((steady(false, None, false), steady(false, None, true)), (Ok(true), Ok(true)));
        let under_way = Err("a change of primary, or of a node, is under way".to_owned());
        assert_eq!((steady(true, None, false), steady(true, None, true)), (Ok(false), under_way.clone()));
        let full = "the disk is full";
        assert_eq!(steady(false, Some(full), false), Ok(false));
        assert_eq!(steady(false, Some(full), true), Err(full.to_owned()));
        let promotes = |is_late| may_yield(Phase::Promote, false, None, is_late);
        assert_eq!((promotes(false), promotes(true)), (Ok(false), under_way));
        // Who leads may come to be known; if it does not, the next one has to find out.
        let discovers = |is_late| may_yield(Phase::Discover, false, None, is_late);
        assert_eq!((discovers(false), discovers(true)), (Ok(false), Ok(true)));
    }

    #[test]
    fn pauses_between_attempts_double_up_to_the_longest() {
        let now = Instant::now();
        let mut again = Regaining::first(now);
        assert!(
            !again.is_due(now + AGAIN_FIRST - Duration::from_millis(1)) && again.is_due(now + AGAIN_FIRST)
        );
        let mut pauses = Vec::new();
        for _ in 0..9 {
            again = again.next(now);
            assert!(again.is_due(now + again.pause) && !again.is_due(now + again.pause / 2));
            pauses.push(again.pause.as_millis());
        }
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
    }
}
