//! Feeds the metrics of the group, and the traces of its changes, from the control thread's snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::control::{Status, StatusReader};
use crate::failover::{self, NodeStatus};
use crate::telemetry::{Episode, Metrics, NodeRole, NodeView};
use crate::topology::{NodeId, Role, find};
use crate::traces::{Change, Step, Traces};

/// Follows the snapshots until the control thread ends.
pub(super) async fn follow(mut status: StatusReader, metrics: Arc<Metrics>, traces: Traces) {
    let mut follower = Follower::default();
    loop {
        follower.take(&status.load(), &metrics, &traces);
        if !status.changed().await {
            return;
        }
    }
}

/// What was counted already.
#[derive(Debug, Default)]
struct Follower {
    /// When the last counted PING of each node was answered.
    pings: BTreeMap<NodeId, Option<Instant>>,
    /// When the last counted episode began.
    episode: Option<Instant>,
}

impl Follower {
    fn take(&mut self, status: &Status, metrics: &Metrics, traces: &Traces) {
        let machine = &status.machine;
        if !self.pings.keys().eq(status.nodes.iter().map(|node| &node.id)) {
            self.pings.retain(|id, _| find(&status.nodes, *id).is_some());
            metrics.declare(status.nodes.iter().map(|node| (node.id.0, node.address.to_string())));
        }
        let shown = |node: &NodeStatus| {
            let in_parity = status.parity.of(node.node).in_parity;
            (node.node.0, NodeView { in_parity, ..view(node) })
        };
        let views: Vec<_> = machine.nodes.iter().map(shown).collect();
        metrics.set_group(machine.epoch, machine.degraded, &views);
        metrics.set_quarantined(status.quarantined.kept_bytes, status.quarantined.given_up_bytes);
        for node in &status.nodes {
            let counted = self.pings.entry(node.id).or_default();
            if node.seen > *counted
                && let Some(ping) = node.ping
            {
                metrics.ping(node.id.0, ping);
                *counted = node.seen;
            }
        }
        for episode in &machine.episodes {
            if let Some(ended) = episode.ended
                && self.episode.is_none_or(|counted| episode.began > counted)
            {
                // A start is no failover: there was no primary to replace.
                if episode.before.1.is_some() {
                    metrics.episode(&ended_episode(episode, ended));
                    if traces.is_on() {
                        traces.change(change(status, episode, ended));
                    }
                }
                self.episode = Some(episode.began);
            }
        }
    }
}

fn view(node: &NodeStatus) -> NodeView {
    // What a dead node was is not what it is: else two nodes would count as primaries after a failover.
    let role = match node.role.filter(|_| node.up) {
        Some(Role::Primary) => NodeRole::Primary,
        Some(Role::Replica) => NodeRole::Replica,
        None => NodeRole::Unknown,
    };
    NodeView {
        up: node.up,
        role,
        lag_bytes: node.lag_bytes,
        staleness: node.staleness,
        slow: node.slow,
        in_parity: None,
    }
}

fn ended_episode(episode: &failover::Episode, ended: Instant) -> Episode {
    let total = ended.saturating_duration_since(episode.began);
    Episode {
        ordered: episode.ordered,
        changed: episode.before.1 != episode.after.1,
        total,
        phases: episode.phases.clone(),
    }
}

fn change(status: &Status, episode: &failover::Episode, ended: Instant) -> Change {
    let address = |node: NodeId| status.address(node).map(ToString::to_string);
    let side = |(epoch, primary): (u64, Option<NodeId>)| (epoch, primary.and_then(address));
    let step = |note: &failover::Note| Step { since: note.since, phase: note.phase, text: note.text.clone() };
    Change {
        ordered: episode.ordered,
        began: status.wall(episode.began),
        took: ended.saturating_duration_since(episode.began),
        held: episode.held,
        before: side(episode.before),
        after: side(episode.after),
        steps: episode.notes.iter().map(step).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::admin::tests::{episode, status};

    #[test]
    fn each_ping_and_each_ended_episode_counts_once() {
        let metrics = Metrics::new(vec![], vec!["a:1".to_owned(), "b:2".to_owned()], 2, 0);
        let (mut follower, traces) = (Follower::default(), Traces::default());
        let mut snapshot = status();
        let count = |series: &str| {
            let text = metrics.render().unwrap();
            let line = text.lines().find(|line| line.starts_with(series)).map(str::to_owned);
            line.and_then(|line| line.rsplit_once(' ').and_then(|(_, n)| n.parse::<u64>().ok())).unwrap_or(0)
        };
        let pings = r#"redhold_node_ping_seconds_count{node="a:1"}"#;
        let changed = r#"redhold_failovers_total{kind="failover",result="changed"}"#;
        follower.take(&snapshot, &metrics, &traces);
        follower.take(&snapshot, &metrics, &traces);
        assert_eq!((count(pings), count("redhold_epoch"), count(changed)), (1, 41, 0));
        assert_eq!(count(r#"redhold_quarantined_bytes_total{result="kept"}"#), 11);
        snapshot.nodes[0].seen = snapshot.nodes[0].seen.map(|seen| seen + Duration::from_millis(100));
        follower.take(&snapshot, &metrics, &traces);
        assert_eq!(count(pings), 2);
        let mut open = episode(&snapshot);
        let ended = open.ended.take();
        snapshot.machine.episodes.push(open);
        follower.take(&snapshot, &metrics, &traces);
        assert_eq!(count(changed), 0, "it goes on");
        snapshot.machine.episodes[0].ended = ended;
        follower.take(&snapshot, &metrics, &traces);
        follower.take(&snapshot, &metrics, &traces);
        assert_eq!(count(changed), 1);
    }

    #[test]
    fn a_change_is_told_with_its_primaries_and_its_steps() {
        let mut snapshot = status();
        snapshot.at_wall = std::time::UNIX_EPOCH + Duration::from_secs(9);
        let episode = episode(&snapshot);
        let ended = episode.ended.expect("it is over");
        let told = change(&snapshot, &episode, ended);
        let ms = Duration::from_millis;
        assert_eq!((told.began, told.took, told.held), (snapshot.at_wall, ms(500), ms(400)));
        assert_eq!((told.before, told.after), ((41, Some("a:1".to_owned())), (42, Some("b:2".to_owned()))));
        let steps: Vec<_> = told.steps.iter().map(|step| (step.phase, step.since)).collect();
        assert_eq!((steps, told.ordered), (vec![("suspect", ms(0)), ("promote", ms(100))], false));
    }

    #[test]
    fn a_start_is_no_failover_and_a_dead_primary_no_primary() {
        let metrics = Metrics::new(vec![], vec!["a:1".to_owned(), "b:2".to_owned()], 2, 0);
        let mut snapshot = status();
        let mut start = episode(&snapshot);
        start.before = (0, None);
        snapshot.machine.episodes.push(start);
        snapshot.machine.nodes[0].up = false;
        Follower::default().take(&snapshot, &metrics, &Traces::default());
        let text = metrics.render().unwrap();
        assert!(text.contains("redhold_failovers_total{kind=\"failover\",result=\"changed\"} 0\n"), "{text}");
        assert!(text.contains("redhold_node_role{node=\"a:1\",role=\"primary\"} 0\n"), "{text}");
        assert!(text.contains("redhold_node_role{node=\"a:1\",role=\"unknown\"} 1\n"), "{text}");
    }
}
