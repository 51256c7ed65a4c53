//! The endpoint over a real socket, fed with snapshots by hand.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};

use super::*;
use crate::control::{NodeFacts, Quarantined, SettingChanged, Status};
use crate::failover::{self, Level, Note};
use crate::net::{Certificates, Inherited};
use crate::routing::{Gate, NodeRoute, Publisher, RoutingTable, publisher};
use crate::telemetry::{
    BigKey, BigKeys, BusyClient, HotKey, HotKeys, LevelHandle, Metrics, SlowRequest, Traffic, TrafficReader,
};
use crate::topology::{
    Marks, NodeId, Order, Placed, Replication, Restraints, Role, Suspicion, Told, Toll, orders,
};
use crate::traces::Traces;

/// Far longer than any answer takes here.
const PATIENCE: Duration = Duration::from_secs(20);
/// A port of the system's choice.
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

mod orders;

fn bind_to(listen: SocketAddr) -> Result<Bound, String> {
    bind(&Settings { listen, ..Settings::default() }, &mut Inherited::default())
}

pub(super) fn note(after_ms: u64, phase: &'static str) -> Note {
    let text = format!("note of {phase}");
    Note { level: Level::Info, since: Duration::from_millis(after_ms), phase, text }
}

/// A group of two in good health; the primary is `a:1`.
pub(super) fn status() -> Status {
    let at = Instant::now();
    let facts = |role, keys| {
        Some(Arc::new(Replication { role, keys, version: "7.0.15".to_owned(), ..Default::default() }))
    };
    let seen = |id: u16, address: &str, facts| NodeFacts {
        id: NodeId(id),
        address: address.parse().unwrap(),
        zone: String::new(),
        facts,
        seen: Some(at),
        ping: Some(Duration::from_micros(150)),
        error: None,
    };
    let judged = |id: u16, role, address: &str| failover::NodeStatus {
        node: NodeId(id),
        role: Some(role),
        up: true,
        silent_for: Duration::from_millis(20),
        readable: role == Role::Replica,
        lag_bytes: (role == Role::Replica).then_some(14),
        staleness: (role == Role::Replica).then_some(Duration::from_millis(30)),
        peer_address: address.parse().unwrap(),
        slow: Some(false),
        ineligible: None,
        remark: None,
    };
    Status {
        at,
        gone: BTreeMap::new(),
        at_wall: SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_400),
        machine: failover::Status {
            yielded: false,
            phase: "steady",
            epoch: 41,
            primary: Some(NodeId(0)),
            held: None,
            degraded: false,
            tokens: 2,
            other_brain: None,
            nodes: vec![judged(0, Role::Primary, "a:1"), judged(1, Role::Replica, "b:2")],
            episodes: vec![],
        },
        nodes: vec![seen(0, "a:1", facts(Role::Primary, 7)), seen(1, "b:2", facts(Role::Replica, 7))],
        settings_changed: vec![],
        other_brains: vec![],
        quarantined: Quarantined { kept_bytes: 11, given_up_bytes: 7 },
        parity: std::sync::Arc::default(),
        moved: std::sync::Arc::from(["a name has moved".to_owned()]),
    }
}

/// A failover from `a:1` to `b:2` that ends half a second after `status` was made.
pub(super) fn episode(status: &Status) -> failover::Episode {
    failover::Episode {
        began: status.at,
        ended: Some(status.at + Duration::from_millis(500)),
        ordered: false,
        before: (41, Some(NodeId(0))),
        after: (42, Some(NodeId(1))),
        held: Duration::from_millis(400),
        phases: Vec::new(),
        toll: Toll::default(),
        notes: vec![note(0, "suspect"), note(100, "promote")],
    }
}

fn table(gate: Gate) -> RoutingTable {
    let node = |id: u16, address: &str| NodeRoute {
        id: NodeId(id),
        address: address.parse().unwrap(),
        zone: String::new(),
        readable: false,
        generation: 0,
        run_id: None,
    };
    RoutingTable {
        epoch: 41,
        primary: Some(NodeId(0)),
        gate,
        holds: 0,
        planned: false,
        degraded: false,
        remedy: crate::topology::Remedy::Unjudged,
        nodes: vec![node(0, "a:1"), node(1, "b:2")],
    }
}

