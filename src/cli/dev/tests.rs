use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `true`; fails after a time that no healthy machine needs.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn pid_of(port: u16) -> Option<u32> {
    let info = wire::ask(port, &["INFO", "server"]).ok()?;
    info.lines().find_map(|line| line.strip_prefix("process_id:"))?.trim().parse().ok()
}

fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_group_is_in_sync_and_leaves_nothing_behind() {
    let scratch = Scratch::create(None).unwrap();
    let dir = scratch.path().to_path_buf();
    let group = Group::start(Servers::find().unwrap(), scratch.path(), 2, |_| {}).unwrap();
    let pids: Vec<u32> = group.ports().iter().map(|&port| pid_of(port).unwrap()).collect();
    wire::ask(group.ports()[0], &["SET", "k", "v"]).unwrap();
    for &port in &group.ports()[1..] {
        until("the write reaches the replica", || {
            wire::ask(port, &["GET", "k"]).is_ok_and(|value| value == "v")
        });
        assert!(wire::ask(port, &["SET", "k", "w"]).unwrap_err().to_string().starts_with("READONLY"));
    }
    drop(group);
    assert!(pids.iter().all(|&pid| !lives(pid)), "{pids:?}");
    drop(scratch);
    assert!(!dir.exists());
}

#[test]
fn a_killed_node_comes_back_sealed_and_empty() {
    let scratch = Scratch::create(None).unwrap();
    let (events, seen) = mpsc::channel();
    let group =
        Group::start(Servers::find().unwrap(), scratch.path(), 1, move |event| drop(events.send(event)))
            .unwrap();
    let port = group.ports()[0];
    wire::ask(port, &["SET", "k", "v"]).unwrap();
    let old = pid_of(port).unwrap();
    group.kill(port).unwrap();
    let how = "signal: 9 (SIGKILL)".to_owned();
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), NodeEvent::Ended { port, how });
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), NodeEvent::Restarted { port });
    until("it answers again", || pid_of(port).is_some());
    assert_ne!(pid_of(port), Some(old));
    let info = wire::ask(port, &["INFO", "replication"]).unwrap();
    assert!(info.contains("role:slave") && info.contains("master_port:0"), "{info}");
    assert_eq!(wire::ask(port, &["DBSIZE"]).unwrap(), "0");
}

#[test]
fn a_taken_port_leads_to_the_next() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let free = ports::next_free(taken).unwrap();
    assert_eq!(free.ip(), taken.ip());
    assert!(free.port() > taken.port());
    let elsewhere: SocketAddr = "192.0.2.1:6380".parse().unwrap();
    assert!(ports::next_free(elsewhere).unwrap_err().contains("192.0.2.1:6380"));
}

#[test]
fn a_directory_without_owner_is_swept_and_one_with_owner_is_not() {
    let parent = Scratch::create(None).unwrap();
    let orphan = parent.path().join("redhold-dev-1-0");
    std::fs::create_dir(&orphan).unwrap();
    std::fs::write(orphan.join("owner.lock"), "").unwrap();
    let foreign = parent.path().join("redhold-dev-notes");
    std::fs::create_dir(&foreign).unwrap();
    let first = Scratch::create(Some(parent.path())).unwrap();
    let second = Scratch::create(Some(parent.path())).unwrap();
    assert!(!orphan.exists() && foreign.exists() && first.path().exists() && second.path().exists());
    assert_ne!(first.path(), second.path());
}
