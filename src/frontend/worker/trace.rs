//! Tells of requests that are traced. Which are is decided by a countdown when they are answered: whether a request was slow, or an
//! error, plays no part in it, and nothing has to be kept for those that are not. Whoever comes here has counted already.

use std::time::{Duration, Instant, SystemTime};

use crate::backend::Traced;
use crate::command::{RowId, classify};
use crate::resp::RequestScanner;
use crate::topology::NodeId;
use crate::traces::{AtNode, Code, NodePlace, Request};

use super::super::tag::row_of;
use super::Worker;
use crate::frontend::client::{Client, Special};

/// A request that is traced and was answered.
#[derive(Clone, Copy, Debug)]
pub(in crate::frontend) struct Answered {
    pub(in crate::frontend) row: RowId,
    /// Who answered; `None`: the proxy itself.
    pub(in crate::frontend) node: Option<NodeId>,
    /// When it was sent last, or its wait began if it was not sent.
    pub(in crate::frontend) since: Instant,
    /// Microseconds that it waited before that.
    pub(in crate::frontend) waited: u32,
    pub(in crate::frontend) resent: bool,
    /// When its reply was there.
    pub(in crate::frontend) now: Instant,
}

impl Worker {
    /// Follows `tracing.sample`.
    pub(in crate::frontend) fn tune_traces(&self) {
        if self.traces.is_on() {
            let ppm = self.shared.limits.load().traced_ppm;
            self.pools.around().tracer.set_per_million(ppm);
        }
    }

    /// Whether one request that was just answered is traced.
    #[inline]
    pub(in crate::frontend) fn is_traced(&self) -> bool {
        let tracer = &self.pools.around().tracer;
        let passes = tracer.passes(1);
        if passes {
            return false;
        }
        let mut traced = false;
        tracer.take(1, |_| traced = true);
        traced
    }

    /// Tells of a request of this client; `reply` as far as it is known.
    #[cold]
    pub(in crate::frontend) fn trace(&self, client: &Client, answered: &Answered, reply: &[u8]) {
        let Answered { row, node, since, waited, resent, now } = *answered;
        let (ends, user, db) = self.shared.registry.traced(client.id);
        let took = now.saturating_duration_since(since);
        let waited = Duration::from_micros(waited.into());
        // A request that nobody was asked has only waited.
        let held = if node.is_some() { waited } else { waited + took };
        let past = Instant::now().saturating_duration_since(since) + waited;
        let (table, primary) = (self.current(), self.current().primary);
        let at_node = |node| AtNode {
            place: table
                .node(node)
                .map(|route| NodePlace { host: route.address.host.clone(), port: route.address.port }),
            primary: Some(node) == primary,
            took,
        };
        self.traces.request(Request {
            command: row.spec().name,
            db,
            client: ends,
            user,
            began: SystemTime::now().checked_sub(past).unwrap_or(SystemTime::UNIX_EPOCH),
            held,
            at_node: node.map(at_node),
            error: reply.starts_with(b"-").then(|| Code::of(reply)),
            resent,
        });
    }

    /// A request of this client that went over a shared connection is traced.
    pub(in crate::frontend) fn trace_answered(&self, client: &Client, traced: &Traced<'_>) {
        let Traced { tag, node, since, waited, resent, error, now } = *traced;
        let mut row = row_of(tag);
        if let Some(Special::Session(original)) = &*client.special.borrow() {
            // The proxy's own question is none of the client's requests.
            let Some(scanner) = RequestScanner::of_kept(original) else { return };
            row = classify(&scanner.request(original)).row;
        } else if client.session_reply.borrow().is_some() {
            // Whose question was refused is not known any more.
            return;
        }
        let answered = Answered { row, node: Some(node), since, waited, resent, now };
        self.trace(client, &answered, error.unwrap_or_default());
    }

    /// The proxy itself has answered a request of this client, which it may have held until now.
    pub(in crate::frontend) fn trace_own(&self, client: &Client, reply: &[u8]) {
        if !self.is_traced() {
            return;
        }
        let now = self.now();
        let held = self.ended_hold.take().filter(|(id, turn, _)| (*id, *turn) == (client.id, now));
        let since = held.map_or(now, |(.., since)| since);
        self.trace_waited(client, client.live.looked_at(), since, reply);
    }

    /// The same of a request of which only this is known.
    pub(in crate::frontend) fn trace_waited(
        &self,
        client: &Client,
        row: RowId,
        since: Instant,
        reply: &[u8],
    ) {
        let answered = Answered { row, node: None, since, waited: 0, resent: false, now: Instant::now() };
        self.trace(client, &answered, reply);
    }
}
