//! One task a node: looks at it on a beat, at once when a connection breaks, and says what it found.
//!
//! A healthy node costs one pipelined exchange a beat on a kept connection. When that exchange is not answered
//! soon, fresh connections are tried beside it, so that one lost packet or one closed connection is not taken for
//! a death. What counts as silence is any byte on any connection: the data path's marks are read too.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::failover::Signal;
use crate::resp::Value;
use crate::topology::{Health, Observation, Replication};

use super::brains::Identity;
use super::dice::Dice;
use super::info;
use super::link::{Dial, Fault, Link};

/// Exchanges under way with one node at most: one on the kept connection, the others on fresh ones.
const PROBES_MAX: usize = 3;

/// Beat while an episode goes on.
const FAST_BEAT: Duration = Duration::from_millis(5);

/// Fast beats in a row; an episode that lasts longer is looked at on a tenth of the ordinary beat.
const FAST_BEATS_MAX: u32 = 400;

/// Wait after the first refused connection; doubles from the fourth on, up to the ordinary beat. Three refusals
/// are then spread over more than the 10 ms that tell a dead process from one that is being replaced.
const REDIAL: Duration = Duration::from_millis(6);

/// A beat of ours that comes later than this says that we were stalled, not that the node was silent.
const LATE: Duration = Duration::from_millis(200);

/// While another brain's connections were found, they are looked for again after this.
const SEARCH_AGAIN: Duration = Duration::from_secs(10);

/// Where CLIENT LIST is refused, other brains are listened for this long before anything of the node is told: their greetings
/// come every two seconds.
const LISTEN_FIRST: Duration = Duration::from_millis(2_500);

/// What monitors and listeners tell the driver.
#[derive(Debug)]
pub(super) enum Heard {
    /// A look at a node.
    Look(Look),
    /// What the data path's marks say.
    Signal(crate::topology::NodeId, Signal),
    /// Somebody else decides about these nodes too.
    OtherBrain(String),
}

/// A look, with what only people want to know.
#[derive(Debug)]
pub(super) struct Look {
    /// Its number among all looks; of one that brought facts it was given before anything was asked.
    pub(super) number: u64,
    /// For the machine.
    pub(super) observation: Observation,
    /// Time from PING to its reply.
    pub(super) ping: Option<Duration>,
    /// Why it failed, or what PING was answered with instead of PONG.
    pub(super) error: Option<String>,
}

/// How often to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// On the ordinary beat.
    Ordinary,
    /// Every few milliseconds: the machine waits for facts.
    Fast,
}

/// `[health]`
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    /// `health.interval`
    pub(super) interval: Duration,
    /// `health.timeout`
    pub(super) timeout: Duration,
}

impl Beat {
    /// An unanswered look of this age is reported as silence; the machine adds up how long it lasts.
    fn suspicion(&self) -> Duration {
        (self.timeout / 4).max(Duration::from_millis(20))
    }
}

/// Watches one node until the driver is gone.
pub(super) async fn watch_node(
    dial: Dial,
    identity: Identity,
    beat: Beat,
    mut pace: watch::Receiver<Pace>,
    sink: mpsc::Sender<Heard>,
) {
    let mut watch = Watch::new(dial, identity, beat);
    while !sink.is_closed() {
        tokio::select! {
            Some(end) = watch.probes.join_next() => {
                if let Ok(end) = end {
                    watch.settle(end);
                }
            }
            () = idle_closed(watch.idle.as_ref()) => watch.lost_idle(),
            changed = pace.changed() => {
                if changed.is_err() {
                    return;
                }
                let wanted = *pace.borrow_and_update();
                watch.set_pace(wanted);
            }
            () = tokio::time::sleep_until(watch.next_beat.into()) => watch.beat(Instant::now()),
        }
        for heard in watch.told.drain(..) {
            if sink.send(heard).await.is_err() {
                return;
            }
        }
    }
}

async fn idle_closed(idle: Option<&Link>) {
    match idle {
        Some(link) => link.closed().await,
        None => std::future::pending().await,
    }
}

struct Watch {
    dial: Dial,
    identity: Identity,
    /// When the node's other clients are to be looked through for other brains, if at all.
    search_at: Option<Instant>,
    /// Looks before this are not told: the node shows nobody its clients, so that other brains have to be listened for.
    told_from: Instant,
    born: Instant,
    beat: Beat,
    dice: Dice,
    probes: JoinSet<ProbeEnd>,
    /// Exchanges under way: number and beginning, oldest first.
    under_way: Vec<(u64, Instant)>,
    started: u64,
    /// The kept connection, while no exchange uses it.
    idle: Option<Link>,
    next_beat: Instant,
    pace: Pace,
    fast_beats: u32,
    refusals: u32,
    marks: MarksSeen,
    told: Vec<Heard>,
}

/// What of the data path's marks was passed on.
#[derive(Default)]
struct MarksSeen {
    last_byte_ms: u64,
    losses: u64,
    long_request: bool,
    paused_until_ms: u64,
}

struct ProbeEnd {
    number: u64,
    look: u64,
    began: Instant,
    at: Instant,
    on_kept: bool,
    result: Result<(Exchange, Link), Fault>,
}

