//! The language of the scripts: one event a line, its time given as a distance from the line before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redhold::failover::{
    Action, ActionId, Borrowed, Changes, EmptyPrimary, Event, Intent, Level, Machine, Mode, OnNoQuorum,
    Order, OrderId, Outcome, Record, SettingChanged, Settings, SlowPrimary, Step,
};
use redhold::topology::{Health, NodeId, NodeSpec, Observation, Remedy, Replication, Role, numbered};

use super::words::{address, captured, duration, parse_signal, plain, record_words, step_words};

/// Plays lines against one machine.
pub(crate) struct Player {
    names: Vec<String>,
    specs: Vec<NodeSpec>,
    settings: Settings,
    record: Option<Record>,
    machine: Option<Machine>,
    start: Instant,
    now: Instant,
    facts: Vec<Replication>,
    /// Actions that were not answered, by what they are: `promote b`.
    open: BTreeMap<String, ActionId>,
    /// Changes of settings among them, and of whom.
    changing: BTreeMap<String, (NodeId, Step)>,
    orders: u64,
    /// What makes each node a bad primary.
    lacking: Vec<Option<String>>,
    /// Records of intents are on the disk at once unless the script says `set disk=slow`.
    slow_disk: bool,
    /// Outcomes given that nobody asked for.
    stray: Vec<String>,
    /// The last table, as it is shown.
    table: String,
}

impl Default for Player {
    fn default() -> Self {
        let start = Instant::now();
        Self {
            names: Vec::new(),
            specs: Vec::new(),
            settings: Settings { tune_nodes: false, ..Settings::default() },
            record: None,
            machine: None,
            start,
            now: start,
            facts: Vec::new(),
            open: BTreeMap::new(),
            changing: BTreeMap::new(),
            orders: 0,
            lacking: Vec::new(),
            slow_disk: false,
            stray: Vec::new(),
            table: String::new(),
        }
    }
}

impl Player {
    /// Does what `line` says and returns what the machine asked for, one line each.
    pub(crate) fn play(&mut self, line: &str) -> Vec<String> {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if let Some(pause) = words[0].strip_prefix('+') {
            self.now += duration(pause);
            words.remove(0);
        }
        match words[0] {
            "nodes" => self.declare(&words[1..]),
            "set" => words[1..].iter().for_each(|pair| self.set(pair)),
            "record" => self.remember(&words[1..]),
            "run" => return self.run(duration(words[1])),
            "status" => return self.status(),
            "pings" => return self.pings(duration(words[1]), &words[2..]),
            _ => return self.feed(&words),
        }
        Vec::new()
    }

    fn declare(&mut self, words: &[&str]) {
        for word in words {
            let (name, priority) = word.split_once('@').unwrap_or((word, "100"));
            self.names.push(name.to_owned());
            let priority = priority.parse().expect("a priority");
            let peer_address = None;
            self.specs.push(NodeSpec { address: address(name), peer_address, zone: String::new(), priority });
            self.facts.push(Replication {
                run_id: format!("{name}1"),
                version: "7.0.15".into(),
                ..Replication::default()
            });
        }
    }

    fn set(&mut self, pair: &str) {
        let (key, value) = pair.split_once('=').expect("key=value");
        let settings = &mut self.settings;
        match key {
            "mode" => {
                settings.mode = match value {
                    "auto" => Mode::Auto,
                    "manual" => Mode::Manual,
                    "off" => Mode::Off,
                    other => panic!("mode {other}"),
                }
            }
            "on_no_quorum" => {
                settings.on_no_quorum =
                    if value == "proceed" { OnNoQuorum::Proceed } else { OnNoQuorum::Hold }
            }
            "empty_primary" => {
                settings.empty_primary =
                    if value == "accept" { EmptyPrimary::Accept } else { EmptyPrimary::Refuse }
            }
            "replicas" => settings.durability.replicas = value.parse().expect("a number"),
            "degrade_after" => settings.durability.degrade_after = duration(value),
            "burst" => settings.burst = value.parse().expect("a number"),
            "refill" => settings.refill = duration(value),
            "disk" => self.slow_disk = value == "slow",
            "slow_primary" => {
                settings.slow_primary = match value {
                    "observe" => SlowPrimary::Observe,
                    "switchover" => SlowPrimary::Switchover,
                    "off" => SlowPrimary::Off,
                    other => panic!("slow_primary {other}"),
                }
            }
            "tune_nodes" => settings.tune_nodes = value == "true",
            other => panic!("setting {other}"),
        }
    }

