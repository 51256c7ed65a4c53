//! Names that stand for several nodes, `dns:name:port`: looked up before the start, and again while the proxy runs.
//!
//! A resolver is not believed all that it says: who no longer stands behind a name and still answers, or leads, stays a node, and so
//! does everybody while the name has fewer addresses than are expected.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::topology::{Address, NODES_MAX};

use super::{Declared, Settings};

/// More addresses of one name are a mistake in the name.
const ADDRESSES_MAX: usize = 16;

/// At the start a name is waited for so long: a group that is started together with the proxy has its addresses later.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks while it is waited for.
const AGAIN: Duration = Duration::from_secs(1);

/// Between two looks while the proxy runs.
const LOOK: Duration = Duration::from_secs(5);

/// An element of `backend.nodes` that is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName {
    /// Where it stands in the list, and for how the nodes in its place are declared, but for their addresses.
    pub position: usize,
    /// It is waited until it has so many addresses, at least 1.
    pub expect: usize,
    /// The name, and the port of all its nodes.
    pub address: Address,
    /// What it stands for.
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

    /// It is another reading of `before`, looked up only now: it goes on from there, as at every look.
    pub(super) fn follow_on(
        &mut self,
        before: &Self,
        needed: impl Fn(&Address) -> Option<&'static str>,
    ) -> Vec<String> {
        let seen = std::mem::replace(&mut self.found, before.found.clone());
        self.follow(&Ok(seen), needed)
    }

    /// Where the nodes are that it stands for, in the order of their addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Address> {
        let at = |ip: &IpAddr| Address { host: ip.to_string().into(), port: self.address.port };
        self.found.iter().map(at)
    }

    /// It is `seen` to stand for these now. Those of before that it does not stand for any more go, unless they are still `needed`; who
    /// stays for that is told.
    pub(super) fn follow(
        &mut self,
        seen: &io::Result<BTreeSet<IpAddr>>,
        needed: impl Fn(&Address) -> Option<&'static str>,
    ) -> Vec<String> {
        let Ok(addresses) = seen else { return Vec::new() };
        let addresses = &of_one_kind(addresses, &self.found);
        let fault = self.fault(&Ok(addresses.clone()));
        let mut told: Vec<String> = fault.iter().cloned().collect();
        if addresses.len() > ADDRESSES_MAX {
            return told;
        }
        let (name, port) = (self.address.clone(), self.address.port);
        if is_of_v4(addresses) != is_of_v4(&self.found) && !self.found.is_empty() && !addresses.is_empty() {
            // A machine that has both would be two nodes.
            let [now, before] =
                [addresses, &self.found].map(|set| if is_of_v4(set) { "IPv4" } else { "IPv6" });
            told.push(format!(
                "dns:{name} has come to stand for addresses of {now} alone: until a restart those of {before} stay nodes"
            ));
            return told;
        }
        self.found.retain(|ip| {
            if addresses.contains(ip) || fault.is_some() {
                return true;
            }
            let address = Address { host: ip.to_string().into(), port };
            let why = needed(&address);
            told.extend(why.map(|why| {
                format!("dns:{name} no longer stands for {address}, which {why} and stays a node")
            }));
            why.is_some()
        });
        let room = ADDRESSES_MAX.saturating_sub(self.found.len());
        let new: Vec<IpAddr> = addresses.difference(&self.found).copied().take(room).collect();
        self.found.extend(new);
        told
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
                let seen = resolve(&name.address).map(|all| of_one_kind(&all, &name.found));
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
        self.written = std::mem::take(&mut self.nodes);
        self.nodes = self.declared().all();
        if self.nodes.len() > NODES_MAX {
            let many = self.nodes.len();
            return Err(format!("backend.nodes stand for {many} nodes; {NODES_MAX} is the most"));
        }
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

/// The addresses that a name has now.
fn look_up(name: &Address) -> io::Result<BTreeSet<IpAddr>> {
    let found = (&*name.host, name.port).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

/// Those of the kind that there is `already`, or else of IPv4, and all where there are none of that kind: a machine that has addresses
/// of both is one node.
fn of_one_kind(all: &BTreeSet<IpAddr>, already: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let wanted_v4 = already.is_empty() || is_of_v4(already);
    let wanted: BTreeSet<IpAddr> = all.iter().copied().filter(|ip| ip.is_ipv4() == wanted_v4).collect();
    if wanted.is_empty() { all.clone() } else { wanted }
}

fn is_of_v4(addresses: &BTreeSet<IpAddr>) -> bool {
    addresses.iter().any(IpAddr::is_ipv4)
}

/// What names were seen to stand for.
pub(super) type Seen = Vec<(Address, io::Result<BTreeSet<IpAddr>>)>;

/// Looks again and again for as long as somebody wants to know.
pub(super) async fn keep_looking(mut declared: watch::Receiver<Arc<Declared>>, seen: mpsc::Sender<Seen>) {
    loop {
        let names = declared.borrow_and_update().names.clone();
        if names.is_empty() {
            match declared.changed().await {
                Ok(()) => continue,
                Err(_) => return,
            }
        }
        tokio::time::sleep(LOOK).await;
        let look =
            move || names.into_iter().map(|name| (name.address.clone(), look_up(&name.address))).collect();
        let found = match tokio::task::spawn_blocking(look).await {
            Ok(found) => found,
            Err(error) => return tracing::error!(%error, "names of nodes are looked up no more"),
        };
        if seen.send(found).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durability::Level;
    use crate::topology::NodeSpec;

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
    fn a_name_is_followed_and_who_is_still_needed_stays() {
        let mut name = settings().names.remove(0);
        name.expect = 2;
        name.found = addresses(&["10.0.0.2", "10.0.0.3"]);
        let mut follow = |seen: io::Result<BTreeSet<IpAddr>>, leads: &str| {
            let told = name.follow(&seen, |address| (*address.host == *leads).then_some("leads"));
            let found: Vec<String> = name.found.iter().map(ToString::to_string).collect();
            (found.join(" "), told.join("; "))
        };
        let same = |found: &str| (found.to_owned(), String::new());
        let seen = |list: &[&str]| Ok(addresses(list));
        assert_eq!(follow(Err(io::Error::other("no answer")), ""), same("10.0.0.2 10.0.0.3"));
        assert_eq!(follow(seen(&["10.0.0.3", "10.0.0.4"]), "10.0.0.3"), same("10.0.0.3 10.0.0.4"));
        let (found, told) = follow(seen(&["10.0.0.4", "10.0.0.5"]), "10.0.0.3");
        assert_eq!(found, "10.0.0.3 10.0.0.4 10.0.0.5");
        assert_eq!(told, "dns:redis:6379 no longer stands for 10.0.0.3:6379, which leads and stays a node");
        let (found, told) = follow(seen(&["10.0.0.6"]), "");
        assert_eq!(
            found, "10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6",
            "too few to believe that the others have gone"
        );
        assert!(told.contains("stands for 1 addresses, 2 are expected"), "{told}");
        assert_eq!(follow(seen(&["10.0.0.5", "10.0.0.6"]), ""), same("10.0.0.5 10.0.0.6"));
        let many: Vec<String> = (0..=ADDRESSES_MAX).map(|last| format!("10.0.1.{last}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (found, told) = follow(seen(&many), "");
        assert_eq!(found, "10.0.0.5 10.0.0.6");
        assert!(told.contains("17 addresses"), "{told}");
        let (found, _) = follow(seen(&many[1..]), "10.0.0.5");
        assert_eq!(found.split(' ').count(), ADDRESSES_MAX, "who is needed has its place");
        assert!(found.starts_with("10.0.0.5 10.0.1.1"), "{found}");
    }

    #[test]
    fn a_machine_does_not_become_a_node_once_more_by_its_address_of_another_kind() {
        let mut name = settings().names.remove(0);
        (name.expect, name.found) = (0, addresses(&["fd00::2", "fd00::3"]));
        let told = name.follow(&Ok(addresses(&["10.0.0.2", "10.0.0.3"])), |_| Some("answers"));
        assert_eq!(name.found, addresses(&["fd00::2", "fd00::3"]));
        assert_eq!(
            told,
            [
                "dns:redis:6379 has come to stand for addresses of IPv4 alone: until a restart those of IPv6 stay nodes"
            ]
        );
        let told = name.follow(&Ok(addresses(&["10.0.0.3", "fd00::3", "fd00::4"])), |_| None);
        assert!(told.is_empty() && name.found == addresses(&["fd00::3", "fd00::4"]), "{told:?}");
    }

    #[test]
    fn a_machine_with_addresses_of_both_kinds_is_one_node() {
        let (both, six) =
            (addresses(&["fd00::2", "10.0.0.2", "fd00::3"]), addresses(&["fd00::2", "fd00::3"]));
        assert_eq!(of_one_kind(&both, &BTreeSet::new()), addresses(&["10.0.0.2"]));
        assert_eq!(of_one_kind(&both, &addresses(&["fd00::9"])), six);
        assert_eq!(of_one_kind(&six, &addresses(&["10.0.0.9"])), six);
        let six: Address = "[fd00::2]:1".parse().unwrap();
        assert_eq!(look_up(&six).unwrap(), addresses(&["fd00::2"]));
    }
}
