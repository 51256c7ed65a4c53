//! Names that stand for several nodes, `dns:name:port`: looked up before the start, and again while the proxy runs.
//!
//! The list of nodes stays what it was at the start: a name that comes to stand for others is told, and a restart takes that up.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::topology::{Address, NodeSpec};

use super::Settings;

/// More addresses of one name are a mistake in the name.
const ADDRESSES_MAX: usize = 16;

/// At the start a name is waited for so long: a group that is started together with the proxy has its addresses later.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks while it is waited for.
const AGAIN: Duration = Duration::from_secs(1);

/// Between two looks while the proxy runs.
const LOOK: Duration = Duration::from_secs(30);

/// An element of `backend.nodes` that is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName {
    /// Where it stands in the list, and for how the nodes in its place are declared, but for their addresses.
    pub position: usize,
    /// It is waited until it has so many addresses, at least 1.
    pub expect: usize,
    /// The name, and the port of all its nodes.
    pub address: Address,
    /// What it stood for at the start.
    found: BTreeSet<IpAddr>,
}

impl NodeName {
    /// A name that was not looked up yet.
    #[must_use]
    pub fn new(position: usize, expect: usize, address: Address) -> Self {
        Self { position, expect, address, found: BTreeSet::new() }
    }

    /// Why these addresses are not what was asked for; `None`: they are.
    fn fault(&self, seen: &io::Result<BTreeSet<IpAddr>>) -> Option<String> {
        let name = &self.address;
        match seen {
            Err(error) => Some(format!("dns:{name} does not resolve: {error}")),
            Ok(seen) if seen.len() > ADDRESSES_MAX => {
                Some(format!("dns:{name} stands for {} addresses, {ADDRESSES_MAX} is the most", seen.len()))
            }
            Ok(seen) if seen.len() < self.expect => {
                Some(format!("dns:{name} stands for {} addresses, {} are expected", seen.len(), self.expect))
            }
            Ok(_) => None,
        }
    }

    /// What has changed since the start. A resolver that fails says nothing about the nodes.
    fn moved(&self, seen: &io::Result<BTreeSet<IpAddr>>) -> Option<String> {
        let seen = seen.as_ref().ok().filter(|seen| **seen != self.found)?;
        let list = |addresses: Vec<String>| match addresses.len() {
            0 => "nothing".to_owned(),
            _ => addresses.join(", "),
        };
        let only =
            |these: &BTreeSet<IpAddr>, others| these.difference(others).map(ToString::to_string).collect();
        Some(format!(
            "dns:{} has come to stand for {} and no longer stands for {}; a restart of the proxy takes that up",
            self.address,
            list(only(seen, &self.found)),
            list(only(&self.found, seen)),
        ))
    }
}

impl Settings {
    /// Puts the nodes that names stand for in their places. Blocks, for a minute at most while a name has too few addresses.
    ///
    /// # Errors
    /// A sentence with the name and what is wrong with it.
    pub fn find_nodes(&mut self) -> Result<(), String> {
        let by = Instant::now() + PATIENCE;
        self.find_nodes_with(look_up, || {
            let goes_on = Instant::now() + AGAIN <= by;
            if goes_on {
                std::thread::sleep(AGAIN);
            }
            goes_on
        })
    }

    /// The same by one look, for who wants to know what is there now.
    ///
    /// # Errors
    /// As [`Self::find_nodes`].
    pub fn look_for_nodes(&mut self) -> Result<(), String> {
        self.find_nodes_with(look_up, || false)
    }

    fn find_nodes_with(
        &mut self,
        mut resolve: impl FnMut(&Address) -> io::Result<BTreeSet<IpAddr>>,
        mut wait: impl FnMut() -> bool,
    ) -> Result<(), String> {
        for name in &mut self.names {
            let mut told = String::new();
            loop {
                let seen = resolve(&name.address);
                let Some(fault) = name.fault(&seen) else {
                    name.found = seen.unwrap_or_default();
                    break;
                };
                if !wait() {
                    return Err(format!("backend.nodes[{}]: {fault}", name.position));
                }
                if told != fault {
                    tracing::warn!("backend.nodes[{}]: {fault}; it is waited for", name.position);
                    told = fault;
                }
            }
        }
        self.nodes = expanded(&self.nodes, &self.names);
        self.suffice()
    }

    /// What could not be checked before it was known how many nodes the names stand for.
    fn suffice(&self) -> Result<(), String> {
        let (replicas, nodes) = (self.durability.replicas, self.nodes.len());
        if self.durability.strictest().needs_replicas() && replicas as usize >= nodes {
            return Err(format!(
                "durability.replicas: {replicas} replicas can not acknowledge where backend.nodes stand for {nodes}, one \
                 of which is the primary"
            ));
        }
        Ok(())
    }
}

/// The nodes with those of each name in its place, in the order of their addresses; one that was there before is not there twice.
fn expanded(declared: &[NodeSpec], names: &[NodeName]) -> Vec<NodeSpec> {
    let mut nodes: Vec<NodeSpec> = Vec::new();
    for (position, spec) in declared.iter().enumerate() {
        let hosts = match names.iter().find(|name| name.position == position) {
            Some(name) => name.found.iter().map(|ip| Arc::from(ip.to_string())).collect(),
            None => vec![spec.address.host.clone()],
        };
        for host in hosts {
            let address = Address { host, port: spec.address.port };
            if !nodes.iter().any(|node| node.address == address) {
                nodes.push(NodeSpec { address, ..spec.clone() });
            }
        }
    }
    nodes
}

