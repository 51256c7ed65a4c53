//! Where a decision is agreed on and kept before anybody acts on it.

use std::fmt::Debug;
use std::io;
use std::path::Path;

use tokio::sync::oneshot;

use crate::failover::Record;

use super::StartError;
use super::record::{Store, Unwritten, Writer};

/// How the proposal ended. An error: whether it was kept is not known, and it may be proposed again.
pub(super) type Agreement = oneshot::Receiver<io::Result<()>>;

/// Keeps epoch, intent and voters. What was agreed is found by the next life, and by nobody else overruled: of two proxies at most
/// one holds the same group.
pub(super) trait Coordinator: Debug + Send {
    /// Begins to agree on `record`, after those proposed before. Returns at once; never blocks the caller.
    fn propose(&self, record: Box<Record>) -> Agreement;
}

/// Agrees with itself and remembers nothing: for groups that end with the process, and for a process that decides nothing any more.
#[derive(Debug)]
pub(super) struct Forgetful;

impl Coordinator for Forgetful {
    fn propose(&self, _: Box<Record>) -> Agreement {
        let (done, ended) = oneshot::channel();
        let _ = done.send(Ok(()));
        ended
    }
}

/// The coordinator `local`: one process, and one file in `state_dir`; without that directory nothing is kept. Also what the last life left. `unwritten` tells at any time why the last one was not kept.
pub(super) fn local(
    dir: Option<&Path>,
    unwritten: Unwritten,
) -> Result<(Box<dyn Coordinator>, Option<Record>), StartError> {
    let Some(dir) = dir else {
        return Ok((Box::new(Forgetful), None));
    };
    let store = Store::open(dir)?;
    let record = store.load()?;
    let writer = Writer::start(store, unwritten).map_err(StartError::Thread)?;
    Ok((Box::new(writer), record))
}
