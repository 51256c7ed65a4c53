//! What the machine is told.

use crate::topology::{NodeId, NodeSpec, Observation, Replication};

use super::{ActionId, Captured, Order, OrderId};

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A look at a node.
    Seen(Observation),
    /// A look's PING was answered.
    Timed {
        /// By whom.
        node: NodeId,
        /// After how long.
        took: std::time::Duration,
        /// It works on a request that takes long, or a client paused it.
        explained: bool,
    },
    /// The data path noticed something between two looks.
    Signal {
        /// Of whom.
        node: NodeId,
        /// What.
        signal: Signal,
    },
    /// An action ended.
    Outcome {
        /// Which.
        id: ActionId,
        /// How.
        outcome: Outcome,
    },
    /// A step changed settings of a node; told before its outcome.
    Changed {
        /// Of whom.
        node: NodeId,
        /// In which life, where the step came to know.
        run_id: Option<String>,
        /// Which.
        changes: Changes,
    },
    /// Somebody ordered something; answered by one [`Action::Answer`](super::Action::Answer) with this id.
    Order {
        /// Ties the answer to it.
        id: OrderId,
        /// What.
        order: Order,
    },
    /// The nodes were compared: what makes each a bad primary beside its data, in few words.
    Compared(Vec<(NodeId, Option<String>)>),
    /// These are the nodes from now on, in the order of ids; [`Machine::may_declare`](super::Machine::may_declare) has allowed it.
    Declared(Vec<(NodeId, NodeSpec)>),
    /// Another brain was heard on a node (a Sentinel, another proxy); the text names it.
    OtherBrain(String),
    /// Another process takes over, or has not come to it after all: while it has, this one follows the roles seen as it does beside
    /// another brain.
    Yielded(bool),
    /// Time passed: `next_deadline` is due, or the driver's own tick was late and discards outstanding timeouts.
    Tick {
        /// True when the driver itself was stalled for longer than 500 ms.
        late: bool,
    },
}

/// What the data path saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A connection was reset or closed by the node, or refused.
    Lost,
    /// Bytes came: the node lived then, whatever a PING says.
    Alive {
        /// When the last one did.
        at: std::time::Instant,
    },
    /// A request waits for longer than usual: something may have begun that the next look would find.
    Late,
    /// A write was refused with READONLY, MISCONF or NOREPLICAS, or a read with LOADING or MASTERDOWN; the text is Redis's.
    Refused(String),
    /// The oldest unanswered request explains a silence (`true`) or no longer does (`false`).
    LongRequest(bool),
    /// Clients ordered CLIENT PAUSE: silence until then is not death.
    Paused(std::time::Duration),
}

/// Settings that a step changed, be it ended well or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// By [`Step::Tune`](super::Step::Tune), to another value than the node had.
    pub tuned: Vec<SettingChanged>,
    /// Put back by [`Step::Restore`](super::Step::Restore), by name.
    pub restored: Vec<String>,
}

/// A setting changed on a node by `CONFIG SET`, which a restart of the node undoes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChanged {
    /// On whom.
    pub node: NodeId,
    /// Name of the setting.
    pub name: String,
    /// Value now.
    pub value: String,
    /// Value before the proxy's first change.
    pub before: String,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done; what the node said right afterwards, where the step asks for it.
    Done(Option<Box<Replication>>),
    /// [`Action::Capture`](super::Action::Capture) came to its end, whatever it reached.
    Captured(Captured),
    /// The node answered with an error: it lives, and the step did not happen. Redis's text without the `-`.
    Failed(String),
    /// Connecting was refused or the connection was reset before the step was sent: no process listens.
    Down(String),
    /// No answer within the step's deadline, or the connection was lost after the step was sent: may or may not
    /// have happened.
    Unknown,
}