fn traffic() -> Traffic {
    let slow = SlowRequest {
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_400),
        took: Duration::from_millis(12),
        request: "GET <b>".to_owned(),
        client: "10.0.0.9:7".to_owned(),
        client_name: "me".to_owned(),
        node: Some("a:1".to_owned()),
        held: Duration::from_millis(3),
        server: Some(Duration::from_millis(11)),
    };
    let key = HotKey { key: "user:1".to_owned(), db: 3, least: 40, most: 41 };
    let client = BusyClient {
        id: 7,
        address: "10.0.0.9:7".to_owned(),
        name: "me".to_owned(),
        user: "default".to_owned(),
        command: "GET".to_owned(),
        per_second: 5,
        requests: 600,
        memory_bytes: 70,
        age: Duration::from_secs(120),
    };
    let hot_keys = HotKeys { span: Duration::from_secs(61), one_in: 1000, sampled: 100, keys: vec![key] };
    let big = BigKey {
        key: "big:1".to_owned(),
        keys: 2,
        db: 4,
        command: "MGET".to_owned(),
        bytes: 200_000,
        times: 8,
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_400),
        node: "b:2".to_owned(),
        client: "10.0.0.9:8".to_owned(),
        client_name: "me".to_owned(),
        user: "app".to_owned(),
    };
    let big_keys =
        BigKeys { span: Duration::from_secs(62), min_bytes: Some(100), requests: vec![], replies: vec![big] };
    Traffic { slow: vec![slow], hot_keys, big_keys, clients: vec![client] }
}

/// The endpoint with its other ends in the hands of the test.
struct Fixture {
    server: Server,
    snapshots: watch::Sender<Arc<Status>>,
    routes: Publisher,
    marks: Arc<Marks>,
    orders: mpsc::Receiver<Placed>,
    drain: Drain,
}

impl Fixture {
    fn new() -> Self {
        Self::with_tokens(Tokens::default())
    }

    fn with_tokens(tokens: Tokens) -> Self {
        let (snapshots, reader) = watch::channel(Arc::new(status()));
        let (routes, routes_reader) = publisher(table(Gate::Open));
        let (handle, queue) = orders();
        let drain = Drain::default();
        let marks = Arc::new(Marks::new(Instant::now()));
        let doors = Doors {
            tokens,
            orders: handle,
            status: reader.into(),
            routes: routes_reader,
            traces: Traces::default(),
            metrics: Arc::new(Metrics::new(
                vec!["GET".to_owned()],
                vec!["a:1".to_owned(), "b:2".to_owned()],
                2,
                1,
            )),
            marks: marks.clone(),
            level: LevelHandle::unused(),
            traffic: TrafficReader::new(traffic),
            history: History::default(),
            restraints: Restraints::new(0),
            // Nobody reads a configuration again here.
            rereads: orders().0,
            // Nor takes over.
            upgrades: orders().0,
            predecessor: Arc::default(),
            certificates: Certificates::default(),
            refusals: Refusals::default(),
            drain: drain.clone(),
        };
        let bound = bind_to(ANYWHERE).unwrap();
        Self { server: bound.serve(doors).unwrap(), snapshots, routes, marks, orders: queue, drain }
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        let mut status = Status::clone(&self.snapshots.borrow());
        change(&mut status);
        self.snapshots.send_replace(Arc::new(status));
    }

    /// Sends these bytes and returns what comes back until the end.
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The endpoint may refuse and close before it read everything.
        let _ = stream.write_all(request);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    /// Status code and body.
    fn ask(&self, head: &str, body: &str) -> (u16, String) {
        let request = format!("{head}\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        split(&self.raw(request.as_bytes()))
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1"), "")
    }

    fn order(&self, path: &str, body: &str) -> (u16, String) {
        self.ask(&format!("POST {path} HTTP/1.1\r\nX-Redhold: 1"), body)
    }

    /// Answers the next order while `ask` waits for it.
    fn answering(
        &mut self,
        with: Result<&str, &str>,
        ask: impl FnOnce(&Self) -> (u16, String),
    ) -> (Order, u16, OrderBody) {
        let mut queue = std::mem::replace(&mut self.orders, mpsc::channel(1).1);
        let with = with.map(str::to_owned).map_err(str::to_owned);
        let snapshots = self.snapshots.clone();
        let hand = std::thread::spawn(move || {
            let placed = queue.blocking_recv().unwrap();
            let _ = placed.answer.send(with);
            let mut status = Status::clone(&snapshots.borrow());
            status.at = Instant::now();
            let mut episode = episode(&status);
            episode.ordered = true;
            status.machine.episodes.push(episode);
            snapshots.send_replace(Arc::new(status));
            placed.order
        });
        let (code, body) = ask(self);
        (hand.join().unwrap(), code, serde_json::from_str(&body).unwrap())
    }
}

fn split(response: &str) -> (u16, String) {
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((response, ""));
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0), body.to_owned())
}

