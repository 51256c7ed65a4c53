//! The real side: servers, and what they say in the model's words.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Boot, Following, WRITE, Write};
use crate::script::{NODES, Reply, Step, shown};
use crate::support::{Client, LONG, Server, ServerOptions, Value, Version, eventually, eventually_some};
use crate::twin::Facts;

/// A write's value: so long that what else comes into the stream in a script is less than one write.
const VALUE: usize = 1_000;
/// What a write takes in a server's stream.
const STREAM: u64 = 33 + VALUE as u64;
/// Nothing in the stream but what the script writes, no replica given up, files of copies kept as by default.
const SETTINGS: [(&str, &str); 4] = [
    ("repl-ping-replica-period", "3600"),
    ("repl-timeout", "3600"),
    ("min-replicas-max-lag", "3600"),
    ("rdb-del-sync-files", "no"),
];

pub(crate) struct Real {
    plain: ServerOptions,
    nodes: Vec<Server>,
    clients: Vec<Client>,
    writes: Write,
    /// By node: clients whose write waits for the end of a pause.
    parked: Vec<Vec<Client>>,
    /// The client whose write was taken in the last step.
    wrote: Option<Client>,
    /// Names of processes and histories: the model's, and a server's.
    names: BTreeMap<String, String>,
}

impl Real {
    pub(crate) fn new(version: Version) -> Self {
        let plain = SETTINGS.iter().fold(version.options(), |options, (key, value)| options.set(key, value));
        let nodes: Vec<Server> = (0..NODES).map(|_| plain.clone().start()).collect();
        let order = format!("REPLICAOF 127.0.0.1 {}", nodes[0].port());
        for node in &nodes[1..] {
            assert_eq!(node.call(&order), Value::ok());
        }
        let mut real = Self {
            plain,
            clients: nodes.iter().map(Server::client).collect(),
            nodes,
            writes: 0,
            parked: (0..NODES).map(|_| Vec::new()).collect(),
            wrote: None,
            names: BTreeMap::from([(String::new(), "0".repeat(40))]),
        };
        real.begin(version);
        real
    }

    /// The group has copied, Valkey has sent its first PING, one write is there, and all is on the disks.
    fn begin(&mut self, version: Version) {
        let first = if version.valkey { 14 } else { 0 };
        eventually(LONG, "the replicas have copied", || {
            let mut offsets = self.clients.iter_mut().map(|client| {
                let text = client.call("INFO replication").text().unwrap_or_default();
                let up = text.contains("master_link_status:up")
                    || text.matches("state=online").count() == NODES - 1;
                up && text.contains(&format!("master_repl_offset:{first}\r\n"))
            });
            offsets.all(|there| there)
        });
        self.write(0, false);
        let offset = first + 23 + STREAM;
        eventually(LONG, "the replicas have the write", || {
            self.clients.iter_mut().all(|client| {
                let text = client.call("INFO replication").text().unwrap_or_default();
                text.contains(&format!("master_repl_offset:{offset}\r\n"))
            })
        });
        (0..NODES).for_each(|node| self.order(node, "SAVE"));
    }

    /// Does a step; what clients are told, of whom so many are to be asked.
    pub(crate) fn step(&mut self, step: Step, expected: &[Reply]) -> Vec<Reply> {
        self.wrote = None;
        match step {
            Step::Write(node) => return vec![self.write(node, expected == [Reply::Waits])],
            Step::Follow(node, other) => {
                self.order(node, &format!("REPLICAOF 127.0.0.1 {}", self.nodes[other].port()));
            }
            Step::Seal(node) => self.order(node, "REPLICAOF 127.0.0.1 0"),
            Step::Promote(node) => self.order(node, "REPLICAOF NO ONE"),
            Step::Stop(node) => self.nodes[node].sigstop(),
            Step::Continue(node) => self.nodes[node].sigcont(),
            Step::Kill(node) => {
                self.nodes[node].kill9();
                self.parked[node].clear();
            }
            Step::Boot(node, how) => self.boot(node, how),
            Step::Save(node) => self.order(node, "SAVE"),
            Step::Pause(node) => self.order(node, "CLIENT PAUSE 3600000 WRITE"),
            Step::Unpause(node) => {
                self.order(node, "CLIENT UNPAUSE");
                let parked = std::mem::take(&mut self.parked[node]);
                return parked.into_iter().map(|client| self.answer(client)).collect();
            }
            Step::Need(node, replicas) => {
                self.order(node, &format!("CONFIG SET min-replicas-to-write {replicas}"));
            }
        }
        Vec::new()
    }

    fn order(&self, node: usize, order: &str) {
        assert!(self.nodes[node].call(order).text().is_some_and(|text| text.starts_with("OK")), "{order}");
    }

    fn boot(&mut self, node: usize, how: Boot) {
        let server = &mut self.nodes[node];
        if matches!(how, Boot::PlainEmpty | Boot::SealedEmpty) {
            server.lose_data();
        }
        let sealed = matches!(how, Boot::Sealed | Boot::SealedEmpty);
        let plain = self.plain.clone();
        server.restart_with(if sealed { plain.set("replicaof", "127.0.0.1 0") } else { plain });
        self.clients[node] = server.client();
    }

