//! Requests in steady state: what is allocated once is kept, and nothing is allocated for each.

use crate::Test;
use crate::counted::Counted;
use crate::support::{Client, Group, ProxyOptions, encode};

pub const TESTS: &[Test] = &[
    ("requests_to_one_node_allocate_nothing", one_node),
    ("requests_of_fifty_clients_allocate_nothing", fifty_clients),
    ("reads_from_replicas_allocate_nothing", replicas),
    ("writes_that_wait_for_replicas_allocate_nothing", semi_sync),
];

/// Requests whose allocations are counted.
const REQUESTS: usize = 4_000;
/// Rounds before that, in which buffers find their size, by requests.
const WARM: usize = 2_000;
/// A worker's own clock and a queue that grows allocate now and then: one in so many requests is no allocation for each.
const IN: u64 = 50;
/// How often it is counted, at most: such hiccups do not come again each time, an allocation for each request does.
const TRIES: usize = 3;

/// One step of a client.
#[derive(Clone)]
enum Step {
    Sends(usize, Vec<u8>),
    Gets(usize, Vec<u8>),
}
use Step::{Gets, Sends};

impl Step {
    fn run(&self, clients: &mut [Client]) {
        match self {
            Sends(client, bytes) => clients[*client].send_raw(bytes),
            Gets(client, bytes) => {
                let got = clients[*client].read_raw(bytes.len());
                assert!(got == *bytes, "{} instead of {}", got.escape_ascii(), bytes.escape_ascii());
            }
        }
    }
}

/// What is done over and over.
struct Case {
    name: &'static str,
    clients: usize,
    /// What is done once, before.
    first: Vec<Step>,
    /// Requests in one round.
    requests: usize,
    round: Vec<Step>,
}

impl Case {
    /// One client that sends `requests` requests at once, and gets `replies`.
    fn one(name: &'static str, requests: usize, bytes: Vec<u8>, replies: impl Into<Vec<u8>>) -> Self {
        let round = vec![Sends(0, bytes), Gets(0, replies.into())];
        Self { name, clients: 1, first: Vec::new(), requests, round }
    }

    fn run(&self, clients: &mut [Client], rounds: usize) {
        (0..rounds).for_each(|_| self.round.iter().for_each(|step| step.run(clients)));
    }

    /// What is wrong, if anything is.
    fn judge(&self, counted: &mut Counted) -> Option<String> {
        let mut clients: Vec<Client> = (0..self.clients).map(|_| counted.proxy.client()).collect();
        self.first.iter().for_each(|step| step.run(&mut clients));
        self.run(&mut clients, WARM.div_ceil(self.requests));
        let rounds = REQUESTS / self.requests;
        let allowed = REQUESTS as u64 / IN;
        let mut least = u64::MAX;
        for _ in 0..TRIES {
            let before = counted.counts().allocations;
            self.run(&mut clients, rounds);
            least = least.min(counted.counts().allocations - before);
            if least <= allowed {
                break;
            }
        }
        let each = least as f64 / (rounds * self.requests) as f64;
        println!("    {}: {least} allocations for {REQUESTS} requests, {each:.4} each", self.name);
        (least > allowed).then(|| {
            let places = counted.places(|| self.run(&mut clients, 500 / self.requests + 1));
            format!("{}: {least} allocations where {allowed} are allowed\n{places}", self.name)
        })
    }
}

fn words(text: &str) -> Vec<u8> {
    encode(&text.split(' ').collect::<Vec<_>>())
}

