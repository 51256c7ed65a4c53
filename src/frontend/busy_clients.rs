//! Which clients ask for most of late, and which hold most memory. Pure.
//!
//! Nothing is kept for it on the path of a request: whoever looks remembers how far each client had come, and the next look finds
//! out how far each has come since. So nothing is done while nobody looks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Clients that are told because they ask for most.
const BUSIEST: usize = 10;

/// Clients that are told because they hold most memory, beside those.
const LARGEST: usize = 5;

/// Rates are told over at least so much time, as soon as there was so much between looks.
const SPAN: Duration = Duration::from_secs(5);

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) id: u64,
    /// Since it connected.
    pub(super) requests: u64,
    /// Bytes that wait to be served or to be read.
    pub(super) memory: usize,
    pub(super) connected: Instant,
}

/// How far all of them had come at one look.
#[derive(Debug, Default)]
struct Look {
    at: Option<Instant>,
    requests: HashMap<u64, u64>,
}

impl Look {
    fn of(now: Instant, clients: &[Progress]) -> Self {
        let requests = clients.iter().map(|client| (client.id, client.requests)).collect();
        Self { at: Some(now), requests }
    }
}

/// What earlier looks found, for all who look. One entry for each client that was connected then.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// What rates begin with.
    first: Look,
    /// Takes its place when it is old enough.
    second: Look,
}

impl Looks {
    /// The clients to be told, each with its requests a second of late: the busiest first, then the largest of the others.
    pub(super) fn rank(&mut self, now: Instant, clients: &[Progress]) -> Vec<(u64, u64)> {
        if self.second.at.is_none_or(|at| now.saturating_duration_since(at) >= SPAN) {
            self.first = std::mem::replace(&mut self.second, Look::of(now, clients));
        }
        let mut ranked: Vec<(u64, &Progress)> =
            clients.iter().map(|client| (self.rate(now, client), client)).collect();
        // Ids end ties, so that who is told does not depend on chance.
        ranked.sort_by_key(|(rate, client)| (std::cmp::Reverse((*rate, client.requests)), client.id));
        let mut others = ranked.split_off(BUSIEST.min(ranked.len()));
        others.retain(|(_, client)| client.memory > 0);
        others.sort_by_key(|(_, client)| (std::cmp::Reverse(client.memory), client.id));
        others.truncate(LARGEST);
        ranked.iter().chain(&others).map(|(rate, client)| (client.id, *rate)).collect()
    }

    fn rate(&self, now: Instant, client: &Progress) -> u64 {
        let before = self.first.at.zip(self.first.requests.get(&client.id));
        let (since, requests) = before.map_or((client.connected, 0), |(at, requests)| (at, *requests));
        let millis = now.saturating_duration_since(since).as_millis().max(1);
        let rate = u128::from(client.requests.saturating_sub(requests)) * 1000 / millis;
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rates_are_those_since_a_look_of_late() {
        let born = Instant::now();
        let mut looks = Looks::default();
        let mut look = |second: u32, counts: &[u64]| {
            let clients: Vec<_> = (1..)
                .zip(counts)
                .map(|(id, requests)| Progress { id, requests: *requests, memory: 0, connected: born })
                .collect();
            looks.rank(born + SECOND * second, &clients)
        };
        assert_eq!(look(100, &[5_000, 1_000]), [(1, 50), (2, 10)], "since they connected");
        assert_eq!(look(101, &[5_000, 1_404]), [(1, 49), (2, 13)], "too short to tell more");
        assert_eq!(look(105, &[5_000, 3_000]), [(2, 400), (1, 0)], "since the first look");
        assert_eq!(look(106, &[5_000, 3_000]), [(2, 333), (1, 0)]);
        assert_eq!(look(110, &[5_000, 3_000]), [(1, 0), (2, 0)], "since the look at 105; ties by requests");
        assert_eq!(look(111, &[5_600, 3_000, 111]), [(1, 100), (3, 1), (2, 0)], "who came later");
    }

    #[test]
    fn the_busiest_come_first_and_then_those_who_hold_most() {
        let now = Instant::now();
        let connected = now.checked_sub(SECOND).expect("a second ago");
        let clients: Vec<_> = (1_u16..=40)
            .map(|id| Progress {
                id: u64::from(id),
                requests: u64::from(id),
                memory: usize::from(if id % 2 == 0 { 0 } else { 100 - id }),
                connected,
            })
            .collect();
        let told: Vec<_> = Looks::default().rank(now, &clients).into_iter().map(|(id, _)| id).collect();
        assert_eq!(told, [40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 1, 3, 5, 7, 9]);
        assert!(Looks::default().rank(now, &[]).is_empty());
    }
}
