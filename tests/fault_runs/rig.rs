//! What is put to the test: a group of real servers behind Redhold, or behind Sentinel and HAProxy.

use std::net::SocketAddr;
use std::time::Duration;

use crate::sentinel::Sentinels;
use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, ServerOptions, eventually};

/// Who keeps the group alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    Redhold,
    /// With `durability.mode = "semi_sync"`.
    SemiSync,
    /// Three Sentinels with this `down-after-milliseconds`, and HAProxy, which asks each node for its role.
    Sentinel(u64),
}

impl Keeper {
    pub fn name(self) -> String {
        match self {
            Self::Redhold => "Redhold".to_owned(),
            Self::SemiSync => "Redhold, semi_sync".to_owned(),
            Self::Sentinel(down_after) => format!("Sentinel ({down_after} ms) and HAProxy"),
        }
    }
}

#[derive(Debug)]
enum Front {
    Redhold(Box<Proxy>),
    Sentinel(Sentinels),
}

/// A group with its keeper.
#[derive(Debug)]
pub struct Rig {
    pub group: Group,
    front: Front,
}

impl Rig {
    /// Three nodes: for Redhold as `redhold dev` starts them, for Sentinel as its documentation has them, with the same settings but
    /// for the sealing, which it does not know.
    pub fn new(keeper: Keeper) -> Self {
        let options = ServerOptions::default().set("repl-timeout", "5").set("repl-diskless-sync-delay", "0");
        match keeper {
            Keeper::Redhold | Keeper::SemiSync => {
                let group = Group::sealed(2);
                let options = ProxyOptions::new(&group.addresses())
                    .set("failover.burst", "100")
                    .set("failover.refill", "\"1s\"");
                let options = match keeper {
                    Keeper::SemiSync => options.set("durability.mode", "\"semi_sync\""),
                    Keeper::Redhold | Keeper::Sentinel(_) => options,
                };
                let proxy = Box::new(options.start());
                Self { group, front: Front::Redhold(proxy) }
            }
            Keeper::Sentinel(down_after) => {
                let group = Group::plain_with(2, &options);
                let sentinels = Sentinels::start(&group, down_after);
                Self { group, front: Front::Sentinel(sentinels) }
            }
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        match &self.front {
            Front::Redhold(proxy) => proxy.address(),
            Front::Sentinel(sentinels) => sentinels.address(),
        }
    }

    /// Orders another primary.
    pub fn switch(&self) {
        match &self.front {
            Front::Redhold(proxy) => {
                let (status, body) =
                    proxy.http_with_body("POST", "/api/switchover", "").expect("the admin page answers");
                assert_eq!(status, 200, "{body}");
            }
            Front::Sentinel(sentinels) => sentinels.switch(),
        }
    }

    /// Changes of primary so far.
    pub fn epoch(&self) -> u64 {
        match &self.front {
            Front::Redhold(proxy) => proxy.status()["epoch"].as_u64().expect("a number"),
            Front::Sentinel(sentinels) => sentinels.epoch(),
        }
    }

    /// Full copies that the nodes which run gave since they were started.
    pub fn full_copies(&self) -> u64 {
        let copies = |address: &SocketAddr| {
            let info = Client::try_connect(*address).ok()?.try_cmd(&["INFO", "stats"]).ok()?.text()?;
            info.lines().find_map(|line| line.strip_prefix("sync_full:")?.trim().parse::<u64>().ok())
        };
        self.group.addresses().iter().filter_map(copies).sum()
    }

    /// The node that leads, once one does and the keeper says the same.
    pub fn leader(&self) -> usize {
        eventually(LONG, "one node leads", || self.group.primaries().len() == 1);
        self.group.primary()
    }

    /// Waits until everybody follows the leader and could take over.
    pub fn settle(&self) {
        eventually(Duration::from_secs(120), "the group is whole", || {
            let primaries = self.group.primaries();
            primaries.len() == 1 && self.is_whole(primaries[0])
        });
        self.group.wait_in_sync(self.group.primary());
    }

    fn is_whole(&self, leader: usize) -> bool {
        match &self.front {
            Front::Redhold(proxy) => {
                let status = proxy.status();
                let well = |node: &serde_json::Value| node["up"] == true && node["ineligible"].is_null();
                status["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(well))
                    && status["primary"] == self.group.addresses()[leader].to_string()
                    && status["writable"] == true
            }
            Front::Sentinel(sentinels) => sentinels.is_whole(self.group.addresses()[leader]),
        }
    }
}