fn judge(options: ProxyOptions, cases: &[Case]) {
    // A request that waited for a busy machine would be remembered as slow, which is not the steady state that is counted.
    let options = options.set("proxy.workers", "1").set("log.slowlog_len", "0").looking_once_a_minute();
    let mut counted = Counted::start(options);
    let wrong: Vec<String> = cases.iter().filter_map(|case| case.judge(&mut counted)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn one_node() {
    let group = Group::plain(0);
    let value = "v".repeat(4 << 10);
    let mut node = group.nodes()[0].client();
    node.call("MSET a 1 b 22 c 333");
    node.cmd(&["SET", "large", &value]);
    let mixed = |count: usize| words("GET a").repeat(count);
    let mget = "*4\r\n$1\r\n1\r\n$2\r\n22\r\n$-1\r\n$3\r\n333\r\n";
    judge(
        ProxyOptions::new(&group.addresses()),
        &[
            Case::one("GET", 1, words("GET a"), bulk("1")),
            Case::one("SET", 1, words("SET s value"), "+OK\r\n"),
            Case::one("PING", 1, words("PING"), "+PONG\r\n"),
            Case::one("GET, 16 at a time", 16, mixed(16), bulk("1").repeat(16)),
            Case::one(
                "SET and GET, 16 at a time",
                16,
                [words("SET s value"), words("GET a")].concat().repeat(8),
                format!("+OK\r\n{}", bulk("1")).repeat(8),
            ),
            Case::one("an inline command", 1, b"GET a\r\n".to_vec(), bulk("1")),
            Case::one("MGET", 1, words("MGET a b none c"), mget),
            Case::one("a reply of 4 KiB", 1, words("GET large"), bulk(&value)),
            Case::one("a request of 4 KiB", 1, words(&format!("SET s {value}")), "+OK\r\n"),
            Case::one("an error", 1, words("INCR large"), "-ERR value is not an integer or out of range\r\n"),
            Case::one("a script", 1, words("EVAL return(7) 0"), ":7\r\n"),
            // Connections of their own.
            Case::one(
                "MULTI and EXEC",
                3,
                [words("MULTI"), words("SET s value"), words("EXEC")].concat(),
                "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n",
            ),
            Case::one(
                "BLPOP of what is there",
                2,
                [words("RPUSH list x"), words("BLPOP list 0")].concat(),
                format!(":1\r\n*2\r\n{}{}", bulk("list"), bulk("x")),
            ),
            Case {
                clients: 2,
                round: vec![
                    Sends(0, words("BLPOP other 0")),
                    Sends(1, words("RPUSH other x")),
                    Gets(1, b":1\r\n".to_vec()),
                    Gets(0, format!("*2\r\n{}{}", bulk("other"), bulk("x")).into_bytes()),
                ],
                ..Case::one("BLPOP of what is to come", 2, Vec::new(), "")
            },
        ],
    );
}

fn fifty_clients() {
    let group = Group::plain(0);
    group.nodes()[0].call("SET a 1");
    let get = |at| Sends(at, words("GET a"));
    let set = |at| Sends(at, words(&format!("SET s{at} value")));
    let sends = (0..50).map(|at| if at % 5 == 0 { set(at) } else { get(at) });
    let got = |at| if at % 5 == 0 { "+OK\r\n".to_owned() } else { bulk("1") };
    let gets = (0..50).map(|at| Gets(at, got(at).into_bytes()));
    let name = "50 clients, one request each";
    let round = sends.chain(gets).collect();
    let fifty = Case { clients: 50, round, ..Case::one(name, 50, Vec::new(), "") };
    judge(ProxyOptions::new(&group.addresses()), &[fifty, transactions(), deliveries()]);
}

/// Optimistic locking, by all at once.
fn transactions() -> Case {
    let words = ["WATCH a", "GET a", "MULTI", "GET a", "EXEC"].map(words).concat();
    let replies = format!("+OK\r\n{0}+OK\r\n+QUEUED\r\n*1\r\n{0}", bulk("1")).into_bytes();
    let sends = (0..50).map(|at| Sends(at, words.clone()));
    let gets = (0..50).map(|at| Gets(at, replies.clone()));
    let name = "50 clients, a transaction each";
    Case { clients: 50, round: sends.chain(gets).collect(), ..Case::one(name, 250, Vec::new(), "") }
}

/// A message counts as a request for each that it reaches.
fn deliveries() -> Case {
    const LISTENERS: usize = 49;
    let confirmed = format!("*3\r\n{}{}:1\r\n", bulk("subscribe"), bulk("news"));
    let subscribe = |at| [Sends(at, words("SUBSCRIBE news")), Gets(at, confirmed.clone().into_bytes())];
    let message = format!("*3\r\n{}{}{}", bulk("message"), bulk("news"), bulk("text"));
    let count = format!(":{LISTENERS}\r\n").into_bytes();
    let publish = [Sends(LISTENERS, words("PUBLISH news text")), Gets(LISTENERS, count)];
    let heard = (0..LISTENERS).map(|at| Gets(at, message.clone().into_bytes()));
    Case {
        clients: LISTENERS + 1,
        first: (0..LISTENERS).flat_map(subscribe).collect(),
        round: publish.into_iter().chain(heard).collect(),
        ..Case::one("a message to 49 subscribers", LISTENERS + 1, Vec::new(), "")
    }
}

fn replicas() {
    let group = Group::plain(1);
    group.nodes()[0].call("SET a 1");
    group.wait_in_sync(0);
    let both = [words("SET s value"), words("GET s")].concat();
    let replies = format!("+OK\r\n{}", bulk("value"));
    judge(
        ProxyOptions::new(&group.addresses()).set("reads.policy", "\"prefer_replica\""),
        &[
            Case::one("GET from a replica", 1, words("GET a"), bulk("1")),
            Case::one("a client that reads its own write", 2, both, replies),
        ],
    );
}

fn semi_sync() {
    let group = Group::plain(1);
    group.nodes()[0].call("SET a 1");
    group.wait_in_sync(0);
    let options = ProxyOptions::new(&group.addresses())
        .set("durability.mode", "\"semi_sync\"")
        .set("durability.timeout", "\"10s\"");
    judge(
        options,
        &[
            Case::one("a write that waits", 1, words("SET s value"), "+OK\r\n"),
            Case::one("16 writes that wait", 16, words("SET s value").repeat(16), "+OK\r\n".repeat(16)),
            Case::one("a read among them", 1, words("GET a"), bulk("1")),
        ],
    );
}