    fn write(&mut self, node: usize, waits: bool) -> Reply {
        self.writes += 1;
        let mut client = self.nodes[node].client();
        client.send(&["SET", &format!("w{:04}", self.writes), &"x".repeat(VALUE)]);
        if !waits {
            return self.answer(client);
        }
        self.parked[node].push(client);
        Reply::Waits
    }

    fn answer(&mut self, mut client: Client) -> Reply {
        let reply = client.read();
        if let Some(error) = reply.error() {
            return Reply::Refused(error.split(' ').next().unwrap_or_default().to_owned());
        }
        self.wrote = Some(client);
        Reply::Written
    }

    /// Waits until WAIT says that as many replicas have the write; what it says instead.
    pub(crate) fn replicated(&mut self, expected: &Option<(usize, usize)>) -> Option<i64> {
        let ((_, count), client) = (expected.as_ref()?, self.wrote.as_mut()?);
        let count = i64::try_from(*count).expect("few replicas");
        let mut found = None;
        attempt(|| {
            // It waits for nobody, and does not ask the replicas by a word in the stream.
            found = client.call("WAIT 0 1").int();
            found == Some(count)
        });
        found.filter(|found| *found != count)
    }

    /// Waits until the servers say what is expected; what they say instead.
    pub(crate) fn settles(&mut self, expected: &[Option<Facts>]) -> Result<(), String> {
        let mut found = Vec::new();
        let mut names = self.names.clone();
        attempt(|| {
            names = self.names.clone();
            let model = |node: usize| expected[node].as_ref();
            found = (0..NODES).map(|node| Some(self.fact(node, model(node)?, &mut names))).collect();
            // Counting the keys takes longest.
            let told = found.iter_mut().zip(expected).enumerate().all(|(node, (found, expected))| {
                let (Some(found), Some(expected)) = (found.as_mut(), expected) else { return true };
                found.data.clone_from(&expected.data);
                let agrees = found == expected;
                found.data = if agrees { data(&mut self.clients[node]) } else { BTreeSet::new() };
                agrees
            });
            told && found == expected
        });
        if found == expected {
            self.names = names;
            return Ok(());
        }
        Err(shown(&found))
    }

    /// What a server says, in the model's names; one that it hears for the first time is the one that is expected.
    fn fact(&mut self, node: usize, expected: &Facts, names: &mut BTreeMap<String, String>) -> Facts {
        let asked = ["INFO server", "INFO replication", "INFO stats"];
        let texts = self.clients[node].pipeline(&asked).iter().filter_map(Value::text).collect::<String>();
        let fields: BTreeMap<&str, &str> = texts.lines().filter_map(|line| line.split_once(':')).collect();
        let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let mut named = |field: &str, expected: &str| {
            let real = (*fields.get(field).unwrap_or(&"")).to_owned();
            if let Some((ours, _)) = names.iter().find(|(_, theirs)| **theirs == real) {
                return ours.clone();
            }
            if names.contains_key(expected) {
                return real;
            }
            names.insert(expected.to_owned(), real);
            expected.to_owned()
        };
        let follows = match number("master_port") {
            0 if fields.get("role") == Some(&"master") => Following::Nobody,
            0 => Following::Sealed,
            port => Following::Node(self.index(port)),
        };
        let primary = follows == Following::Nobody;
        let offset = number(if primary { "master_repl_offset" } else { "slave_repl_offset" });
        let second = fields.get("second_repl_offset").and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        Facts {
            follows,
            link_up: fields.get("master_link_status") == Some(&"up"),
            run_id: named("run_id", &expected.run_id),
            replid: named("master_replid", &expected.replid),
            replid2: named("master_replid2", &expected.replid2),
            second_offset: u64::try_from(second - 1)
                .map_or(-1, |offset| in_the_model(offset).cast_signed() + 1),
            offset: in_the_model(offset),
            replicas: self.online(&fields),
            sync_full: number("sync_full"),
            sync_partial: number("sync_partial_ok"),
            data: BTreeSet::new(),
        }
    }

    fn index(&self, port: u64) -> usize {
        let place = self.nodes.iter().position(|node| u64::from(node.port()) == port);
        place.expect("nobody follows a stranger")
    }

    /// Replicas to which a server streams.
    fn online(&self, fields: &BTreeMap<&str, &str>) -> Vec<usize> {
        let mut online = Vec::new();
        for number in 0..NODES {
            let Some(line) = fields.get(format!("slave{number}").as_str()) else { continue };
            let port = line.split(',').find_map(|part| part.strip_prefix("port=")?.parse().ok());
            if let Some(port) = port.filter(|_| line.contains("state=online")) {
                online.push(self.index(port));
            }
        }
        online.sort_unstable();
        online
    }
}

/// An offset as the model counts, in whole writes. What is left is SELECT before a first write, the PING that
/// Valkey begins with, or was counted while nobody had copied yet, as newer servers do.
fn in_the_model(offset: u64) -> u64 {
    offset / STREAM * WRITE
}

fn data(client: &mut Client) -> BTreeSet<Write> {
    let keys = client.call("KEYS *");
    let number = |key: &Value| key.text()?.strip_prefix('w')?.parse().ok();
    keys.items().iter().map(|key| number(key).expect("only writes of the script are there")).collect()
}

/// Tries until it holds or it is far too late.
fn attempt(mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    eventually_some(LONG * 2, "an answer of the servers", || {
        (holds() || start.elapsed() > LONG).then_some(())
    });
}