#[test]
fn probes_say_alive_and_ready_or_why_not() {
    let fixture = Fixture::new();
    assert_eq!(fixture.get("/livez"), (200, "alive\n".to_owned()));
    assert_eq!(fixture.get("/readyz"), (200, "ready\n".to_owned()));
    fixture.change(|status| status.other_brains.push("sentinel-1".to_owned()));
    assert_eq!(fixture.get("/readyz"), (200, "ready, only observing: sentinel-1\n".to_owned()));
    fixture.routes.publish(table(Gate::Hold { since: Instant::now() }));
    assert_eq!(fixture.get("/readyz"), (503, "no writable primary\n".to_owned()));
    fixture.change(|status| status.machine.held = Some((Instant::now(), "a:1 is silent".to_owned())));
    assert_eq!(fixture.get("/readyz"), (503, "no writable primary: a:1 is silent\n".to_owned()));
    fixture.routes.publish(table(Gate::Open));
    fixture.drain.begin();
    assert_eq!(fixture.get("/readyz"), (503, "draining\n".to_owned()));
    assert_eq!(fixture.get("/livez").0, 200);
}

#[test]
fn status_is_the_snapshot() {
    let fixture = Fixture::new();
    let read = || serde_json::from_str::<StatusBody>(&fixture.get("/api/status").1).unwrap();
    let body = read();
    assert_eq!(body.at, "2000-02-29T00:00:00.000Z");
    assert_eq!((body.phase.as_str(), body.epoch, body.primary.as_deref()), ("steady", 41, Some("a:1")));
    assert_eq!((body.writable, body.draining, body.failovers_left), (true, false, 2));
    assert_eq!(body.held, None);
    let replica = &body.nodes[1];
    assert_eq!(
        (replica.address.as_str(), replica.role.as_str(), replica.up, replica.readable),
        ("b:2", "replica", true, true)
    );
    assert_eq!((replica.lag_bytes, replica.staleness_ms, replica.ping_us), (Some(14), Some(30), Some(150)));
    assert_eq!((replica.version.as_deref(), replica.keys), (Some("7.0.15"), Some(7)));
    fixture.change(|status| {
        status.machine.held =
            Some((Instant::now().checked_sub(Duration::from_secs(3)).unwrap(), "why".to_owned()));
        let (node, name) = (NodeId(1), "repl-timeout".to_owned());
        let changed = SettingChanged { node, name, value: "10".to_owned(), before: "60".to_owned() };
        status.settings_changed.push(changed);
        let episode = episode(status);
        status.machine.episodes.push(episode);
    });
    fixture.routes.publish(table(Gate::Hold { since: Instant::now() }));
    let body = read();
    assert!(!body.writable);
    let held = body.held.unwrap();
    assert!(held.for_ms >= 3000 && held.reason == "why", "{held:?}");
    let setting = &body.settings_changed[0];
    assert_eq!((setting.node.as_str(), setting.value.as_str(), setting.before.as_str()), ("b:2", "10", "60"));
    let episode = &body.episodes[0];
    assert_eq!((episode.duration_ms, episode.held_ms, episode.ordered), (500, 400, false));
    assert_eq!(
        (episode.primary_before.as_deref(), episode.primary_after.as_deref()),
        (Some("a:1"), Some("b:2"))
    );
    assert_eq!(episode.ended.as_deref(), Some("2000-02-29T00:00:00.500Z"));
    assert_eq!((episode.notes[1].after_ms, episode.notes[1].phase.as_str()), (100, "promote"));
}

#[test]
fn who_follows_whom_is_told_as_the_nodes_say_it() {
    let fixture = Fixture::new();
    let follows = |primary: Option<&str>, link_up| {
        fixture.change(|status| {
            status.machine.nodes[0].peer_address = "10.0.0.1:1".parse().unwrap();
            let facts = status.nodes[1].facts.as_deref().cloned().unwrap();
            let primary = primary.map(|primary| primary.parse().unwrap());
            status.nodes[1].facts = Some(Arc::new(Replication { primary, link_up, ..facts }));
        });
        let body: StatusBody = serde_json::from_str(&fixture.get("/api/status").1).unwrap();
        assert_eq!((body.nodes[0].follows.as_deref(), body.nodes[0].link_up), (None, None));
        (body.nodes[1].follows.clone(), body.nodes[1].link_up)
    };
    assert_eq!(follows(Some("10.0.0.1:1"), true), (Some("a:1".to_owned()), Some(true)), "as it is declared");
    assert_eq!(follows(Some("a:1"), false), (Some("a:1".to_owned()), Some(false)));
    assert_eq!(follows(Some("10.0.0.9:1"), true), (Some("10.0.0.9:1".to_owned()), Some(true)));
    assert_eq!(follows(None, false), (None, None));
}

