//! What a supervisor hears of a running proxy, as systemd would.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::{Group, LONG, ProxyOptions, Successor, free_port, scratch_folder, signal};

/// A socket such as systemd gives its services.
struct Ear {
    socket: UnixDatagram,
    folder: PathBuf,
    /// Every message, and how many lines of the last one were looked at.
    heard: Vec<String>,
    read: usize,
}

impl Ear {
    fn new() -> Self {
        let folder = scratch_folder("notify");
        let socket = UnixDatagram::bind(folder.join("notify")).expect("the temporary folder is writable");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time to wait");
        Self { socket, folder, heard: Vec::new(), read: 0 }
    }

    /// The proxy in front of these nodes, with this supervisor, which gives it a minute between two signs of life.
    fn of(&self, nodes: &[SocketAddr]) -> ProxyOptions {
        ProxyOptions::new(nodes)
            .variable("NOTIFY_SOCKET", self.folder.join("notify").to_str().expect("a plain name"))
            .variable("WATCHDOG_USEC", "60000000")
    }

    /// Reads on until a line begins so, and gives the message in which it stands: several things may be told in one.
    #[track_caller]
    fn hear(&mut self, begin: &str) -> String {
        let (mut bytes, deadline) = ([0; 4096], Instant::now() + LONG);
        loop {
            let last = self.heard.last().cloned().unwrap_or_default();
            let mut unread = last.lines().skip(self.read);
            let found = unread.position(|line| line.starts_with(begin));
            if let Some(position) = found {
                self.read += position + 1;
                return last;
            }
            match self.socket.recv(&mut bytes) {
                Ok(length) => {
                    self.heard.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
                    self.read = 0;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("the socket of the supervisor: {error}"),
            }
            assert!(Instant::now() < deadline, "no {begin} came, but {:?}", self.heard);
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_supervisor_hears_of_the_whole_life() {
    let (group, mut ear) = (Group::plain(1), Ear::new());
    let mut proxy = ear.of(&group.addresses()).set("proxy.drain_timeout", "\"7s\"").start_unready();
    ear.hear("READY=1");
    assert_eq!(proxy.http("GET", "/livez").map(|(code, _)| code), Some(200));
    let mut client = proxy.client();
    assert_eq!(client.call("PING").text().as_deref(), Some("PONG"));
    let primary = group.nodes()[group.primary()].address();
    ear.hear(&format!("STATUS=primary {primary}, epoch 1"));
    ear.hear("WATCHDOG=1");

    proxy.sighup();
    let reloading = ear.hear("RELOADING=1");
    let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let since: u64 = since.expect("when it began").parse().expect("microseconds");
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = u64::try_from(now.tv_sec).expect("after the start") * 1_000_000;
    assert!(now.abs_diff(since) < 120_000_000, "{since} is not now, {now}");
    ear.hear("READY=1");

    proxy.sigterm();
    let stopping = ear.hear("STOPPING=1");
    // As long as clients may take, and ten seconds for the rest.
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=17000000"), "{stopping}");
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert_eq!(ear.heard.iter().filter(|message| message.contains("READY=1")).count(), 2, "{:?}", ear.heard);
}

#[test]
fn whoever_takes_over_is_the_one_to_be_watched() {
    let (group, mut ear) = (Group::plain(1), Ear::new());
    let mut proxy = ear.of(&group.addresses()).start();
    let successor = Successor::of(proxy.pid(), &proxy);
    ear.hear(&format!("MAINPID={}", successor.pid));
    proxy.wait_exit();
    ear.heard.clear();
    ear.read = 0;
    // As the only one that is left, though the variable named the process before.
    ear.hear("WATCHDOG=1");
    ear.hear("WATCHDOG=1");
    signal(successor.pid, Signal::TERM);
    ear.hear("STOPPING=1");
}

#[test]
fn a_group_without_a_primary_is_served_to_a_supervisor() {
    let mut ear = Ear::new();
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let proxy = ear.of(&[nobody]).start_unready();
    ear.hear("READY=1");
    TcpStream::connect(proxy.address()).expect("it listens");
    ear.hear("STATUS=writes are held, epoch 0: ");
    // Twice, since the first might only say that it began.
    ear.hear("WATCHDOG=1");
    ear.hear("WATCHDOG=1");
}

#[test]
fn an_order_to_drain_and_to_reload_are_heard_as_well() {
    let (group, mut ear) = (Group::plain(1), Ear::new());
    let mut proxy = ear.of(&group.addresses()).start();
    ear.hear("READY=1");
    assert_eq!(proxy.http("POST", "/api/reload").map(|(code, _)| code), Some(200));
    ear.hear("RELOADING=1");
    ear.hear("READY=1");
    assert_eq!(proxy.http("POST", "/api/drain").map(|(code, _)| code), Some(202));
    ear.hear("STOPPING=1");
    assert_eq!(proxy.wait_exit().code(), Some(0));
}
