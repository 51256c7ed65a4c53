//! What is put to the test: a group of real servers behind Redhold, or behind Sentinel and HAProxy.

use std::net::SocketAddr;
use std::time::Duration;

use crate::ground::{Disks, Ground};
use crate::net::Net;
use crate::sentinel::Sentinels;
use crate::support::{
    Client, Group, Home, LONG, Proxy, ProxyOptions, ServerOptions, Value, eventually, eventually_some,
};

const NODES: usize = 3;

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
    pub const ALL: [Self; 4] = [Self::Redhold, Self::SemiSync, Self::Sentinel(1_000), Self::Sentinel(200)];

    pub fn is_ours(self) -> bool {
        !matches!(self, Self::Sentinel(_))
    }

    /// On the command line.
    pub fn word(self) -> String {
        match self {
            Self::Redhold => "async".to_owned(),
            Self::SemiSync => "semi_sync".to_owned(),
            Self::Sentinel(down_after) => format!("sentinel-{down_after}"),
        }
    }

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

/// A group with its keeper, on its ground.
#[derive(Debug)]
pub struct Rig {
    front: Front,
    pub group: Group,
    net: Option<Net>,
    disks: Option<Disks>,
}

impl Rig {
    /// Three nodes: for Redhold as `redhold dev` starts them, for Sentinel as its documentation has them, with the same settings but
    /// for the sealing, which it does not know.
    pub fn new(keeper: Keeper, ground: Ground) -> Self {
        let net = (ground == Ground::Namespaces).then(|| Net::new(NODES));
        let disks = Disks::new(ground, NODES);
        let node = |number: usize| {
            let options = match keeper {
                Keeper::Redhold | Keeper::SemiSync => ServerOptions::default(),
                Keeper::Sentinel(_) => {
                    ServerOptions::default().set("repl-timeout", "5").set("repl-diskless-sync-delay", "0")
                }
            };
            let options =
                if ground == Ground::AppendOnly { options.set("appendonly", "yes") } else { options };
            let options = match &net {
                Some(net) => options.at(net.node(number)),
                None => options,
            };
            match &disks {
                Some(disks) => disks.carry(number, options),
                None => options,
            }
        };
        let nodes = (0..NODES).map(node);
        let home = net.as_ref().map_or_else(Home::default, Net::proxy);
        let (group, front) = match keeper {
            Keeper::Redhold | Keeper::SemiSync => {
                let group =
                    if ground == Ground::Plain { Group::plain_of(nodes) } else { Group::sealed_of(nodes) };
                let proxy = redhold(keeper, ground, &group, home);
                (group, Front::Redhold(Box::new(proxy)))
            }
            Keeper::Sentinel(down_after) => {
                let group = Group::plain_of(nodes);
                let sentinels = Sentinels::start(&group, down_after, home);
                (group, Front::Sentinel(sentinels))
            }
        };
        Self { front, group, net, disks }
    }

    pub fn net(&mut self) -> &mut Net {
        self.net.as_mut().expect("the ground has namespaces")
    }

    pub fn disks(&self) -> &Disks {
        self.disks.as_ref().expect("the ground has disks")
    }

    /// Redhold.
    pub fn proxy(&self) -> Option<&Proxy> {
        match &self.front {
            Front::Redhold(proxy) => Some(proxy),
            Front::Sentinel(_) => None,
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
                proxy.switch_over();
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

    /// Full copies that the nodes which can be reached gave since they were started.
    pub fn full_copies(&self, unreachable: Option<usize>) -> u64 {
        let copies = |(_, address): (usize, &SocketAddr)| {
            let info = Client::try_connect(*address).ok()?.try_cmd(&["INFO", "stats"]).ok()?.text()?;
            info.lines().find_map(|line| line.strip_prefix("sync_full:")?.trim().parse::<u64>().ok())
        };
        let addresses = self.group.addresses();
        addresses.iter().enumerate().filter(|(node, _)| Some(*node) != unreachable).filter_map(copies).sum()
    }

    /// Takes away what earlier runs wrote, or each full copy would take longer than the one before.
    #[track_caller]
    pub fn clear(&self) {
        let mut client = self.group.nodes()[self.leader()].client();
        let replies = client.pipeline(&["MULTI", "FLUSHALL", "SET some data", "EXEC"]);
        assert_eq!(replies[3].items(), &[Value::ok(), Value::ok()]);
    }

    /// Waits until Redhold holds writes and says that it is for the brake, and returns how many changes of primary there were by then.
    #[track_caller]
    pub fn wait_braked(&self) -> u64 {
        let proxy = self.proxy().expect("Sentinel has no such brake");
        eventually_some(LONG, "the brake holds, and it is said", || {
            let status = proxy.status();
            let said =
                status["held"]["reason"].as_str().is_some_and(|reason| reason.contains("failover.burst"));
            (said && status["failovers_left"] == 0 && status["writable"] == false)
                .then(|| status["epoch"].as_u64().expect("a number"))
        })
    }

    /// A person decides that `node` leads.
    #[track_caller]
    pub fn force(&self, node: usize) {
        let proxy = self.proxy().expect("Sentinel takes no such order");
        proxy.force_failover(self.group.addresses()[node]);
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

fn redhold(keeper: Keeper, ground: Ground, group: &Group, home: Home) -> Proxy {
    let mut options = ProxyOptions::new(&group.addresses()).noticing_silence().at(home);
    options = match ground {
        // Requests that wait for the brake are to be told soon.
        Ground::Braked => options.set("failover.hold", "\"1s\""),
        _ => options.set("failover.burst", "100").set("failover.refill", "\"1s\""),
    };
    match keeper {
        Keeper::SemiSync => options.set("durability.mode", "\"semi_sync\"").start(),
        Keeper::Redhold | Keeper::Sentinel(_) => options.start(),
    }
}
