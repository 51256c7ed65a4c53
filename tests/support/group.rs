//! A primary and its replicas.

use std::iter::repeat_n;
use std::net::SocketAddr;

use super::client::Client;
use super::server::{Server, ServerOptions};
use super::value::Value;
use super::wait::{LONG, eventually, eventually_some};

/// Where a boot-sealed node believes its primary to be: nowhere.
const SEAL: &str = "127.0.0.1 0";

/// Real servers that replicate. The first one was the primary when the group was made.
#[derive(Debug)]
pub struct Group {
    nodes: Vec<Server>,
}

impl Group {
    /// One primary and `replicas` replicas, in sync, with roles set at run time: a node that is started again
    /// comes back as a primary of its own, as plain servers do.
    #[track_caller]
    pub fn plain(replicas: usize) -> Self {
        Self::plain_with(replicas, &ServerOptions::default())
    }

    /// As `plain`, with a version or settings.
    #[track_caller]
    pub fn plain_with(replicas: usize, options: &ServerOptions) -> Self {
        Self::plain_of(repeat_n(options.clone(), replicas + 1))
    }

    /// As `plain`, each node with settings of its own.
    #[track_caller]
    pub fn plain_of(options: impl IntoIterator<Item = ServerOptions>) -> Self {
        let group = Self { nodes: options.into_iter().map(ServerOptions::start).collect() };
        group.follow_first();
        group
    }

    /// As `plain`, but every node boots sealed: started again it follows nobody and accepts no write.
    #[track_caller]
    pub fn sealed(replicas: usize) -> Self {
        Self::sealed_of(repeat_n(ServerOptions::default(), replicas + 1))
    }

    /// As `sealed`, each node with settings of its own.
    #[track_caller]
    pub fn sealed_of(options: impl IntoIterator<Item = ServerOptions>) -> Self {
        let sealed = options.into_iter().map(|options| options.set("replicaof", SEAL).start());
        let group = Self { nodes: sealed.collect() };
        assert_eq!(group.nodes[0].call("REPLICAOF NO ONE"), Value::ok());
        group.follow_first();
        group
    }

    /// Empty nodes that boot sealed, none of which leads yet.
    #[track_caller]
    pub fn sealed_fresh(replicas: usize) -> Self {
        let options = ServerOptions::default().set("replicaof", SEAL);
        Self { nodes: (0..=replicas).map(|_| options.clone().start()).collect() }
    }

    /// All nodes, in the order of their declaration.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// One node, to kill or to stop.
    pub fn node(&mut self, index: usize) -> &mut Server {
        &mut self.nodes[index]
    }

    /// The addresses, in the order of their declaration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Server::public).collect()
    }

    /// Indexes of the reachable nodes that say that they are primary.
    pub fn primaries(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&index| role(self.nodes[index].address()).as_deref() == Some("master"))
            .collect()
    }

    /// The index of the one primary, as soon as exactly one node says so. On a crowded machine the one that does may be late to say it.
    #[track_caller]
    pub fn primary(&self) -> usize {
        eventually_some(LONG, "one node says that it leads", || match self.primaries()[..] {
            [primary] => Some(primary),
            _ => None,
        })
    }

    /// Waits until every node but `primary` follows it, link up, offset equal.
    #[track_caller]
    pub fn wait_in_sync(&self, primary: usize) {
        for index in (0..self.nodes.len()).filter(|&index| index != primary) {
            self.wait_following(index, primary);
        }
    }

    /// Waits until node `replica` follows node `primary`: link up, offset equal, and the primary streams to it. A
    /// primary may believe in a transfer long after the replica has loaded it, and sends nothing until it knows.
    #[track_caller]
    pub fn wait_following(&self, replica: usize, primary: usize) {
        let (replica, primary) = (&self.nodes[replica], &self.nodes[primary]);
        // What moves the offset and changes no data: equal offsets then say that the stream flows.
        primary.call("PUBLISH kit:in-sync x");
        eventually(LONG, &format!("{} follows {}", replica.port(), primary.port()), || {
            let Some(view) = info_replication(replica.address()) else { return false };
            let Some(truth) = info_replication(primary.address()) else { return false };
            let field = |text: &str, name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned))
            };
            let streamed = format!("port={},state=online", replica.public().port());
            truth.contains(&streamed)
                && field(&view, "master_link_status").as_deref() == Some("up")
                && field(&view, "master_port") == Some(primary.public().port().to_string())
                && field(&view, "master_replid") == field(&truth, "master_replid")
                && field(&view, "master_repl_offset") == field(&truth, "master_repl_offset")
        });
    }

    /// Makes node 1 lead and node 0 follow it, with all that node 0 has, and behind the back of any proxy.
    #[track_caller]
    pub fn exchange(&self) {
        self.wait_in_sync(0);
        let (old, new) = (&self.nodes[0], &self.nodes[1]);
        assert_eq!(new.call("REPLICAOF NO ONE"), Value::ok());
        assert_eq!(old.call(&following(new)), Value::ok());
        self.wait_following(0, 1);
    }

    #[track_caller]
    fn follow_first(&self) {
        let order = following(&self.nodes[0]);
        for replica in &self.nodes[1..] {
            assert_eq!(replica.call(&order), Value::ok());
        }
        self.wait_in_sync(0);
    }
}

/// The order to follow a node.
fn following(node: &Server) -> String {
    format!("REPLICAOF {} {}", node.public().ip(), node.public().port())
}

/// What ROLE says first, or `None` when the node does not answer.
pub fn role(address: SocketAddr) -> Option<String> {
    let mut client = Client::try_connect(address).ok()?;
    client.set_read_timeout(std::time::Duration::from_secs(2));
    client.try_cmd(&["ROLE"]).ok()?.items().first()?.text()
}

fn info_replication(address: SocketAddr) -> Option<String> {
    Client::try_connect(address).ok()?.try_cmd(&["INFO", "replication"]).ok()?.text()
}