    fn remember(&mut self, words: &[&str]) {
        let mut record = Record::default();
        for pair in words {
            let (key, value) = pair.split_once('=').expect("key=value");
            match key {
                "epoch" => record.epoch = value.parse().expect("a number"),
                "primary" => record.primary = address(value).to_string(),
                "replid" => record.replid = value.to_owned(),
                "empty" => record.empty = value == "true",
                "intent" => {
                    record.intent = Some(match value.split_once(':') {
                        Some(("switch", to)) => Intent::Switch(address(to).to_string()),
                        Some(_) | None => Intent::Failover,
                    });
                }
                "deposed" => record.deposed = vec![address(value).to_string()],
                "run_ids" => {
                    let one = |run: &str| (address(&run[..1]).to_string(), run.to_owned());
                    record.run_ids = value.split(',').map(one).collect();
                }
                "borrowed" => {
                    let words: Vec<&str> = value.split(':').collect();
                    let [node, run_id, name, value, before] = words[..] else { panic!("borrowed {value}") };
                    record.borrowed = vec![Borrowed {
                        node: address(node).to_string(),
                        run_id: run_id.to_owned(),
                        name: name.to_owned(),
                        value: value.to_owned(),
                        before: before.to_owned(),
                    }];
                }
                other => panic!("record {other}"),
            }
        }
        self.record = Some(record);
    }

    fn machine(&mut self) -> &mut Machine {
        let (specs, settings, record, now) = (&self.specs, &self.settings, &self.record, self.now);
        self.machine.get_or_insert_with(|| {
            Machine::new(numbered(specs), settings.clone(), record.clone(), now).checked()
        })
    }

    fn node(&self, name: &str) -> NodeId {
        let position =
            self.names.iter().position(|known| known == name).unwrap_or_else(|| panic!("node {name}"));
        NodeId(u16::try_from(position).expect("few nodes"))
    }

