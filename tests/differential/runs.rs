//! Whom the scripts are said to.

use std::net::SocketAddr;
use std::time::Duration;

use redhold::command::rows;

use crate::judge::Invalidations;
use crate::play::{Played, play};
use crate::safe::is_for_lines_only;
use crate::script::{Step, script};
use crate::shrink::shortest;
use crate::support::{Group, LONG, Proxy, ProxyOptions, Server, V7_0, Value, Version, eventually};
use crate::tracking;

/// Requests when nobody asks for more.
const FEW: usize = 5_000;

/// A run of so many says each row several times.
const ENOUGH: usize = 40_000;

/// Requests of tracking clients at most.
const TOLD: usize = 20_000;

/// Clients that take turns.
const CLIENTS: usize = 7;

/// `SEED` and `COMMANDS`, or a seed that changes from run to run and `count`.
fn wanted(count: usize) -> (u64, usize) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or_else(|| u64::from(std::process::id()));
    (seed, number("COMMANDS").map_or(count, |count| count as usize))
}

/// What stands beside a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Another server.
    Server,
    /// The proxy in front of another.
    Proxy,
    /// The proxy in front of a primary and two replicas that it reads from.
    Replicas,
}

impl Beside {
    /// Clients that take turns. What others wrote a replica may not have yet, so that only one is told of one state of the data.
    fn clients(self) -> usize {
        if self == Self::Replicas { 1 } else { CLIENTS }
    }
}

/// A server and what stands beside it.
pub(crate) struct Sides {
    server: Server,
    group: Group,
    proxy: Option<Proxy>,
}

impl Sides {
    #[track_caller]
    pub(crate) fn new(version: Version, beside: Beside) -> Self {
        let replicas = if beside == Beside::Replicas { 2 } else { 0 };
        let group = Group::plain_with(replicas, &version.options());
        let options = ProxyOptions::new(&group.addresses());
        let proxy = match beside {
            Beside::Server => None,
            Beside::Proxy => Some(options.start()),
            Beside::Replicas => Some(options.set("reads.policy", "\"prefer_replica\"").start()),
        };
        if let Some(proxy) = &proxy {
            // Until it knows that its own pattern stands it can not tell it from others.
            eventually(LONG, "it listens and knows it", || {
                group.nodes()[0].call("PUBSUB NUMPAT") == Value::Int(1)
                    && proxy.client().call("PUBSUB NUMPAT") == Value::Int(0)
            });
            if beside == Beside::Replicas {
                proxy.wait_well();
            }
        }
        Self { server: version.start(), group, proxy }
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 2] {
        let other = self.group.nodes()[0].address();
        [self.server.address(), self.proxy.as_ref().map_or(other, Proxy::address)]
    }

    /// The data is the same everywhere.
    #[track_caller]
    fn assert_same_data(&self, title: &str) {
        self.group.wait_in_sync(0);
        let digest = self.server.call("DEBUG DIGEST");
        assert!(digest.error().is_none(), "{digest:?}");
        for node in self.group.nodes() {
            assert_eq!(node.call("DEBUG DIGEST"), digest, "{title}: the data of {}", node.port());
        }
    }
}

#[track_caller]
fn compare(version: Version, beside: Beside, count: usize) -> Played {
    compare_count(version, beside, wanted(count).1)
}

#[track_caller]
fn compare_count(version: Version, beside: Beside, count: usize) -> Played {
    let (seed, _) = wanted(count);
    let title = format!("{} beside {beside:?} SEED={seed} COMMANDS={count}", version.name);
    let steps = script(version, seed, count, beside.clients());
    compare_steps(&title, version, beside, &steps, Invalidations::Ignored)
}

#[track_caller]
fn compare_steps(
    title: &str,
    version: Version,
    beside: Beside,
    steps: &[Step],
    invalidations: Invalidations,
) -> Played {
    eprintln!("{title}");
    let sides = Sides::new(version, beside);
    let played = play(steps, sides.addresses(), LONG, invalidations);
    if let Some(difference) = &played.difference {
        drop(sides);
        eprintln!("{title}: {difference:#?}");
        let short = shortest(steps, difference, |steps| {
            let sides = Sides::new(version, beside);
            play(steps, sides.addresses(), Duration::from_secs(1), invalidations)
        });
        let told: Vec<String> = short.iter().map(told).collect();
        panic!("{title}: {difference:#?}\nshown by\n{}", told.join("\n"));
    }
    sides.assert_same_data(title);
    played
}

fn told(step: &Step) -> String {
    match step {
        Step::Say { client, requests } => {
            let requests: Vec<String> = requests.iter().map(|request| request.shown()).collect();
            format!("  {client}: {}", requests.join(" ; "))
        }
        Step::Begin { client, request, sent } => {
            format!("  {client}: {} (the first {sent} bytes)", request.shown())
        }
        Step::Garble { client, bytes } => format!("  {client}: {}", bytes.escape_ascii()),
    }
}

/// Rows that are said in every run that is long enough, unless the server has none or they are kept from chance.
#[track_caller]
fn assert_all_said(version: Version, played: &Played) {
    let said = |name: &str| played.rows.contains_key(name);
    let unsaid: Vec<&str> = rows()
        .iter()
        .filter(|row| version.has(row.servers) && !is_for_lines_only(row.name) && !said(row.name))
        .map(|row| row.name)
        .collect();
    assert!(played.requests < ENOUGH || unsaid.is_empty(), "never said: {unsaid:?}");
    let taken: usize = played.rows.values().map(|(_, taken)| taken).sum();
    let refused = played.requests - taken;
    eprintln!("{} requests, {refused} of them refused, of {} rows", played.requests, played.rows.len());
    // A stream of refusals would compare little.
    assert!(taken * 3 > played.requests, "{refused} of {} refused", played.requests);
}

#[test]
fn two_servers_answer_alike() {
    assert_all_said(V7_0, &compare(V7_0, Beside::Server, FEW));
}

#[test]
fn the_proxy_answers_as_the_server_itself_does() {
    assert_all_said(V7_0, &compare(V7_0, Beside::Proxy, FEW));
}

#[test]
fn replicas_answer_a_client_as_one_server_would() {
    compare(V7_0, Beside::Replicas, FEW);
}

/// Tracking clients are told the same, in the same order, between the same replies.
#[track_caller]
fn compare_invalidations(version: Version, beside: Beside) {
    let (seed, count) = wanted(FEW);
    // One request at a time takes longer.
    let count = count.min(TOLD);
    let title = format!("{} tracking beside {beside:?} SEED={seed} COMMANDS={count}", version.name);
    let steps = tracking::script(version, seed, count);
    let played = compare_steps(&title, version, beside, &steps, Invalidations::Compared);
    eprintln!("{} requests, {} invalidations", played.requests, played.invalidations);
    assert!(played.invalidations * 4 > played.requests, "{} say little", played.invalidations);
}

#[test]
fn two_servers_tell_tracking_clients_the_same() {
    compare_invalidations(V7_0, Beside::Server);
}

#[test]
fn the_proxy_tells_tracking_clients_what_the_server_itself_does() {
    compare_invalidations(V7_0, Beside::Proxy);
}
