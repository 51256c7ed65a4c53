//! Faults under that load, and the verdict on what the clients saw.

use std::net::SocketAddr;
use std::time::Duration;

use crate::history::with_a_stale_read;
use crate::judge::judge;
use crate::load::{Account, CLIENTS, Load};
use crate::support::{Group, LONG, Proxy, ProxyOptions, Relay, Value, eventually};

/// Writes before a stroke, and after it.
const WRITES: u64 = 500;
/// How long a stopped primary stays stopped: longer than it takes to be replaced.
const STOPPED: Duration = Duration::from_secs(3);

/// Once, or as often as `RUNS` says.
fn runs() -> u32 {
    std::env::var("RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

struct Rig {
    group: Group,
    /// Through which each node is followed by the others.
    lines: Vec<Relay>,
    proxy: Proxy,
}

impl Rig {
    fn new(reads: &str) -> Self {
        let group = Group::sealed(2);
        let lines: Vec<Relay> = group.addresses().into_iter().map(Relay::to).collect();
        let node = |(address, line): (&SocketAddr, &Relay)| {
            format!(r#"{{ address = "{address}", peer_address = "{}" }}"#, line.address())
        };
        let nodes: Vec<String> = group.addresses().iter().zip(&lines).map(node).collect();
        for replica in &group.nodes()[1..] {
            let order = format!("REPLICAOF 127.0.0.1 {}", lines[0].address().port());
            assert_eq!(replica.call(&order), Value::ok());
        }
        let proxy = ProxyOptions::new(&[])
            .noticing_silence()
            .set("backend.nodes", &format!("[{}]", nodes.join(", ")))
            .set("durability.mode", "\"semi_sync\"")
            .set("durability.reads", &format!("\"{reads}\""))
            .set("failover.in_flight", "\"error\"")
            .set("failover.burst", "100")
            .set("failover.refill", "\"1s\"")
            .start();
        Self { group, lines, proxy }
    }

    /// Waits until every node but the leader could take its place, and writes go.
    fn settle(&self) {
        eventually(Duration::from_secs(120), "the group is whole", || {
            let status = self.proxy.status();
            let well = |node: &serde_json::Value| node["up"] == true && node["ineligible"].is_null();
            status["writable"] == true
                && status["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(well))
        });
    }

    fn epoch(&self) -> u64 {
        self.proxy.status()["epoch"].as_u64().expect("a number")
    }

    /// The load through one stroke at the leader, until it goes on well with another one. What clients saw.
    fn play(&mut self, run: u32, stroke: &impl Fn(&mut Self, &Load, usize)) -> Account {
        self.settle();
        let (leader, epoch) = (self.group.primary(), self.epoch());
        let load = Load::start(self.proxy.address(), run);
        eventually(LONG, "writes are acknowledged", || load.written() >= WRITES);
        stroke(self, &load, leader);
        eventually(LONG, "somebody else leads", || self.epoch() > epoch);
        let before = load.written();
        eventually(LONG, "writes are acknowledged again", || load.written() >= before + WRITES);
        let account = load.finish();
        assert_eq!(account.unexpected, Vec::<String>::new(), "run {run}");
        account
    }
}

fn is_one_copy_through(fault: &str, stroke: impl Fn(&mut Rig, &Load, usize)) {
    let mut rig = Rig::new("committed");
    for run in 1..=runs() {
        let Account { history, refused, .. } = rig.play(run, &stroke);
        let planted = with_a_stale_read(&history).expect("a read long after two writes");
        assert!(judge(&planted).is_err(), "{fault}, run {run} is void: a stale read is not seen");
        assert_eq!(judge(&history), Ok(()), "{fault}, run {run}");
        println!("{fault}, run {run}: {} operations, {} refused", history.len(), refused.len());
        for index in 0..rig.group.nodes().len() {
            if rig.group.node(index).has_exited() {
                rig.group.node(index).restart();
            }
            rig.lines[index].resume();
        }
    }
}

fn kill(rig: &mut Rig, _: &Load, leader: usize) {
    rig.group.node(leader).kill9();
}

fn stop_and_go_on(rig: &mut Rig, _: &Load, leader: usize) {
    rig.group.node(leader).sigstop();
    std::thread::sleep(STOPPED);
    rig.group.node(leader).sigcont();
}

fn switch(rig: &mut Rig, _: &Load, _: usize) {
    let (status, body) = rig.proxy.http("POST", "/api/switchover").expect("the admin page answers");
    assert_eq!(status, 200, "{body}");
}

/// Nobody follows the leader any more; it goes on to execute, and dies with what nobody else has.
fn kill_unfollowed(rig: &mut Rig, load: &Load, leader: usize) {
    rig.lines[leader].stall();
    eventually(LONG, "writes are not held by enough", || load.unsure() > 0);
    let before = load.replies();
    eventually(LONG, "everybody reads", || load.replies() >= before + 10 * CLIENTS as u64);
    rig.group.node(leader).kill9();
    rig.lines[leader].cut();
}

#[test]
fn one_copy_is_seen_through_a_kill_of_the_primary() {
    is_one_copy_through("kill -9", kill);
}

#[test]
fn one_copy_is_seen_through_a_primary_that_stops_and_goes_on() {
    is_one_copy_through("SIGSTOP", stop_and_go_on);
}

#[test]
fn one_copy_is_seen_through_a_planned_change() {
    is_one_copy_through("switchover", switch);
}

#[test]
fn one_copy_is_seen_through_the_loss_of_what_nobody_else_had() {
    is_one_copy_through("kill -9, unfollowed", kill_unfollowed);
}

/// The same loss where reads do not wait: what was seen and is gone is found.
#[test]
fn a_loss_that_clients_saw_is_found() {
    let account = Rig::new("uncommitted").play(1, &kill_unfollowed);
    assert!(judge(&account.history).is_err());
}
