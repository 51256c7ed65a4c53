//! Reports → findings. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::control::Settings;
use crate::routing::ReadPolicy;
use crate::topology::{Address, NodeId, Replication, Role};
use crate::users::Digest;

use super::super::parity::{Difference, compare, evicts_unseen};
use super::{Finding, Report, Rights, Severity};

/// Connections that the proxy leaves free for others on each node.
const RESERVED_CLIENTS: u64 = 200;

/// Below this a reconnecting replica is likely to need everything again.
const BACKLOG_MIN: u64 = 16 << 20;

struct Findings<'a> {
    settings: &'a Settings,
    reports: &'a BTreeMap<NodeId, Report>,
    found: Vec<Finding>,
}

/// All that is to be said, the group first, then node by node.
pub(super) fn findings(
    settings: &Settings,
    reports: &BTreeMap<NodeId, Report>,
    heard: &[String],
) -> Vec<Finding> {
    let mut findings = Findings { settings, reports, found: Vec::new() };
    findings.roles();
    findings.brains(heard);
    findings.durability();
    findings.parity();
    for (node, report) in reports {
        findings.node(*node, report);
    }
    findings.found
}

impl<'a> Findings<'a> {
    fn add(&mut self, severity: Severity, node: Option<NodeId>, text: String, cure: impl Into<String>) {
        self.found.push(Finding { severity, node, text, cure: cure.into() });
    }

    fn name(&self, node: NodeId) -> String {
        self.settings.nodes[node.slot()].address.to_string()
    }

