use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::process::Signal as Process;

use super::super::Credentials;
use super::super::testing::{PATIENCE, Server, eventually};
use super::*;
use crate::net::SocketOptions;
use crate::topology::{Address, Marks, NodeId};

const NODE: NodeId = NodeId(0);

struct Watched {
    heard: mpsc::Receiver<Heard>,
    pace: watch::Sender<Pace>,
    marks: Arc<Marks>,
}

impl Watched {
    fn start(address: Address, password: &str) -> Self {
        Self::start_with_interval(address, password, Duration::from_millis(20))
    }

    fn start_with_interval(address: Address, password: &str, interval: Duration) -> Self {
        let marks = Arc::new(Marks::new(Instant::now()));
        let dial = Dial {
            node: NODE,
            address,
            credentials: Credentials { username: String::new(), password: password.to_owned() },
            name: "redhold:control:1".into(),
            options: SocketOptions::default(),
            tls: None,
            marks: marks.clone(),
        };
        let beat = Beat { interval, timeout: Duration::from_secs(2) };
        let (pace, paces) = watch::channel(Pace::Ordinary);
        let (sink, heard) = mpsc::channel(16);
        let identity = Identity { instance: "1".into() };
        tokio::spawn(watch_node(dial, identity, beat, paces, sink));
        Self { heard, pace, marks }
    }

    async fn next(&mut self) -> Heard {
        tokio::time::timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap()
    }

    async fn look(&mut self) -> Look {
        loop {
            if let Heard::Look(look) = self.next().await {
                return look;
            }
        }
    }

    async fn look_that(&mut self, wanted: impl Fn(&Health) -> bool) -> Look {
        loop {
            let look = self.look().await;
            if wanted(&look.observation.health) {
                return look;
            }
        }
    }
}

fn answered(health: &Health) -> bool {
    matches!(health, Health::Answered(_))
}

fn down(health: &Health) -> bool {
    matches!(health, Health::Down(_))
}

fn silent(health: &Health) -> bool {
    matches!(health, Health::Silent)
}

fn redis(more: &[&[&str]]) -> Server {
    Server::start(Path::new("redis-server"), more)
}

#[tokio::test]
async fn a_healthy_node_is_looked_at_on_one_connection() {
    let server = redis(&[]);
    let mut watched = Watched::start(server.address(), "");
    let mut last = None;
    for _ in 0..20 {
        let look = watched.look().await;
        let Health::Answered(facts) = look.observation.health else { panic!("{look:?}") };
        assert_eq!((facts.port, look.error), (server.port, None));
        assert!(look.ping.unwrap() < PATIENCE && Some(look.observation.at) > last);
        last = Some(look.observation.at);
    }
    assert_eq!(server.say("CLIENT LIST").matches("name=redhold:control").count(), 1);
}

#[tokio::test]
async fn a_killed_node_is_refused_three_times_at_once() {
    let mut server = redis(&[]);
    let mut watched = Watched::start(server.address(), "");
    watched.look_that(answered).await;
    let killed = Instant::now();
    server.kill();
    let mut refusals = Vec::new();
    while refusals.len() < 3 {
        let look = watched.look().await;
        match look.observation.health {
            Health::Down(_) => refusals.push(look.observation.at),
            _ => assert!(refusals.is_empty(), "{look:?}"),
        }
    }
    assert!(refusals[2] - refusals[0] >= Duration::from_millis(10));
    println!("kill -9 to the third refusal: {:?}", refusals[2] - killed);
    assert!(refusals[2] - killed < Duration::from_secs(1));
}

#[tokio::test]
async fn a_broken_connection_hastens_the_next_look() {
    let mut server = redis(&[]);
    let mut watched = Watched::start_with_interval(server.address(), "", PATIENCE * 10);
    watched.look_that(answered).await;
    server.say("CLIENT KILL TYPE normal");
    watched.look_that(answered).await;
    server.kill();
    watched.look_that(down).await;
}

#[tokio::test]
async fn a_stopped_node_is_silent_until_it_goes_on() {
    let server = redis(&[]);
    let mut watched = Watched::start(server.address(), "");
    watched.look_that(answered).await;
    server.signal(Process::STOP);
    for _ in 0..40 {
        let look = watched.look_that(|health| !answered(health)).await;
        assert!(silent(&look.observation.health), "{look:?}");
    }
    server.signal(Process::CONT);
    watched.look_that(answered).await;
    for _ in 0..50 {
        watched.look_that(answered).await;
    }
    let connections = server.say("CLIENT LIST").matches("name=redhold:control").count();
    assert!((1..=PROBES_MAX).contains(&connections), "{connections}");
}

#[tokio::test]
async fn a_closed_connection_is_no_death() {
    let server = redis(&[]);
    let mut watched = Watched::start(server.address(), "");
    watched.look_that(answered).await;
    for _ in 0..10 {
        server.say("CLIENT KILL TYPE normal");
        let look = watched.look().await;
        assert!(answered(&look.observation.health), "{look:?}");
    }
}