    /// Updates what a node says by `key=value` words and flags.
    fn facts(&mut self, name: &str, words: &[&str]) -> Box<Replication> {
        let node = self.node(name).slot();
        let facts = &mut self.facts[node];
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "primary" => (facts.role, facts.sealed, facts.primary) = (Role::Primary, false, None),
                "sealed" => {
                    (facts.role, facts.sealed, facts.primary, facts.link_up) =
                        (Role::Replica, true, None, false);
                }
                "of" => {
                    (facts.role, facts.sealed, facts.primary) = (Role::Replica, false, Some(address(value)))
                }
                "up" => facts.link_up = true,
                "down" => facts.link_up = false,
                "loading" => facts.loading = value != "no",
                "syncing" => facts.syncing = value != "no",
                "stopping" => facts.shutting_down = true,
                "misconf" => facts.cannot_persist = value != "no",
                "writable" => facts.read_only = false,
                "replid" => facts.replid = value.to_owned(),
                "replid2" => facts.replid2 = value.to_owned(),
                "second" => facts.second_offset = value.parse().expect("a number"),
                "port" => facts.port = value.parse().expect("a number"),
                "run" => facts.run_id = value.to_owned(),
                "version" => value.clone_into(&mut facts.version),
                "offset" => facts.offset = value.parse().expect("a number"),
                "read" => facts.read_offset = Some(value.parse().expect("a number")),
                "io" => facts.last_io_seconds = Some(value.parse().expect("a number")),
                "keys" => facts.keys = value.parse().expect("a number"),
                "good" => facts.good_replicas = value.parse().ok(),
                "replicas" => {
                    facts.replicas = value.split_terminator(',').map(|name| (address(name), true)).collect()
                }
                other => panic!("fact {other}"),
            }
        }
        Box::new(facts.clone())
    }

    fn feed(&mut self, words: &[&str]) -> Vec<String> {
        let event = match words {
            // What was asked some time ago.
            ["seen", name, ago, facts @ ..] if ago.starts_with("asked=") => {
                let facts = self.facts(name, facts);
                let began = self.now - duration(&ago["asked=".len()..]);
                let (node, health) = (self.node(name), Health::Answered(facts));
                Event::Seen(Observation { node, began, at: self.now, health })
            }
            ["seen", name, facts @ ..] => {
                let facts = self.facts(name, facts);
                self.look(name, Health::Answered(facts))
            }
            ["down", name] => self.look(name, Health::Down("Connection refused".into())),
            ["silent", name] => self.look(name, Health::Silent),
            ["refused", name, text @ ..] => self.look(name, Health::Refused(text.join(" "))),
            ["signal", name, signal @ ..] => {
                Event::Signal { node: self.node(name), signal: parse_signal(signal, self.now) }
            }
            ["done", step, name, facts @ ..] if *step != "quiesce" && *step != "record" => {
                let facts = self.facts(name, facts);
                let key = format!("{step} {name}");
                self.settings_changed(&key);
                self.outcome(&key, Outcome::Done(Some(facts)))
            }
            ["done", step] => self.outcome(step, Outcome::Done(None)),
            ["failed", step, name, text @ ..] => {
                let key = if *step == "quiesce" || *step == "record" {
                    (*step).to_owned()
                } else {
                    format!("{step} {name}")
                };
                self.outcome(&key, Outcome::Failed(text.join(" ")))
            }
            ["captured", name, what] => {
                self.outcome(&format!("capture {name}"), Outcome::Captured(captured(what)))
            }
            ["unknown", step, name] => self.outcome(&format!("{step} {name}"), Outcome::Unknown),
            ["gone", step, name] => {
                self.outcome(&format!("{step} {name}"), Outcome::Down("Connection refused".into()))
            }
            ["order", order, node @ ..] => {
                self.orders += 1;
                let to = node.first().map(|name| self.node(name));
                let order = match *order {
                    "switchover" => Order::Switchover { to },
                    "failover" => Order::Failover { to },
                    "adopt" => Order::Adopt { node: to.expect("whom") },
                    other => panic!("order {other}"),
                };
                Event::Order { id: OrderId(self.orders), order }
            }
            ["lacks", name, what @ ..] => {
                self.lacking.resize(self.names.len(), None);
                let node = self.node(name).slot();
                self.lacking[node] = (!what.is_empty()).then(|| what.join(" "));
                Event::Compared((0..).map(NodeId).zip(self.lacking.iter().cloned()).collect())
            }
            ["declared", names @ ..] => match self.declared(names) {
                Ok(event) => event,
                Err(why) => return vec![format!("refused: {why}")],
            },
            ["brain", who] => Event::OtherBrain((*who).to_owned()),
            ["yielded"] => Event::Yielded(true),
            ["regained"] => Event::Yielded(false),
            ["tick"] => Event::Tick { late: false },
            ["late"] => Event::Tick { late: true },
            other => panic!("no such line: {other:?}"),
        };
        self.handle(event)
    }

    /// These are the nodes from now on, if they may be.
    fn declared(&mut self, names: &[&str]) -> Result<Event, String> {
        let is_new = |name: &&str| !self.names.iter().any(|known| known == name);
        let new: Vec<&str> = names.iter().copied().filter(is_new).collect();
        self.declare(&new);
        let mut nodes: Vec<_> = names.iter().map(|name| self.node(name)).collect();
        nodes.sort_unstable();
        let nodes: Vec<_> = nodes.into_iter().map(|id| (id, self.specs[id.slot()].clone())).collect();
        self.machine().may_declare(&nodes)?;
        Ok(Event::Declared(nodes))
    }

    fn look(&self, name: &str, health: Health) -> Event {
        Event::Seen(Observation { node: self.node(name), began: self.now, at: self.now, health })
    }

    /// The outcome of what was asked last by that name. One that nobody asked for shows in the text.
    /// Every setting was `old` before.
    fn settings_changed(&mut self, key: &str) {
        let mut changes = Changes::default();
        let Some((node, step)) = self.changing.remove(key) else { return };
        match step {
            Step::Tune(pairs) => {
                changes.tuned.extend(pairs.into_iter().map(|(name, value)| SettingChanged {
                    node,
                    name,
                    value,
                    before: "old".to_owned(),
                }));
            }
            Step::Restore(pairs) => changes.restored.extend(pairs.into_iter().map(|(name, _)| name)),
            other => panic!("{other:?} changes no setting"),
        }
        let run_id = Some(self.facts[node.slot()].run_id.clone());
        let now = self.now;
        self.machine().handle(Event::Changed { node, run_id, changes }, now);
    }

    fn outcome(&mut self, key: &str, outcome: Outcome) -> Event {
        let id = self.open.remove(key).unwrap_or_else(|| {
            self.stray.push(format!("NOT ASKED {key}"));
            ActionId(u64::MAX)
        });
        Event::Outcome { id, outcome }
    }

    fn handle(&mut self, event: Event) -> Vec<String> {
        let now = self.now;
        self.machine().handle(event, now);
        self.drain()
    }

    /// Lets time pass without any event but the deadlines that the machine asked for.
    fn run(&mut self, length: Duration) -> Vec<String> {
        let end = self.now + length;
        let mut said = Vec::new();
        for _ in 0..10_000 {
            match self.machine().next_deadline() {
                Some(when) if when <= end => {
                    self.now = when.max(self.now);
                    said.extend(self.handle(Event::Tick { late: false }));
                }
                Some(_) | None => {
                    self.now = end;
                    return said;
                }
            }
        }
        panic!("the machine wants to be woken again and again at {:?}", self.now - self.start);
    }

    /// Looks at the nodes every 100 ms for so long; each says what it said last, after its `node=duration`. `busy`: the first
    /// works on a request that takes long.
    fn pings(&mut self, length: Duration, words: &[&str]) -> Vec<String> {
        let (end, mut said) = (self.now + length, Vec::new());
        let busy = words.contains(&"busy");
        while self.now < end {
            said.extend(self.run(Duration::from_millis(100)));
            for (index, (name, took)) in words.iter().filter_map(|word| word.split_once('=')).enumerate() {
                let (node, facts) = (self.node(name), self.facts(name, &[]));
                let seen = self.look(name, Health::Answered(facts));
                said.extend(self.handle(seen));
                let (took, explained) = (duration(took), busy && index == 0);
                said.extend(self.handle(Event::Timed { node, took, explained }));
            }
        }
        said
    }

    fn drain(&mut self) -> Vec<String> {
        let time = format!("{:>6}ms", self.now.duration_since(self.start).as_millis());
        let mut lines = std::mem::take(&mut self.stray);
        let mut written = None;
        while let Some(action) = self.machine().next_action() {
            if let Action::Record { id, record } = &action {
                written = (record.intent.is_some() && !self.slow_disk).then_some(*id);
            }
            let is_table = matches!(action, Action::Publish(_));
            let line = self.describe(action);
            // A table that differs in nothing that is shown: a process was seen for the first time.
            if is_table && std::mem::replace(&mut self.table, line.clone()) == line {
                continue;
            }
            lines.push(format!("{time}  {line}"));
        }
        if let Some(id) = written {
            self.open.remove("record");
            lines.extend(self.handle(Event::Outcome { id, outcome: Outcome::Done(None) }));
        }
        lines
    }

    /// Processes that the table names and that were followed by others: no connection is to be opened to those yet.
    fn past_lives(&self, named: &[String]) -> String {
        let past = named.iter().zip(&self.facts).filter(|(run, now)| !run.is_empty() && **run != now.run_id);
        past.map(|(run, _)| format!("; still {run}")).collect()
    }

    fn describe(&mut self, action: Action) -> String {
        let name = |node: NodeId| self.names[node.slot()].clone();
        match action {
            Action::Step { id, node, step, .. } => {
                let (key, detail) = step_words(&step, &name(node));
                self.open.insert(key.clone(), id);
                if matches!(step, Step::Tune(_) | Step::Restore(_)) {
                    self.changing.insert(key.clone(), (node, step));
                }
                format!("{key}{detail}")
            }
            Action::Publish(verdict) => {
                let gate = match verdict.held_since {
                    Some(since) => format!("held since {}ms", since.duration_since(self.start).as_millis()),
                    None => "open".to_owned(),
                };
                let readable = verdict.nodes.iter().zip(&verdict.readable).filter(|(_, yes)| **yes);
                let readable: Vec<String> = readable.map(|(node, _)| name(*node)).collect();
                let readable = if readable.is_empty() { "-".to_owned() } else { readable.join(",") };
                let generations = verdict.generations.iter().map(|generation| match generation >> 32 {
                    0 => generation.to_string(),
                    declared => format!("{declared}.{}", generation & u64::from(u32::MAX)),
                });
                let generations: Vec<String> = generations.collect();
                let primary = verdict.primary.map_or("-".to_owned(), name);
                let refusals = match verdict.remedy {
                    Remedy::Unjudged => "",
                    Remedy::UnderWay => "; refusals wait",
                    Remedy::Nowhere => "; refusals pass",
                };
                format!(
                    "publish epoch {} primary {primary} {gate}{}; readable {readable}; generations {}{}{refusals}",
                    verdict.epoch,
                    if verdict.degraded { ", degraded" } else { "" },
                    generations.join(","),
                    self.past_lives(&verdict.run_ids)
                )
            }
            Action::Record { id, record } => {
                self.open.insert("record".to_owned(), id);
                record_words(&record)
            }
            Action::Capture { id, node, part, .. } => {
                let key = format!("capture {}", name(node));
                let line = format!("{key} {} from {} to {}", part.replid, part.from, part.to);
                self.open.insert(key, id);
                line
            }
            Action::Quiesce { id, within } => {
                self.open.insert("quiesce".to_owned(), id);
                format!("quiesce within {}ms", within.as_millis())
            }
            Action::Answer { id, result } => match result {
                Ok(text) => format!("answer {} ok: {}", id.0, plain(&text)),
                Err(text) => format!("answer {} refused: {}", id.0, plain(&text)),
            },
            Action::Tell(note) => {
                let level = match note.level {
                    Level::Info => "info",
                    Level::Warn => "WARN",
                    Level::Error => "ERROR",
                };
                format!("{level} {} +{}ms: {}", note.phase, note.since.as_millis(), plain(&note.text))
            }
        }
    }

    fn status(&mut self) -> Vec<String> {
        let now = self.now;
        let status = self.machine().status(now);
        let mut lines = vec![format!(
            "status {} epoch {} primary {} tokens {}{}{}",
            status.phase,
            status.epoch,
            status.primary.map_or("-".to_owned(), |node| self.names[node.slot()].clone()),
            status.tokens,
            status.other_brain.map_or(String::new(), |who| format!(" other brain {who}")),
            status.held.map_or(String::new(), |(_, why)| format!(" held: {}", plain(&why))),
        )];
        for node in status.nodes {
            lines.push(format!(
                "  {} {:?} up={} readable={} lag={:?} stale={:?} ineligible={:?} remark={:?}",
                self.names[node.node.slot()],
                node.role,
                node.up,
                node.readable,
                node.lag_bytes,
                node.staleness,
                node.ineligible,
                node.remark.map(|text| plain(&text)),
            ));
        }
        for episode in status.episodes {
            lines.push(format!(
                "  episode {} -> {} ended={} ordered={} held={}ms notes={}",
                episode.before.0,
                episode.after.0,
                episode.ended.is_some(),
                episode.ordered,
                episode.held.as_millis(),
                episode.notes.len()
            ));
        }
        lines
    }
}