#[test]
fn what_clients_ask_for_is_told_to_whom_the_guard_lets_see_it() {
    let fixture = Fixture::new();
    let read = |fixture: &Fixture, head: &str| {
        let request = format!("GET /api/status HTTP/1.1\r\n{head}\r\n\r\n");
        let (code, text) = split(&fixture.raw(request.as_bytes()));
        assert_eq!(code, 200, "{text}");
        (serde_json::from_str::<StatusBody>(&text).unwrap(), text)
    };
    let (body, _) = read(&fixture, "Host: 127.0.0.1:9380");
    assert!(body.may_order && !body.token_needed && body.details_refused.is_none(), "{body:?}");
    let details = body.details.unwrap();
    let slow = &details.slow[0];
    assert_eq!((slow.at.as_str(), slow.took_us), ("2000-02-29T00:00:00.000Z", 12_000));
    assert_eq!((slow.request.as_str(), slow.client_name.as_str()), ("GET <b>", "me"));
    assert_eq!((slow.held_us, slow.server_us), (3_000, Some(11_000)));
    let hot = &details.hot_keys;
    assert_eq!((hot.seconds, hot.one_in, hot.sampled), (61, 1000, 100));
    assert_eq!((hot.keys[0].db, hot.keys[0].at_least, hot.keys[0].at_most), (3, 40, 41));
    let big = &details.big_keys;
    assert_eq!((big.seconds, big.min_bytes, big.requests.len()), (62, Some(100), 0));
    let reply = &big.replies[0];
    assert_eq!((reply.key.as_str(), reply.keys, reply.db, reply.command.as_str()), ("big:1", 2, 4, "MGET"));
    assert_eq!((reply.bytes, reply.times, reply.at.as_str()), (200_000, 8, "2000-02-29T00:00:00.000Z"));
    assert_eq!((reply.node.as_str(), reply.user.as_str()), ("b:2", "app"));
    let client = &details.clients[0];
    assert_eq!((client.id, client.requests_per_second, client.requests), (7, 5, 600));
    assert_eq!((client.memory_bytes, client.connected_for_ms), (70, 120_000));

    let shows =
        |text: &str| ["GET <b>", "user:1", "big:1", "10.0.0.9"].iter().any(|word| text.contains(word));
    let (body, text) = read(&fixture, "Host: evil.example:9380\r\nX-Redhold: 1");
    assert!(!body.may_order && body.details.is_none() && !shows(&text), "{text}");
    assert!(body.details_refused.is_some_and(|why| why.contains("localhost")), "{text}");
    assert!(body.primary.is_some(), "everything else is for everybody");

    let path = std::env::temp_dir().join(format!("redhold-details-{}", std::process::id()));
    std::fs::write(&path, "0123456789abcdef").unwrap();
    let fixture = Fixture::with_tokens(Tokens::new(Some(TokenFile::new(path.clone()).unwrap()), Vec::new()));
    for head in ["X-Redhold: 1", "Authorization: Bearer 0123456789abcdeg", "Authorization: 0123456789abcdef"]
    {
        let (body, text) = read(&fixture, &format!("Host: localhost\r\n{head}"));
        assert!(!body.may_order && body.token_needed && !shows(&text), "{head}: {text}");
        assert!(body.details_refused.is_some_and(|why| why.contains("token")), "{head}: {text}");
    }
    let (body, text) = read(&fixture, "Host: evil.example\r\nAuthorization: Bearer 0123456789abcdef");
    assert!(body.may_order && shows(&text), "{text}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn samples_are_taken_while_nobody_looks() {
    let fixture = Fixture::new();
    let until = Instant::now() + PATIENCE;
    loop {
        let body: StatusBody = serde_json::from_str(&fixture.get("/api/status").1).unwrap();
        let history = body.history;
        assert_eq!(history.requests.len(), history.age_ms.len());
        if history.requests.len() > 1 {
            assert!(history.age_ms[0] > history.age_ms[1], "the newest is the last");
            return;
        }
        assert!(Instant::now() < until, "no second sample");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_page_is_one_document_that_may_load_nothing_else() {
    let fixture = Fixture::new();
    let answer = fixture.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 ") && head.contains("content-type: text/html"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    assert!(head.contains("content-security-policy: default-src 'none'; "), "{head}");
    assert_eq!(page, super::page::PAGE);
    fixture.change(|status| status.machine.primary = Some(NodeId(1)));
    assert_eq!(fixture.get("/").1, page, "nothing of the group stands in it");
}

#[test]
fn metrics_follow_the_snapshots() {
    let fixture = Fixture::new();
    fixture.change(|status| status.machine.epoch = 99);
    // The follower runs beside the answers: it is asked again until it has seen the snapshot.
    let until = Instant::now() + PATIENCE;
    loop {
        let (code, text) = fixture.get("/metrics");
        assert_eq!(code, 200);
        if text.contains("\nredhold_epoch 99\n") && text.contains("redhold_node_up{node=\"b:2\"} 1\n") {
            break;
        }
        assert!(Instant::now() < until, "{text}");
    }
}

#[test]
fn the_log_level_is_read_and_changed() {
    let fixture = Fixture::new();
    let put = |level: &str| fixture.ask("PUT /api/log-level HTTP/1.1\r\nX-Redhold: 1", level);
    assert_eq!(fixture.get("/api/log-level"), (200, "info\n".to_owned()));
    assert_eq!(put("debug\n"), (200, "debug\n".to_owned()));
    assert_eq!(fixture.get("/api/log-level"), (200, "debug\n".to_owned()));
    assert_eq!(put("loud").0, 400);
    assert_eq!(fixture.get("/api/log-level"), (200, "debug\n".to_owned()));
}

#[test]
fn other_paths_and_methods_are_named_as_such() {
    let fixture = Fixture::new();
    assert_eq!(fixture.get("/nothing").0, 404);
    assert_eq!(fixture.get("/api/switchover"), (405, "/api/switchover takes POST\n".to_owned()));
    assert_eq!(fixture.order("/metrics", "").0, 405);
    let head = fixture.raw(b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn what_is_too_large_is_refused_and_the_next_is_served() {
    let fixture = Fixture::new();
    assert_eq!(fixture.order("/api/switchover", &"x".repeat(5000)).0, 413);
    let long = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(64 << 10));
    assert_ne!(split(&fixture.raw(long.as_bytes())).0, 200);
    let many = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X-Many: 1\r\n".repeat(100));
    assert_ne!(split(&fixture.raw(many.as_bytes())).0, 200);
    assert!(!fixture.raw(b"*1\r\n$4\r\nPING\r\n").contains("200 OK"));
    assert_eq!(fixture.get("/livez").0, 200);
}

#[test]
fn connections_are_bounded_and_the_oldest_that_waits_makes_room() {
    use std::io::Read as _;
    let fixture = Fixture::new();
    let mut idle: Vec<_> = (0..64).map(|_| TcpStream::connect(fixture.server.address()).unwrap()).collect();
    assert_eq!(fixture.get("/livez").0, 200, "one too many");
    idle[0].set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(idle[0].read(&mut [0]).unwrap(), 0, "the oldest is closed");
    idle[1].set_nonblocking(true).unwrap();
    assert!(idle[1].read(&mut [0]).is_err(), "and no other");
}

#[test]
fn the_end_frees_the_address() {
    let fixture = Fixture::new();
    let address = fixture.server.address();
    fixture.server.stop();
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(bind_to(address).unwrap().address(), address);
}

#[test]
fn an_address_in_use_is_named() {
    let bound = bind_to(ANYWHERE).unwrap();
    let refused = bind_to(bound.address()).unwrap_err();
    assert!(
        refused.starts_with(&format!("admin.listen: cannot listen on {}: ", bound.address())),
        "{refused}"
    );
}

#[test]
fn what_a_node_owed_when_it_was_lost_is_shown() {
    let fixture = Fixture::new();
    let lost =
        |fixture: &Fixture| serde_json::from_str::<StatusBody>(&fixture.get("/api/status").1).unwrap().lost;
    assert_eq!(lost(&fixture), vec![]);
    let suspicion = Suspicion { long: true, twice: true, waited: Duration::from_millis(3) };
    fixture.marks.of(NodeId(1)).note_lost(Instant::now(), suspicion, || Told {
        command: "EVAL".to_owned(),
        key: Some("<k>".to_owned()),
    });
    let lost = lost(&fixture);
    assert_eq!((lost.len(), lost[0].node.as_str(), lost[0].count), (1, "b:2", 1));
    let request = LostRequestBody { request: "EVAL <k>".to_owned(), waited_ms: 3, sent_twice: true };
    assert_eq!(lost[0].requests, [request]);
    let (code, text) = split(&fixture.raw(b"GET /api/status HTTP/1.1\r\nHost: evil.example\r\n\r\n"));
    assert!(code == 200 && text.contains("EVAL") && !text.contains("<k>"), "keys are the clients': {text}");
}
