//! Asks a node what it remembers of requests that took long: only it knows for how long it worked on them. Off the way of any
//! request, and once a second at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::backend::{Busy, Pinned, Surroundings, Target};
use crate::resp::Value;
use crate::topology::{NodeId, counted_as};

use super::proxy_right::call;
use super::shared::{Shared, lock};
use super::slow_log::{ASKED_EVERY, Remembered};
use super::worker::Worker;

/// A node that has not answered by then is taken to remember nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is asked for: more than these entries a node hardly writes in a second.
const WORDS: [&[u8]; 3] = [b"SLOWLOG", b"GET", b"128"];

/// Asks `node` after `pause`, and notes what it tells. The node writes an entry before its reply leaves, so that it is there by
/// then.
pub(super) fn ask(worker: &Worker, node: NodeId, mut pause: Duration) {
    let table = worker.current();
    let Some(route) = table.node(node) else { return };
    let target = Target {
        node,
        address: route.address.clone(),
        run_id: None,
        epoch: table.epoch,
        identity: worker.control.identity(),
    };
    let (shared, around) = (worker.shared.clone(), worker.pools.around().clone());
    tokio::task::spawn_local(async move {
        let mut asking = Asking { shared, node, over: false };
        while !asking.over {
            sleep(pause).await;
            let before = lock(&asking.shared.slow_log).next_id();
            let remembered = timeout(PATIENCE, remembered(target.clone(), around.clone())).await;
            let told = remembered.unwrap_or(Some(Vec::new()));
            asking.over = !lock(&asking.shared.slow_log).told(node, before, told.as_deref(), Instant::now());
            pause = ASKED_EVERY;
        }
    });
}

/// That the node is being asked. If that ends in the middle, others may ask.
struct Asking {
    shared: Arc<Shared>,
    node: NodeId,
    over: bool,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.over {
            lock(&self.shared.slow_log).told(self.node, u64::MAX, Some(&[]), Instant::now());
        }
    }
}

/// `None`: it refuses to tell. Nothing, if it cannot be asked now.
async fn remembered(target: Target, around: Surroundings) -> Option<Vec<Remembered>> {
    let (node, marks) = (target.node, around.marks.clone());
    let Ok(mut connection) = Pinned::open(target, around, Busy::Waits).await else { return Some(Vec::new()) };
    let Ok(reply) = call(&mut connection, &WORDS).await else { return Some(Vec::new()) };
    let error = reply.as_error();
    marks.of(node).own_calls().note(&counted_as(&WORDS), error.map(str::as_bytes));
    if error.is_some_and(|error| error.starts_with("BUSY ")) {
        // A script runs there again by now.
        return Some(Vec::new());
    }
    Some(reply.as_array()?.iter().filter_map(entry).collect())
}

/// id, time, microseconds, arguments, the client's address, its name.
fn entry(value: &Value) -> Option<Remembered> {
    let [_, unix, micros, arguments, addr, ..] = value.as_array()? else { return None };
    let number = |value: &Value| u64::try_from(value.as_int()?).ok();
    let arguments = arguments.as_array()?.iter().map(|word| word.as_bytes().map(<[u8]>::to_vec));
    Some(Remembered {
        unix: number(unix)?,
        micros: number(micros)?,
        arguments: arguments.collect::<Option<_>>()?,
        addr: addr.as_str()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::slow_log::SlowLog;
    use crate::resp::decode;
    use crate::routing::OwnWrites;
    use crate::topology::Marks;

    #[test]
    fn who_ends_while_he_asks_lets_others_ask() {
        let now = Instant::now();
        let marks = Arc::new(Marks::new(now));
        let log = SlowLog::new(Duration::ZERO, 1);
        let shared = Arc::new(Shared::new(marks, OwnWrites::Off, log, Arc::default()));
        let node = NodeId(0);
        let asks = || lock(&shared.slow_log).asks(node, Instant::now());
        assert!(asks().is_some() && asks().is_none());
        drop(Asking { shared: shared.clone(), node, over: false });
        assert!(asks().is_some());
        drop(Asking { shared: shared.clone(), node, over: true });
        assert!(asks().is_none(), "whoever has been answered has noted that himself");
    }

    #[test]
    fn an_entry_of_another_shape_is_none() {
        let told = |reply: &str| entry(&decode(reply.as_bytes()).expect("RESP").expect("all of it").0);
        let right = "*6\r\n:1\r\n:7\r\n:8\r\n*1\r\n$3\r\nGET\r\n$3\r\na:1\r\n$0\r\n\r\n";
        let arguments = vec![b"GET".to_vec()];
        let expect = Remembered { unix: 7, micros: 8, arguments, addr: "a:1".to_owned() };
        assert_eq!(told(right), Some(expect));
        for (before, after) in [
            (":7", ":-7"),
            (":8", "$1\r\nx"),
            ("*1\r\n$3\r\nGET", "+GET"),
            ("$3\r\nGET", ":3"),
            ("$3\r\na:1", "$-1"),
            ("*6", "*4"),
        ] {
            assert_eq!(told(&right.replace(before, after)), None, "{after}");
        }
    }
}