/// The addresses that a name has now.
fn look_up(name: &Address) -> io::Result<BTreeSet<IpAddr>> {
    let found = (&*name.host, name.port).to_socket_addrs()?;
    Ok(of_one_kind(found.map(|address| address.ip()).collect()))
}

/// Where there are some of IPv4 only those count: a machine with both is one node.
fn of_one_kind(all: BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let of_v4: BTreeSet<IpAddr> = all.iter().copied().filter(IpAddr::is_ipv4).collect();
    if of_v4.is_empty() { all } else { of_v4 }
}

/// Looks again for as long as it is awaited, and tells what has changed, one sentence a name.
pub(super) async fn keep_looking(names: Vec<NodeName>, moved: watch::Sender<Arc<[String]>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let looked_at = names.clone();
        let look = move || looked_at.iter().filter_map(|name| name.moved(&look_up(&name.address))).collect();
        let seen: Vec<String> = match tokio::task::spawn_blocking(look).await {
            Ok(seen) => seen,
            Err(error) => return tracing::error!(%error, "names of nodes are looked up no more"),
        };
        if **moved.borrow() != *seen {
            seen.iter().for_each(|sentence| tracing::warn!("{sentence}"));
            moved.send_replace(seen.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durability::Level;

    fn node(address: &str) -> NodeSpec {
        let address = address.parse().unwrap();
        NodeSpec { address, peer_address: None, zone: "z".to_owned(), priority: 7 }
    }

    fn addresses(list: &[&str]) -> BTreeSet<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    /// `a:1`, then a name of which three addresses are expected, then what may be one of them.
    fn settings() -> Settings {
        let nodes = vec![node("a:1"), node("redis:6379"), node("10.0.0.2:6379")];
        let names = vec![NodeName::new(1, 3, nodes[1].address.clone())];
        Settings { nodes, names, ..Settings::default() }
    }

    #[test]
    fn a_name_is_waited_for_until_it_has_as_many_addresses_as_are_expected() {
        let mut settings = settings();
        let mut answers = vec![
            Ok(addresses(&["10.0.0.10", "10.0.0.2", "10.0.0.3"])),
            Ok(addresses(&["10.0.0.2"])),
            Err(io::Error::other("no such name")),
        ];
        let mut waits = 0;
        settings
            .find_nodes_with(
                |name| {
                    assert_eq!(name.to_string(), "redis:6379");
                    answers.pop().expect("it is looked up three times")
                },
                || {
                    waits += 1;
                    true
                },
            )
            .unwrap();
        assert_eq!(waits, 2);
        let found: Vec<String> = settings.nodes.iter().map(|node| node.address.to_string()).collect();
        assert_eq!(found, ["a:1", "10.0.0.2:6379", "10.0.0.3:6379", "10.0.0.10:6379"]);
        assert!(settings.nodes.iter().all(|node| node.zone == "z" && node.priority == 7));
    }

    #[test]
    fn what_a_name_lacks_is_told_in_the_end() {
        let fault = |answer: fn() -> io::Result<BTreeSet<IpAddr>>| {
            settings().find_nodes_with(|_| answer(), || false).unwrap_err()
        };
        assert_eq!(
            fault(|| Err(io::Error::other("no such name"))),
            "backend.nodes[1]: dns:redis:6379 does not resolve: no such name"
        );
        assert_eq!(
            fault(|| Ok(addresses(&["10.0.0.2"]))),
            "backend.nodes[1]: dns:redis:6379 stands for 1 addresses, 3 are expected"
        );
        assert_eq!(
            fault(|| Ok((0..17).map(|n| IpAddr::from([10, 0, 0, n])).collect())),
            "backend.nodes[1]: dns:redis:6379 stands for 17 addresses, 16 is the most"
        );
    }

    #[test]
    fn too_few_nodes_for_what_writes_are_to_wait_for_are_a_fault() {
        let outcome = |replicas| {
            let mut settings = settings();
            settings.names[0].expect = 1;
            settings.durability.mode = Level::SemiSync;
            settings.durability.replicas = replicas;
            settings.find_nodes_with(|_| Ok(addresses(&["10.0.0.2", "10.0.0.3"])), || false)
        };
        assert_eq!(outcome(2), Ok(()), "a:1 and two others");
        assert_eq!(
            outcome(3),
            Err("durability.replicas: 3 replicas can not acknowledge where backend.nodes stand for 3, one of which is the primary"
                .to_owned())
        );
    }

    #[test]
    fn a_name_that_comes_to_stand_for_others_is_told() {
        let mut name = settings().names.remove(0);
        name.found = addresses(&["10.0.0.2", "10.0.0.3"]);
        assert_eq!(name.moved(&Ok(name.found.clone())), None);
        assert_eq!(name.moved(&Err(io::Error::other("no answer"))), None);
        let told = name.moved(&Ok(addresses(&["10.0.0.3", "10.0.0.4"]))).unwrap();
        assert!(told.starts_with(
            "dns:redis:6379 has come to stand for 10.0.0.4 and no longer stands for 10.0.0.2; a restart"
        ));
        let told = name.moved(&Ok(addresses(&["10.0.0.3"]))).unwrap();
        assert!(told.contains("come to stand for nothing and"), "{told}");
    }

    #[test]
    fn a_machine_with_addresses_of_both_kinds_is_one_node() {
        assert_eq!(of_one_kind(addresses(&["fd00::2", "10.0.0.2", "fd00::3"])), addresses(&["10.0.0.2"]));
        let six: Address = "[fd00::2]:1".parse().unwrap();
        assert_eq!(look_up(&six).unwrap(), addresses(&["fd00::2"]));
    }
}