impl Watch {
    fn new(dial: Dial, identity: Identity, beat: Beat) -> Self {
        Self {
            dial,
            identity,
            search_at: Some(Instant::now()),
            told_from: Instant::now(),
            born: Instant::now(),
            beat,
            dice: Dice::new(),
            probes: JoinSet::new(),
            under_way: Vec::new(),
            started: 0,
            idle: None,
            next_beat: Instant::now(),
            pace: Pace::Ordinary,
            fast_beats: 0,
            refusals: 0,
            marks: MarksSeen::default(),
            told: Vec::new(),
        }
    }

    fn set_pace(&mut self, pace: Pace) {
        if self.pace != pace {
            self.fast_beats = 0;
            if pace == Pace::Fast {
                self.next_beat = self.next_beat.min(Instant::now());
            }
        }
        self.pace = pace;
    }

    /// The kept connection was closed while nothing was asked: only a fresh one can tell why.
    fn lost_idle(&mut self) {
        self.idle = None;
        self.start_probe();
    }

    fn beat(&mut self, now: Instant) {
        if now.saturating_duration_since(self.next_beat) > LATE {
            for (_, began) in &mut self.under_way {
                *began = now;
            }
        }
        self.read_losses();
        self.read_pause(now);
        let oldest = self.under_way.first().map(|(_, began)| now.saturating_duration_since(*began));
        let wanted = match oldest {
            None => 1,
            Some(age) if age >= self.beat.suspicion() => PROBES_MAX,
            Some(age) if age * 2 >= self.beat.suspicion() => 2,
            Some(_) => 0,
        };
        if self.under_way.len() < wanted {
            self.start_probe();
        }
        if oldest.is_some_and(|age| age >= self.beat.suspicion()) {
            self.silent(now, None);
        }
        self.next_beat = now + self.pause();
    }

    fn pause(&mut self) -> Duration {
        let ordinary = self.dice.around(self.beat.interval);
        if self.refusals > 0 {
            return (REDIAL * 2_u32.saturating_pow(self.refusals.saturating_sub(3).min(10))).min(ordinary);
        }
        match self.pace {
            Pace::Ordinary => ordinary,
            Pace::Fast if self.fast_beats < FAST_BEATS_MAX => {
                self.fast_beats += 1;
                FAST_BEAT.min(ordinary)
            }
            Pace::Fast => ordinary / 10,
        }
    }

    fn start_probe(&mut self) {
        if self.under_way.len() >= PROBES_MAX {
            return;
        }
        self.started += 1;
        let look = self.dial.marks.begin_look();
        let (number, began) = (self.started, Instant::now());
        self.under_way.push((number, began));
        let (dial, kept, deadline) = (self.dial.clone(), self.idle.take(), began + self.beat.timeout);
        let search = self.search_at.is_some_and(|at| at <= began);
        self.probes.spawn(async move {
            let on_kept = kept.is_some();
            let result = match kept {
                Some(link) => exchange(link, search, deadline).await,
                None => match dial.open(deadline).await {
                    Ok(link) => exchange(link, search, deadline).await,
                    Err(fault) => Err(fault),
                },
            };
            ProbeEnd { number, look, began, at: Instant::now(), on_kept, result }
        });
    }

    fn settle(&mut self, end: ProbeEnd) {
        self.under_way.retain(|(number, _)| *number != end.number);
        let (began, at) = (end.began, end.at);
        match end.result {
            Ok((exchange, link)) => {
                self.idle.get_or_insert(link);
                self.answered(exchange, end.look, began, at);
            }
            Err(Fault::Lost(_)) if end.on_kept => self.start_probe(),
            Err(Fault::Down(text) | Fault::Lost(text)) => {
                self.refusals += 1;
                self.idle = None;
                self.tell(Health::Down(text.clone()), at, Some(text));
                self.next_beat = at + self.pause();
            }
            Err(fault @ (Fault::Silent | Fault::Unreachable(_))) => self.silent(at, Some(fault.to_string())),
            Err(fault @ (Fault::Denied(_) | Fault::Garbage(_))) => {
                let text = fault.to_string();
                self.refusals = 0;
                self.tell(Health::Refused(text.clone()), at, Some(text));
            }
        }
    }

    fn answered(&mut self, exchange: Exchange, look: u64, began: Instant, at: Instant) {
        self.refusals = 0;
        if std::mem::take(&mut self.marks.long_request) {
            self.told.push(Heard::Signal(self.dial.node, Signal::LongRequest(false)));
        }
        self.marks.last_byte_ms = self.dial.marks.millis(at);
        // Before the first look is told: the machine must not act on what another brain looks after.
        if let Some(clients) = exchange.clients {
            self.searched(clients, at);
        }
        if at < self.told_from {
            return;
        }
        let health = exchange.health;
        let error = match &health {
            Health::Refused(text) => Some(text.clone()),
            _ => exchange.complaint,
        };
        let observation = Observation { node: self.dial.node, began, at, health };
        let ping = Some(exchange.ping.saturating_duration_since(began));
        self.told.push(Heard::Look(Look { number: look, observation, ping, error }));
    }

