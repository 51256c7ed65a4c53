//! CLIENT TRACKING with REDIRECT: clients name each other by Redhold's ids, the node's connections have others.
//!
//! A redirection lasts as long as the two connections at the node do. When the tracking one is lost its client is closed, as the
//! redirection cannot be asked for again by the id that was said; when the other one is lost, that client is, as a server would.

use std::time::Duration;

use crate::command::{RowId, Rule, redirected_to};
use crate::error::Failure;

use super::client_command::{Asked, Local, NOBODY};
use super::connection::Connection;
use super::dispatch::Dispatched;
use super::lent::Counted;
use super::purpose::Purpose;
use super::registry::NoTarget;
use super::worker::wake_at;

/// How soon the other client's connection is looked for again.
const AGAIN: Duration = Duration::from_millis(2);

/// The id of a connection at its node, and that of the client it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Redirection {
    server: i64,
    pub(super) client: u64,
}

impl Connection {
    /// Whether the client that a CLIENT TRACKING names has to get a connection of its own first; looked for again soon, as long
    /// as requests are held.
    pub(super) fn awaits_target(&mut self, dispatched: &Dispatched<'_>) -> bool {
        let Some((_, client)) = target(dispatched) else { return false };
        let (now, hold) = (self.worker.now(), self.worker.settings.hold);
        let since = *self.target_since.get_or_insert(now);
        let missing = self.worker.shared.registry.redirect_to(client) == Err(NoTarget::Connection);
        if missing && now.duration_since(since) < hold {
            wake_at(&self.client, now + AGAIN);
            return true;
        }
        self.target_since = None;
        false
    }

    /// Somebody's invalidations are to be redirected to this client, which has no connection of its own.
    pub(super) fn become_target(&mut self) {
        if self.pinned.is_some() || !self.is_owed_nothing() {
            return;
        }
        let Some(target) = self.primary_target() else { return };
        let (worker, live) = (&self.worker, &self.client.live);
        let most = worker.pinned_max(target.node);
        let Some(counted) = Counted::free(&worker.shared, most, live) else { return };
        let lane = self.lane_to(target, Purpose::Standing, None, counted);
        self.note_own(&lane);
        self.pinned = Some(lane);
    }

    /// A CLIENT TRACKING on the client's own connection, by the id at the node. Where there is no such client the node says so.
    pub(super) fn redirect_asked(&self, dispatched: &Dispatched<'_>) -> Option<Asked> {
        let (at, client) = target(dispatched)?;
        let request = &dispatched.request;
        let id = match self.worker.shared.registry.redirect_to(client) {
            Ok(server) => {
                let lane = self.pinned.as_ref()?;
                lane.redirection.set(Some(Redirection { server, client }));
                server.to_string().into_bytes()
            }
            Err(NoTarget::Client) => NOBODY.to_vec(),
            Err(NoTarget::Connection) => {
                let refused = Local::Owned(Failure::Redirect);
                return Some(Asked::new(vec![b"REPLICAOF".to_vec()], Some(refused)));
            }
        };
        let mut words: Vec<Vec<u8>> = request.args().map(<[u8]>::to_vec).collect();
        words[at] = id;
        Some(Asked::new(words, None))
    }
}

/// Where in a CLIENT TRACKING the id of another client stands, and the id.
fn target(dispatched: &Dispatched<'_>) -> Option<(usize, u64)> {
    let Dispatched { request, class, .. } = dispatched;
    let at = (class.row.spec().rule == Rule::Redirect).then(|| redirected_to(request)).flatten()?;
    Some((at, std::str::from_utf8(request.arg(at)).ok()?.parse().ok()?))
}

impl Redirection {
    /// A reply that tells where invalidations go, or the push that tells that they go there no more, by the client's id. `None`:
    /// it is none of these. `row`: of the request that it answers.
    pub(super) fn told(self, row: Option<RowId>, frame: &[u8]) -> Option<Vec<u8>> {
        let tells =
            row.is_some_and(|row| matches!(row.spec().name, "client|getredir" | "client|trackinginfo"));
        let broken = frame.first() == Some(&b'>') && find(frame, b"tracking-redir-broken").is_some();
        if !tells && !broken {
            return None;
        }
        let id = format!(":{}\r\n", self.server);
        let at = find(frame, id.as_bytes())?;
        let told = format!(":{}\r\n", self.client);
        Some([&frame[..at], told.as_bytes(), &frame[at + id.len()..]].concat())
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find as row;

    #[test]
    fn only_what_tells_of_a_redirection_is_told_by_the_clients_id() {
        let redirection = Redirection { server: 71, client: 5 };
        let told = |name: &str, frame: &str| {
            redirection
                .told(row(name.as_bytes()), frame.as_bytes())
                .map(|told| String::from_utf8(told).unwrap())
        };
        assert_eq!(told("client|getredir", ":71\r\n").as_deref(), Some(":5\r\n"));
        assert_eq!(told("client|getredir", ":0\r\n"), None);
        let info = "*2\r\n$8\r\nredirect\r\n:71\r\n";
        assert_eq!(told("client|trackinginfo", info).unwrap(), info.replace(":71", ":5"));
        assert_eq!(told("incr", ":71\r\n"), None);
        let broken = ">2\r\n$21\r\ntracking-redir-broken\r\n:71\r\n";
        assert_eq!(told("get", broken).unwrap(), broken.replace(":71", ":5"));
        assert_eq!(told("get", ">2\r\n$10\r\ninvalidate\r\n:71\r\n"), None);
    }
}