    fn answering(&self) -> impl Iterator<Item = (NodeId, &'a Report, &'a Replication)> + use<'a> {
        self.reports.iter().filter_map(|(node, report)| Some((*node, report, report.facts.as_deref()?)))
    }

    fn roles(&mut self) {
        let primaries: Vec<NodeId> = self
            .answering()
            .filter(|(_, _, facts)| facts.role == Role::Primary)
            .map(|(node, ..)| node)
            .collect();
        let names: Vec<String> = primaries.iter().map(|node| self.name(*node)).collect();
        let sealed = self.answering().all(|(_, _, facts)| facts.sealed);
        match names.as_slice() {
            [one] => self.add(Severity::Info, None, format!("{one} is the primary"), ""),
            [] if sealed && self.answering().next().is_some() => {
                self.add(Severity::Info, None, "all nodes boot sealed: Redhold will appoint the primary".to_owned(), "");
            }
            [] => self.add(
                Severity::Error,
                None,
                "no node is a primary".to_owned(),
                "start the nodes, or decide with `redhold adopt NODE` once the proxy runs",
            ),
            several => self.add(
                Severity::Error,
                None,
                format!("{} nodes say that they are primary: {}", several.len(), several.join(", ")),
                "make all but one follow it (REPLICAOF), or decide with `redhold adopt NODE` once the proxy runs",
            ),
        }
        if self.settings.nodes.len() == 1 {
            let text = "one node only: when it dies there is nobody to promote".to_owned();
            self.add(Severity::Warning, None, text, "add replicas to backend.nodes");
        }
    }

    fn brains(&mut self, heard: &[String]) {
        let connected = self.reports.values().flat_map(|report| report.brains.iter().cloned());
        let all: BTreeSet<String> = connected.chain(heard.iter().cloned()).collect();
        for brain in all {
            let text =
                format!("another brain looks after these nodes: {brain}; beside it Redhold only observes");
            let cure = if brain.starts_with("Sentinel") {
                "stop the Sentinels, or set failover.mode = \"off\" to follow them"
            } else {
                "run one deciding proxy a group (if this is the running proxy of this configuration, all is well)"
            };
            self.add(Severity::Warning, None, text, cure);
        }
    }

    fn durability(&mut self) {
        let demanding = self.answering().find(|(_, report, _)| {
            report.has.settings.get("min-replicas-to-write").is_some_and(|count| count != "0")
        });
        if self.settings.nodes.len() == 2 && demanding.is_some() {
            let text = "two nodes with min-replicas-to-write: the one that is left takes no writes by itself";
            self.add(Severity::Warning, None, text.to_owned(), "add a third node");
        }
        self.disks();
        let replicas = self.settings.nodes.len() > 1 && self.settings.reads.policy != ReadPolicy::Primary;
        let evicting = self.answering().find_map(|(_, report, _)| evicts_unseen(&report.has));
        if let Some(found) = evicting.filter(|_| replicas) {
            self.differs(None, found);
        }
    }

    /// What WAITAOF needs: any node may have to lead.
    fn disks(&mut self) {
        let mode = self.settings.durability.strictest();
        if !mode.needs_disks() {
            return;
        }
        let lacking: Vec<(NodeId, String, &'static str)> = self
            .answering()
            .filter_map(|(node, report, facts)| {
                if is_before_7_2(&facts.version) {
                    let text = format!("is {}, without WAITAOF, which durability.mode needs", facts.version);
                    return Some((node, text, "Redis 7.2 or newer, or durability.mode = \"semi_sync\""));
                }
                let off = report.has.settings.get("appendonly").is_some_and(|value| value == "no");
                let text = "has no append-only file, which durability.mode needs".to_owned();
                off.then_some((node, text, "appendonly yes, in its redis.conf too"))
            })
            .collect();
        for (node, text, cure) in lacking {
            let text = format!("{} {text}", self.name(node));
            self.add(Severity::Error, Some(node), text, cure);
        }
    }

    fn differs(&mut self, node: Option<NodeId>, found: Difference) {
        self.add(Severity::Warning, node, found.text, found.cure);
    }

    /// Everybody is compared with the primary, or with the first where there is none.
    fn parity(&mut self) {
        let leads = |facts: &Replication| facts.role == Role::Primary;
        let first = self.answering().find(|(_, _, facts)| leads(facts)).or_else(|| self.answering().next());
        let Some((reference, has)) = first.map(|(node, report, _)| (node, &report.has)) else { return };
        for (node, report, _) in self.answering().filter(|(node, ..)| *node != reference) {
            let found = compare((&self.name(reference), has), (&self.name(node), &report.has), &[]);
            found.into_iter().for_each(|found| self.differs(Some(node), found));
        }
    }

    fn node(&mut self, node: NodeId, report: &Report) {
        let Some(facts) = report.facts.as_deref() else {
            let text = format!("{} gives no INFO: {}", self.name(node), report.error);
            let cure = "start it, or correct backend.nodes, backend.username and backend.password";
            return self.add(Severity::Error, Some(node), text, cure);
        };
        let role = match (facts.role, &facts.primary) {
            (Role::Primary, _) => "primary".to_owned(),
            (Role::Replica, None) => "sealed".to_owned(),
            (Role::Replica, Some(primary)) => {
                format!("replica of {primary}, link {}", if facts.link_up { "up" } else { "down" })
            }
        };
        let text = format!(
            "{}: {}, {role}, {} keys, offset {}",
            self.name(node),
            facts.version,
            facts.keys,
            facts.offset
        );
        self.add(Severity::Info, Some(node), text, "");
        if !report.error.is_empty() {
            let text = format!("{} did not answer everything: {}", self.name(node), report.error);
            self.add(Severity::Warning, Some(node), text, "");
        }
        self.peer_address(node, facts);
        self.following(node, report, facts);
        self.rights(node, report);
        self.limits(node, report, facts);
    }

    fn peer_address(&mut self, node: NodeId, facts: &Replication) {
        let spec = &self.settings.nodes[node.slot()];
        if let Some(declared) = &spec.peer_address {
            let text = format!("{}: the other nodes are told {declared}, as declared", spec.address);
            return self.add(Severity::Info, Some(node), text, "");
        }
        let text = match self.learned(node, facts) {
            Some(learned) if learned == spec.address => return,
            Some(learned) => {
                let text = format!("{}: the other nodes reach it as {learned}", spec.address);
                return self.add(Severity::Info, Some(node), text, "");
            }
            None => format!(
                "{}: nobody shows by which address the other nodes reach it; they would be told {0}",
                spec.address
            ),
        };
        let severity = if self.settings.nodes.len() == 1 { Severity::Info } else { Severity::Warning };
        let cure = "check that this address works from the other nodes, or declare peer_address for it";
        self.add(severity, Some(node), text, cure);
    }

    /// A primary is called as its replicas call it, a replica as its primary lists it.
    fn learned(&self, node: NodeId, facts: &Replication) -> Option<Address> {
        match facts.role {
            Role::Primary => self
                .answering()
                .find(|(other, _, theirs)| *other != node && theirs.link_up && theirs.replid == facts.replid)
                .and_then(|(_, _, theirs)| theirs.primary.clone()),
            Role::Replica => {
                let listed = self.answering().filter(|(_, _, theirs)| theirs.replid == facts.replid);
                let mut named = listed
                    .flat_map(|(_, _, theirs)| &theirs.replicas)
                    .filter(|(address, _)| address.port == facts.port);
                let first = named.next()?;
                named.next().is_none().then(|| first.0.clone())
            }
        }
    }

    fn following(&mut self, node: NodeId, report: &Report, facts: &Replication) {
        for (leader, words) in &report.cannot_follow {
            let text = format!("{} could not follow {}: {words}", self.name(node), self.name(*leader));
            let cure = "CONFIG SET masterauth (and masteruser) to what that node accepts, and in redis.conf";
            self.add(Severity::Error, Some(node), text, cure);
        }
        if facts.role == Role::Replica && !facts.read_only {
            let text =
                format!("{} takes writes as a replica; they are lost and make it diverge", self.name(node));
            self.add(Severity::Warning, Some(node), text, "CONFIG SET replica-read-only yes");
        }
        if facts.priority == 0 || self.settings.nodes[node.slot()].priority == 0 {
            self.add(
                Severity::Info,
                Some(node),
                format!("{} is never promoted (priority 0)", self.name(node)),
                "",
            );
        }
        let backlog = report.has.settings.get("repl-backlog-size").and_then(|size| size.parse::<u64>().ok());
        if let Some(size) = backlog.filter(|size| *size < BACKLOG_MIN && self.settings.nodes.len() > 1) {
            let text = format!(
                "{}: repl-backlog-size {size}: a replica that was away for a moment needs everything again",
                self.name(node)
            );
            self.add(
                Severity::Warning,
                Some(node),
                text,
                "CONFIG SET repl-backlog-size 64mb, and in redis.conf",
            );
        }
    }

    fn rights(&mut self, node: NodeId, report: &Report) {
        let name = self.name(node);
        match &report.rights {
            Rights::Enough | Rights::Unknown => {}
            Rights::Missing(commands) => {
                let text = format!("{name}: the proxy's user may not run: {}", commands.join("; "));
                self.add(
                    Severity::Error,
                    Some(node),
                    text,
                    "ACL SETUSER <user> with these commands, ~* and &*",
                );
            }
            Rights::Unproved(words) => {
                let text = format!("{name}: the rights of the proxy's user cannot be proved: {words}");
                let wanted = super::RIGHTS.map(|command| command.join(" ")).join("; ");
                self.add(Severity::Warning, Some(node), text, format!("see to it that it may run: {wanted}"));
            }
        }
        self.users(node, report);
        if let Rights::Missing(commands) = &report.parity_rights {
            let text = format!(
                "{name}: the proxy's user may not run: {}; what clients change on the primary may not reach this node",
                commands.join("; ")
            );
            let cure = "ACL SETUSER <user> with these commands";
            self.add(Severity::Warning, Some(node), text, cure);
        }
        if !report.has.untold.is_empty() {
            let text = format!("{name} does not tell: {}", report.has.untold.join(", "));
            self.add(
                Severity::Warning,
                Some(node),
                text,
                "allow CONFIG GET and ACL LIST to the proxy's user",
            );
        }
    }

    /// Whether it can have those of `[[users]]`.
    fn users(&mut self, node: NodeId, report: &Report) {
        let (name, users) = (self.name(node), &self.settings.users);
        let may_not = |commands: &Vec<String>| commands.iter().any(|it| it.starts_with("ACL SETUSER"));
        let refuses = matches!(&report.parity_rights, Rights::Missing(commands) if may_not(commands));
        if let Some(user) = users.iter().find(|user| user.is_given()).filter(|_| refuses) {
            let text = format!(
                "{name} can not be given user `{}` of [[users]]: the proxy's user may not run ACL SETUSER",
                user.name
            );
            let cure = "allow it, or make the users on the nodes and name them as backend_user";
            self.add(Severity::Error, Some(node), text, cure);
        }
        let follows_as = report.has.settings.get("masteruser").filter(|name| !name.is_empty());
        if let Some(user) = users.iter().find(|user| user.is_given() && Some(&user.name) == follows_as) {
            let text = format!(
                "{name} follows others as `{}`, which [[users]] would give another password",
                user.name
            );
            self.add(Severity::Error, Some(node), text, "give the user of [[users]] another name");
        }
        let Some(there) = &report.has.users else { return };
        for user in users.iter().filter(|user| user.is_given()) {
            let rule = user.password.as_ref().map(Digest::rule).unwrap_or_default();
            if there.get(&user.name).is_some_and(|rules| !rules.contains(&rule)) {
                let text = format!(
                    "{name} has a user `{}` with another password, which [[users]] replaces",
                    user.name
                );
                self.add(Severity::Warning, Some(node), text, "see that nobody else is this user");
            }
        }
        for user in users.iter().filter(|user| !user.is_given() && !there.contains_key(&user.backend_user)) {
            let text =
                format!("{name} has no user `{}`, which users `{}` is to be", user.backend_user, user.name);
            self.add(Severity::Error, Some(node), text, "ACL SETUSER there");
        }
    }

    fn limits(&mut self, node: NodeId, report: &Report, facts: &Replication) {
        let name = self.name(node);
        if report.has.settings.get("cluster-enabled").is_some_and(|value| value == "yes") {
            let text = format!("{name} runs in cluster mode, which is not supported");
            self.add(Severity::Error, Some(node), text, "cluster-enabled no");
        }
        if facts.loading {
            self.add(Severity::Warning, Some(node), format!("{name} is loading its data"), "wait for it");
        }
        let most = report.has.settings.get("maxclients").and_then(|count| count.parse::<u64>().ok());
        if let Some(most) = most.filter(|most| *most < RESERVED_CLIENTS * 5) {
            let text = format!(
                "{name}: maxclients {most} leaves {} connections for clients that block, watch or subscribe ({} are open)",
                most.saturating_sub(RESERVED_CLIENTS),
                report.clients
            );
            self.add(Severity::Warning, Some(node), text, "CONFIG SET maxclients 10000, and in redis.conf");
        }
    }
}

/// Valkey's first release was 7.2.
fn is_before_7_2(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(u32::MAX));
    (parts.next().unwrap_or(u32::MAX), parts.next().unwrap_or(u32::MAX)) < (7, 2)
}
