//! What the nodes' answers mean for a failover. Pure.

use std::collections::BTreeSet;

use crate::topology::NodeSpec;

use super::look::Facts;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// A failover would not work, or would not work as meant.
    Fail,
    /// Somebody should know.
    Warn,
}

/// One sentence and its weight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) weight: Weight,
    pub(super) text: String,
}

/// Settings whose difference between nodes shows after a failover.
const PARITY: [&str; 7] = [
    "maxmemory",
    "maxmemory-policy",
    "databases",
    "notify-keyspace-events",
    "proto-max-bulk-len",
    "appendonly",
    "save",
];

/// A declared node and what it said.
pub(super) type Asked = (NodeSpec, Result<Facts, String>);

/// Everything that is wrong, worst first. `shared` is the number of connections that the proxy may share per node.
pub(super) fn judge(nodes: &[Asked], shared: u64) -> Vec<Finding> {
    let mut found = Findings::default();
    let answered: Vec<_> = nodes
        .iter()
        .filter_map(|(spec, facts)| Some((spec.address.to_string(), spec, facts.as_ref().ok()?)))
        .collect();
    for (spec, facts) in nodes {
        if let Err(reason) = facts {
            found.fail(format!("{}: {reason}", spec.address));
        }
    }
    if nodes.len() < 2 {
        found.warn("only one node is declared: nobody could take over".to_owned());
    }
    roles(&answered, &mut found);
    passwords(&answered, &mut found);
    for (name, _, facts) in &answered {
        own(name, facts, shared, &mut found);
    }
    parity(&answered, &mut found);
    found.0.sort_by_key(|finding| finding.weight);
    found.0
}

type Answered<'a> = [(String, &'a NodeSpec, &'a Facts)];

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn fail(&mut self, text: String) {
        self.0.push(Finding { weight: Weight::Fail, text });
    }

    fn warn(&mut self, text: String) {
        self.0.push(Finding { weight: Weight::Warn, text });
    }
}

fn roles(nodes: &Answered<'_>, found: &mut Findings) {
    let primaries: Vec<_> = nodes.iter().filter(|(_, _, facts)| facts.role == "master").collect();
    match primaries.as_slice() {
        [] if nodes.is_empty() => {}
        [] => found.fail("no node says that it is a primary".to_owned()),
        [(name, spec, primary)] => followers(nodes, name, spec, primary, found),
        several => {
            let names: Vec<_> = several.iter().map(|(name, ..)| name.as_str()).collect();
            found.fail(format!(
                "{} say that they are primaries; make all but one replicas",
                names.join(" and ")
            ));
        }
    }
}

fn followers(nodes: &Answered<'_>, name: &str, spec: &NodeSpec, primary: &Facts, found: &mut Findings) {
    let replicas = || nodes.iter().filter(|(_, _, facts)| facts.role == "slave");
    // How replicas call the primary is learned from those that it knows; a declared peer address wins.
    let peer = spec.peer_address.as_ref().map(ToString::to_string);
    for (replica, _, facts) in replicas() {
        let follows = facts.follows.clone().unwrap_or_default();
        if !facts.link_up {
            found.fail(format!("{replica}: its link to {follows} is down"));
        } else if follows != name && peer.as_ref() != Some(&follows) {
            found.warn(format!(
                "{replica}: follows {follows}; that must be {name} under another name (declare it as peer_address)"
            ));
        }
    }
    let declared = replicas().count();
    if primary.replicas.len() > declared {
        found.warn(format!(
            "{name}: has {} replicas, of which {declared} are declared: {}",
            primary.replicas.len(),
            primary.replicas.join(", ")
        ));
    }
}

/// Whoever is promoted, the others must be able to follow.
fn passwords(nodes: &Answered<'_>, found: &mut Findings) {
    let setting = |facts: &Facts, name: &str| facts.settings.get(name).cloned();
    for (leader, _, leads) in nodes {
        let Some(wanted) = setting(leads, "requirepass").filter(|password| !password.is_empty()) else {
            continue;
        };
        for (follower, _, follows) in nodes.iter().filter(|(name, ..)| name != leader) {
            let (Some(given), Some(user)) = (setting(follows, "masterauth"), setting(follows, "masteruser"))
            else {
                continue;
            };
            if given.is_empty() {
                found.fail(format!(
                    "{follower}: masterauth is empty, {leader} demands a password: it could not follow"
                ));
            } else if user.is_empty() && given != wanted {
                found.fail(format!(
                    "{follower}: masterauth is not the password of {leader}: it could not follow"
                ));
            }
        }
    }
}

fn own(name: &str, facts: &Facts, shared: u64, found: &mut Findings) {
    for command in &facts.forbidden {
        found.fail(format!("{name}: the proxy's user may not run {command}"));
    }
    if let Some(reason) = &facts.rights_unknown {
        found.warn(format!("{name}: rights of the proxy's user could not be looked up: {reason}"));
    }
    let unread: Vec<_> =
        super::look::SETTINGS.into_iter().filter(|s| !facts.settings.contains_key(s)).collect();
    if !unread.is_empty() {
        found.warn(format!("{name}: could not read {}", unread.join(", ")));
    }
    let maxclients = facts.settings.get("maxclients").and_then(|text| text.parse::<u64>().ok());
    if let Some(maxclients) = maxclients.filter(|maxclients| *maxclients < shared) {
        found.warn(format!(
            "{name}: maxclients is {maxclients}, the proxy alone may open {shared} (workers times backend.pipelines_max)"
        ));
    }
    for brain in &facts.brains {
        found.warn(if brain.starts_with("a Sentinel") {
            format!("{name}: {brain} watches it: beside another brain the proxy only observes")
        } else {
            format!("{name}: {brain} is connected")
        });
    }
}

fn parity(nodes: &Answered<'_>, found: &mut Findings) {
    for name in PARITY {
        let values = nodes.iter().filter_map(|(node, _, facts)| Some((node, facts.settings.get(name)?)));
        differ(name, values.map(|(node, value)| (node.as_str(), format!("`{value}`"))), found);
    }
    differ("version", nodes.iter().map(|(node, _, facts)| (node.as_str(), facts.version.clone())), found);
    let modules = |facts: &Facts| format!("[{}]", facts.modules.join(", "));
    differ("modules", nodes.iter().map(|(node, _, facts)| (node.as_str(), modules(facts))), found);
    let lists: BTreeSet<_> = nodes.iter().filter_map(|(_, _, facts)| facts.acl.as_ref()).collect();
    if lists.len() > 1 {
        found
            .warn("ACL users differ between the nodes: clients would be refused after a failover".to_owned());
    }
}

fn differ<'a>(what: &str, values: impl Iterator<Item = (&'a str, String)>, found: &mut Findings) {
    let mut by_value: Vec<(String, Vec<&str>)> = Vec::new();
    for (node, value) in values {
        match by_value.iter_mut().find(|(known, _)| *known == value) {
            Some((_, nodes)) => nodes.push(node),
            None => by_value.push((value, vec![node])),
        }
    }
    if by_value.len() > 1 {
        let parts: Vec<_> =
            by_value.iter().map(|(value, nodes)| format!("{value} on {}", nodes.join(", "))).collect();
        found.warn(format!("different {what}: {}", parts.join("; ")));
    }
}