#[tokio::test]
async fn marks_of_the_data_path_become_signals() {
    let server = redis(&[]);
    let mut watched = Watched::start(server.address(), "");
    watched.look_that(answered).await;
    watched.marks.of(NODE).losses.fetch_add(2, Ordering::Relaxed);
    wait_for_signal(&mut watched, &Signal::Lost).await;

    server.signal(Process::STOP);
    watched.look_that(silent).await;
    watched.marks.of(NODE).long_requests.store(1, Ordering::Relaxed);
    wait_for_signal(&mut watched, &Signal::LongRequest(true)).await;
    let heard = Instant::now() + Duration::from_millis(2);
    watched.marks.heard(NODE, heard);
    let at = watched.marks.instant(watched.marks.millis(heard));
    assert!(at <= heard && heard - at < Duration::from_millis(1));
    wait_for_signal(&mut watched, &Signal::Alive { at }).await;
    server.signal(Process::CONT);
    wait_for_signal(&mut watched, &Signal::LongRequest(false)).await;
}

#[tokio::test]
async fn a_pause_that_a_client_ordered_is_told_once() {
    let server = redis(&[]);
    let mut watched = Watched::start(server.address(), "");
    watched.look_that(answered).await;
    let until = watched.marks.millis(Instant::now()) + 3_600_000;
    watched.marks.of(NODE).paused_until_ms.store(until, Ordering::Relaxed);
    let mut told = Vec::new();
    for _ in 0..20 {
        if let Heard::Signal(NODE, signal) = watched.next().await {
            told.push(signal);
        }
    }
    let [Signal::Paused(left)] = told[..] else { panic!("{told:?}") };
    assert!(left > Duration::from_secs(3000) && left <= Duration::from_secs(3600), "{left:?}");
}

async fn wait_for_signal(watched: &mut Watched, wanted: &Signal) {
    loop {
        if let Heard::Signal(NODE, signal) = watched.next().await {
            assert_eq!(&signal, wanted);
            return;
        }
    }
}

#[tokio::test]
async fn a_refusal_carries_the_nodes_words() {
    let server = redis(&[&["requirepass", "secret"]]);
    let look = Watched::start(server.address(), "wrong").look().await;
    let Health::Refused(text) = look.observation.health else { panic!("{look:?}") };
    assert!(text.starts_with("WRONGPASS"), "{text}");
    let look = Watched::start(server.address(), "").look().await;
    assert!(
        matches!(&look.observation.health, Health::Refused(text) if text.starts_with("NOAUTH")),
        "{look:?}"
    );
}

#[tokio::test]
async fn the_fast_pace_is_fast_and_ends() {
    let server = redis(&[]);
    let mut watched = Watched::start(server.address(), "");
    watched.look_that(answered).await;
    watched.pace.send(Pace::Fast).unwrap();
    let start = Instant::now();
    for _ in 0..40 {
        watched.look_that(answered).await;
    }
    let fast = start.elapsed();
    watched.pace.send(Pace::Ordinary).unwrap();
    let start = Instant::now();
    for _ in 0..40 {
        watched.look_that(answered).await;
    }
    assert!(fast < start.elapsed(), "fast {fast:?}, ordinary {:?}", start.elapsed());
}

#[tokio::test]
async fn nobody_at_the_address_is_down_from_the_first_look() {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut watched = Watched::start(Address { host: "127.0.0.1".into(), port }, "");
    for _ in 0..20 {
        let look = watched.look().await;
        assert!(down(&look.observation.health), "{look:?}");
    }
}

/// Where the clients of a node are not shown, other brains can only be listened for: until then nothing is told.
#[tokio::test]
async fn a_node_that_hides_its_clients_is_listened_to_first() {
    let server = redis(&[]);
    server.say("ACL SETUSER default -client|list");
    let start = Instant::now();
    Watched::start(server.address(), "").look_that(answered).await;
    assert!(start.elapsed() >= LISTEN_FIRST, "{:?}", start.elapsed());
}

/// Somebody who stays is found again, so that whoever observes because of him goes on to.
#[tokio::test]
async fn a_brain_that_stays_is_found_again() {
    let server = redis(&[]);
    let mut sentinel = std::net::TcpStream::connect(("127.0.0.1", server.address().port)).unwrap();
    let mut say = move |line: &str| std::io::Write::write_all(&mut sentinel, line.as_bytes()).unwrap();
    say("CLIENT SETNAME sentinel-0123abcd-cmd\r\n");
    eventually("the name is known", || server.say("CLIENT LIST").contains("name=sentinel-"));
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let pings = std::thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(500)).is_err() {
            say("PING\r\n");
        }
    });
    let mut watched = Watched::start(server.address(), "");
    for _ in 0..2 {
        while !matches!(watched.next().await, Heard::OtherBrain(brain) if brain == "Sentinel 0123abcd") {}
    }
    stop.send(()).unwrap();
    pings.join().unwrap();
}

#[tokio::test]
async fn a_node_whose_name_moves_is_looked_at_where_it_is_now() {
    let server = redis(&[&["bind", "127.0.0.1", "127.0.0.2"]]);
    let seen_at = |address: &str| {
        let clients = server.say("CLIENT LIST");
        let ours = clients.lines().filter(|line| line.contains("name=redhold:control")).collect::<Vec<_>>();
        !ours.is_empty() && ours.iter().all(|line| line.contains(&format!("laddr={address}:")))
    };
    crate::net::moving::name_leads_to("watched.test", [127, 0, 0, 1]);
    let address = Address { host: "watched.test".into(), port: server.port };
    let mut watched = Watched::start(address, "");
    watched.look_that(answered).await;
    assert!(seen_at("127.0.0.1"));
    crate::net::moving::name_leads_to("watched.test", [127, 0, 0, 2]);
    server.say("CLIENT KILL TYPE normal");
    let moved = Instant::now();
    while !seen_at("127.0.0.2") {
        watched.look_that(answered).await;
        assert!(moved.elapsed() < PATIENCE);
    }
}
