//! Sentinel and HAProxy as they are commonly put together: three Sentinels, and a TCP check in HAProxy that keeps the node which calls
//! itself master.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{Client, Group, Home, LONG, Value, eventually, free_port, scratch_folder};

const VOTERS: usize = 3;

#[derive(Debug)]
pub struct Sentinels {
    children: Vec<Child>,
    home: Home,
    ports: Vec<u16>,
    listen: SocketAddr,
    folder: PathBuf,
}

impl Sentinels {
    #[track_caller]
    pub fn start(group: &Group, down_after: u64, home: Home) -> Self {
        let folder = scratch_folder("sentinel");
        let (ip, primary) = (home.ip, group.addresses()[group.primary()]);
        let ports: Vec<u16> = (0..VOTERS).map(|_| free_port()).collect();
        let mut children = Vec::new();
        for port in &ports {
            let file = folder.join(format!("sentinel-{port}.conf"));
            let text = format!(
                "port {port}\nbind {ip}\ndir {}\nlogfile {}\nsentinel monitor group {} {} 2\n\
                 sentinel down-after-milliseconds group {down_after}\nsentinel failover-timeout group 10000\n\
                 sentinel parallel-syncs group 1\nprotected-mode no\n",
                folder.display(),
                folder.join(format!("sentinel-{port}.log")).display(),
                primary.ip(),
                primary.port(),
            );
            fs::write(&file, text).expect("the temporary folder is writable");
            children.push(spawn(home.command("redis-server".as_ref()).arg(&file).arg("--sentinel")));
        }
        let listen = SocketAddr::from((home.ip, free_port()));
        let file = folder.join("haproxy.cfg");
        fs::write(&file, haproxy(listen, &group.addresses())).expect("the temporary folder is writable");
        children.push(spawn(home.command("haproxy".as_ref()).arg("-db").arg("-f").arg(&file)));
        let sentinels = Self { children, home, ports, listen, folder };
        let leader = group.addresses()[group.primary()];
        eventually(LONG, "Sentinels know each other and the group", || sentinels.is_whole(leader));
        eventually(LONG, "HAProxy serves", || {
            Client::try_connect(listen).is_ok_and(|mut client| client.try_cmd(&["PING"]).is_ok())
        });
        sentinels
    }

    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// `SENTINEL FAILOVER`, their planned change.
    #[track_caller]
    pub fn switch(&self) {
        let before = self.epoch();
        let answer = self.ask(0, "SENTINEL FAILOVER group");
        assert_eq!(answer, Some(Value::ok()));
        eventually(LONG, "another one leads", || self.epoch() > before);
    }

    pub fn epoch(&self) -> u64 {
        self.field(0, "config-epoch").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// All Sentinels name this primary, two replicas that are well, and each other.
    pub fn is_whole(&self, leader: SocketAddr) -> bool {
        (0..VOTERS).all(|voter| {
            self.field(voter, "port") == Some(leader.port().to_string())
                && self.field(voter, "flags").as_deref() == Some("master")
                && self.field(voter, "num-slaves").as_deref() == Some("2")
                && self.field(voter, "num-other-sentinels") == Some((VOTERS - 1).to_string())
        })
    }

    fn field(&self, voter: usize, name: &str) -> Option<String> {
        let answer = self.ask(voter, "SENTINEL MASTER group")?;
        let words: Vec<String> = answer.items().iter().filter_map(Value::text).collect();
        words.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone())
    }

    fn ask(&self, voter: usize, request: &str) -> Option<Value> {
        let address = SocketAddr::from((self.home.ip, self.ports[voter]));
        let words: Vec<&str> = request.split_whitespace().collect();
        Client::try_connect(address).ok()?.try_cmd(&words).ok()
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|fault| panic!("{command:?}: {fault}"))
}

/// The check of HAProxy's own documentation for Redis, each node asked ten times a second.
fn haproxy(listen: SocketAddr, nodes: &[SocketAddr]) -> String {
    let mut text = format!(
        "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 1h\n  timeout server 1h\n\
         frontend redis\n  bind {listen}\n  default_backend primary\n\
         backend primary\n  option tcp-check\n  tcp-check connect\n  tcp-check send PING\\r\\n\n  \
         tcp-check expect string +PONG\n  tcp-check send info\\ replication\\r\\n\n  tcp-check expect string role:master\n  \
         tcp-check send QUIT\\r\\n\n  tcp-check expect string +OK\n"
    );
    for (number, node) in nodes.iter().enumerate() {
        text.push_str(&format!(
            "  server node{number} {node} check inter 100ms fall 1 rise 1 on-marked-down shutdown-sessions\n"
        ));
    }
    text
}