    /// The node showed its clients, or would not.
    fn searched(&mut self, clients: Option<String>, at: Instant) {
        let others = clients.as_deref().map(|list| self.identity.others_connected(list));
        self.search_at = others.as_ref().is_some_and(|found| !found.is_empty()).then(|| at + SEARCH_AGAIN);
        if others.is_none() && self.told_from < self.born + LISTEN_FIRST {
            self.told_from = self.born + LISTEN_FIRST;
        }
        self.told.extend(others.into_iter().flatten().map(Heard::OtherBrain));
    }

    /// Nothing came in time. What the data path heard meanwhile, and what explains the silence, goes first.
    fn silent(&mut self, at: Instant, error: Option<String>) {
        let marks = self.dial.marks.of(self.dial.node);
        let last_byte_ms = marks.last_byte_ms.load(std::sync::atomic::Ordering::Relaxed);
        if last_byte_ms > self.marks.last_byte_ms {
            self.marks.last_byte_ms = last_byte_ms;
            let at = self.dial.marks.instant(last_byte_ms);
            self.told.push(Heard::Signal(self.dial.node, Signal::Alive { at }));
        }
        let long = marks.long_requests.load(std::sync::atomic::Ordering::Relaxed) != 0;
        if long != self.marks.long_request {
            self.marks.long_request = long;
            self.told.push(Heard::Signal(self.dial.node, Signal::LongRequest(long)));
        }
        self.tell(Health::Silent, at, Some(error.unwrap_or_else(|| Fault::Silent.to_string())));
    }

    fn tell(&mut self, health: Health, at: Instant, error: Option<String>) {
        let observation = Observation { node: self.dial.node, began: at, at, health };
        let number = self.dial.marks.last_look();
        self.told.push(Heard::Look(Look { number, observation, ping: None, error }));
    }

    /// A pause that a client ordered is told before its silence is.
    fn read_pause(&mut self, now: Instant) {
        let until =
            self.dial.marks.of(self.dial.node).paused_until_ms.load(std::sync::atomic::Ordering::Relaxed);
        let left = until.saturating_sub(self.dial.marks.millis(now));
        if until != self.marks.paused_until_ms && left > 0 {
            self.told.push(Heard::Signal(self.dial.node, Signal::Paused(Duration::from_millis(left))));
        }
        self.marks.paused_until_ms = until;
    }

    fn read_losses(&mut self) {
        let losses = self.dial.marks.of(self.dial.node).losses.load(std::sync::atomic::Ordering::Relaxed);
        if losses > self.marks.losses {
            self.marks.losses = losses;
            self.told.push(Heard::Signal(self.dial.node, Signal::Lost));
        }
    }
}

/// What PING and INFO brought.
#[derive(Debug)]
struct Exchange {
    /// For the machine: answered, or refused with the node's words.
    health: Health,
    /// What PING was answered with, when INFO was answered but PING was not with PONG (LOADING, MISCONF …).
    complaint: Option<String>,
    /// When the reply to PING arrived.
    ping: Instant,
    /// CLIENT LIST, when it was asked for; `None` within where the node would not tell.
    clients: Option<Option<String>>,
}

/// PING and INFO in one go; with `search` also the list of the node's clients.
async fn exchange(mut link: Link, search: bool, deadline: Instant) -> Result<(Exchange, Link), Fault> {
    let sections = info::SECTIONS.map(|section| ["INFO", section]);
    let mut requests: Vec<&[&str]> = vec![&["PING"]];
    requests.extend(sections.iter().map(<[&str; 2]>::as_slice));
    if search {
        requests.push(&["CLIENT", "LIST", "TYPE", "normal"]);
    }
    link.send(&requests, deadline).await?;
    let pong = link.receive(deadline).await?;
    let ping = Instant::now();
    let mut replies = Vec::with_capacity(sections.len());
    for _ in sections {
        replies.push(link.receive(deadline).await?);
    }
    let clients = match search {
        true => Some(link.receive(deadline).await?.as_str().map(str::to_owned)),
        false => None,
    };
    let complaint = pong.as_error().map(str::to_owned);
    let health = match (facts_of(&replies), &complaint) {
        (Ok(mut facts), text) => {
            facts.cannot_persist = text.as_ref().is_some_and(|text| text.starts_with("MISCONF"));
            Health::Answered(facts)
        }
        (Err(text), _) => Health::Refused(text),
    };
    Ok((Exchange { health, complaint, ping, clients }, link))
}

/// The facts in the replies to INFO of [`info::SECTIONS`]; else what the node said instead.
pub(super) fn facts_of(replies: &[Value]) -> Result<Box<Replication>, String> {
    let mut text = String::new();
    for reply in replies {
        match reply.as_bytes() {
            Some(section) => text.push_str(&String::from_utf8_lossy(section)),
            None => {
                return Err(reply.as_error().unwrap_or("ERR INFO was answered without a text").to_owned());
            }
        }
    }
    info::facts(&text).map(Box::new).ok_or_else(|| "ERR INFO names no run_id and role".to_owned())
}

#[cfg(test)]
mod tests;
