//! Requests of a pipeline that follow one with the same name and as many arguments go where it went. What was found out about it
//! holds for them, so they are sent as one run of bytes.

use crate::backend::{Past, Pipeline};
use crate::command::{Effect, Lane, RowId, is_known_by_name};
use crate::resp::Request;
use crate::routing::OwnWrites;

use super::client::ClientRef;
use super::connection::Connection;
use super::dispatch::LARGE;
use super::tag::tag_of;

/// What may follow the request that was just sent without another look.
struct Run {
    pipeline: Pipeline<ClientRef>,
    row: RowId,
    requests: u32,
    bytes: usize,
}

impl Connection {
    /// Takes the requests that `bytes` begin with and that are like the one `before` them, which was just taken; returns how many
    /// bytes that were.
    pub(super) fn take_alike(&mut self, before: &Request<'_>, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let (Some(head), Some(run)) = (before.head(), self.run()) else { return 0 };
        let (limits, mut count, mut taken) = (self.limits(), 0, 0);
        while count < run.requests
            && let Some(len) = head.next(&bytes[taken..], &limits)
            && taken + len <= run.bytes
        {
            (count, taken) = (count + 1, taken + len);
        }
        if count > 0 {
            self.send_alike(&run, &bytes[..taken], count);
        }
        taken
    }

    /// What may follow. Nothing does where each request has to be looked at for itself: because of what it touches, since what its
    /// reply waits for depends on its keys, or while reads spill over. What goes to a replica follows what the client is owed from it.
    fn run(&self) -> Option<Run> {
        let row = self.sent?;
        let (worker, client) = (&self.worker, &self.client);
        let effect = row.spec().effect;
        let told_apart = effect == Effect::Write || self.reads_at.is_some();
        let looked_at = self.judged
            || worker.spares
            || self.spills
            || worker.restraint.get().is_any()
            || (told_apart && worker.reads.own_writes == OwnWrites::Key)
            || row.spec().lane != Lane::Shared
            || !is_known_by_name(row)
            || client.keeps_back()
            || client.special.borrow().is_some();
        if looked_at {
            return None;
        }
        let pipeline = client.lane.borrow().clone()?;
        let limit = usize::try_from(worker.settings.in_flight_per_client).unwrap_or(usize::MAX);
        let bytes = limit.saturating_sub(client.in_flight.get()).min(pipeline.room()).min(LARGE as usize - 1);
        if effect == Effect::Write && !worker.room.takes(bytes) {
            return None;
        }
        let requests = client.window.get().requests().saturating_sub(client.owed.get());
        Some(Run { pipeline, row, requests, bytes })
    }

    fn send_alike(&self, run: &Run, requests: &[u8], count: u32) {
        let (worker, client) = (&self.worker, &self.client);
        let node = run.pipeline.target().node;
        if worker.is_big(requests.len() as u64) {
            self.big_among(run.row, node, requests, count);
        }
        run.pipeline.send(client, tag_of(run.row, false), (requests, count), Past::default(), worker.now());
        client.owed.set(client.owed.get() + count);
        client.in_flight.set(client.in_flight.get() + requests.len());
        if worker.is_waited_for(run.row.spec().effect) {
            worker.writes_sent(node, count);
        }
        worker.count_commands(run.row, node, count);
        client.live.took(count);
    }
}
