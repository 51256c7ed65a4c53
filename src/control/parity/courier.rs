//! Brings one node what it is to have, in order, on a connection that is kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::resp::Value;
use crate::topology::NodeId;

use super::super::link::{Dial, Fault, Link, within};
use super::change::Change;
use super::scripts::Script;

/// Errands that wait for one node. Beyond them the node has missed the next one.
pub(super) const ERRANDS_MAX: usize = 256;

/// A node that needs longer than this for one errand has missed it, and all that wait behind it.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection that nobody used for so long is closed: the node need not count it.
const IDLE: Duration = Duration::from_secs(10);

/// What a node is to have.
#[derive(Clone, Debug)]
pub(super) enum Load {
    /// What a client changed.
    Change(Arc<Change>),
    /// Scripts, said in one go.
    Scripts(Vec<Script>),
}

/// Something to be said to one node.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) load: Load,
    /// Held until it has ended: whoever waits notices that all of them have.
    pub(super) _done: Option<Arc<oneshot::Sender<()>>>,
}

/// How an errand ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The node has it.
    Done,
    /// The node refused it; its words.
    Refused(String),
    /// Whether the node has it is not known.
    Missed,
}

/// An errand that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) node: NodeId,
    pub(super) load: Load,
    pub(super) end: End,
}

/// Runs errands until nobody sends any.
pub(super) async fn run(dial: Dial, mut errands: mpsc::Receiver<Errand>, ends: mpsc::Sender<Ended>) {
    let mut kept: Option<Link> = None;
    loop {
        let errand = match tokio::time::timeout(IDLE, errands.recv()).await {
            Ok(Some(errand)) => errand,
            Ok(None) => return,
            Err(_) => {
                kept = None;
                continue;
            }
        };
        let mut missed = vec![];
        let end = match say(&dial, &mut kept, &errand.load).await {
            Ok(replies) => end_of(&errand.load, &replies),
            Err(_) => {
                kept = None;
                // Said later they would come out of their order.
                missed.extend(std::iter::from_fn(|| errands.try_recv().ok()));
                End::Missed
            }
        };
        let ended = |errand: Errand, end| Ended { node: dial.node, load: errand.load, end };
        let all = std::iter::once((errand, end)).chain(missed.into_iter().map(|it| (it, End::Missed)));
        for (errand, end) in all {
            if ends.send(ended(errand, end)).await.is_err() {
                return;
            }
        }
    }
}

/// A script that does not compile is no more use on any other node: only whether they may be loaded at all counts.
fn end_of(load: &Load, replies: &[Value]) -> End {
    let refuses = |text: &&str| matches!(load, Load::Change(_)) || text.starts_with("NOPERM");
    match replies.iter().filter_map(Value::as_error).find(refuses) {
        Some(text) => End::Refused(text.to_owned()),
        None => End::Done,
    }
}

/// What is said can be said twice: a kept connection that was closed meanwhile is replaced once.
async fn say(dial: &Dial, kept: &mut Option<Link>, load: &Load) -> Result<Vec<Value>, Fault> {
    let requests: Vec<Vec<&[u8]>> = match load {
        Load::Change(change) => vec![change.words.iter().map(Vec::as_slice).collect()],
        Load::Scripts(scripts) => {
            scripts.iter().map(|(_, body)| vec![&b"SCRIPT"[..], b"LOAD", body]).collect()
        }
    };
    let deadline = within(PATIENCE);
    if let Some(link) = kept {
        match link.say(&requests, deadline).await {
            Err(Fault::Lost(_)) => {}
            answered => return answered,
        }
    }
    let link = kept.insert(dial.open(deadline).await?);
    link.say(&requests, deadline).await
}
