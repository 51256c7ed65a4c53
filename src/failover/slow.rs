//! Gray failure: a node that answers, and takes many times as long as it used to while another does not. Pure, and a few
//! numbers a node.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::topology::NodeId;

/// What counts as slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slowness {
    /// So many times a node's own baseline …
    pub(super) factor: u32,
    /// … and more than this: nobody minds less, whatever it was before.
    pub(super) floor: Duration,
    /// Round trips within one of these are judged together.
    pub(super) slice: Duration,
    /// So many slices one after the other must be slow. As many tell the baseline.
    pub(super) slices: u32,
}

/// Slices of a window, unless looks are too rare for so many.
const SLICES: u32 = 10;

/// Looks that should fall into a slice: one says nothing.
const LOOKS: u32 = 3;

impl Slowness {
    /// Ten times the baseline and ten milliseconds, for the whole of `window`.
    pub(super) fn of(window: Duration, interval: Duration) -> Self {
        let slice = (window / SLICES).max(interval * LOOKS);
        let slices = window.div_duration_f64(slice).ceil().clamp(1.0, f64::from(SLICES));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and SLICES")]
        let slices = slices as u32;
        Self { factor: 10, floor: Duration::from_millis(10), slice, slices }
    }

    /// What was before so long says nothing of now.
    fn forgotten(&self) -> Duration {
        self.slice * self.slices.max(LOOKS) / 2
    }
}

/// A slice is slow, or normal, when at least so many in ten of its round trips are.
const MOST: u32 = 9;

/// Round trips that tell the first baseline: the last so many, and no fewer than these.
const EARLY_MAX: usize = 64;
const EARLY_MIN: u64 = 20;

/// A baseline follows what is typical by a hundredth a slice: what lasts is the new normal after some minutes …
const FOLLOWS: f64 = 0.01;

/// … but of a node that is slow only after hours: who was told so is to see it until it ends.
const FOLLOWS_SLOW: f64 = FOLLOWS / 30.0;

/// No baseline is lower, in seconds.
const BASELINE_MIN: f64 = 1e-6;

/// A node that is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slow {
    /// What its PING takes, on average.
    pub(super) takes: Duration,
    /// What it took as a rule.
    pub(super) took: Duration,
}

/// The slice that goes on.
#[derive(Clone, Copy, Debug)]
struct Slice {
    began: Instant,
    count: u32,
    slow: u32,
    sum: Duration,
}

/// What a whole slice was.
#[derive(Clone, Copy, Debug)]
struct Past {
    ended: Instant,
    mean: Duration,
    slow: bool,
    normal: bool,
}

impl Slice {
    fn new(began: Instant) -> Self {
        Self { began, count: 0, slow: 0, sum: Duration::ZERO }
    }

    fn end(self, ended: Instant) -> Past {
        let most = |count: u32| self.count > 0 && count * 10 >= self.count * MOST;
        Past {
            ended,
            mean: self.sum / self.count.max(1),
            slow: most(self.slow),
            normal: most(self.count - self.slow),
        }
    }
}

/// One node.
#[derive(Clone, Debug, Default)]
struct Track {
    /// The first round trips, of which the last are kept, until they tell the baseline.
    early: Vec<Duration>,
    early_seen: u64,
    early_since: Option<Instant>,
    /// What a round trip takes as a rule, seconds.
    baseline: Option<f64>,
    last: Option<Instant>,
    slice: Option<Slice>,
    past: Option<Past>,
    /// How many slices up to the last were slow, one after the other.
    streak: u32,
}

impl Track {
    /// What was before says nothing of now, but for the baseline.
    fn rest(&mut self) {
        (self.slice, self.past, self.streak) = (None, None, 0);
    }

    fn learn(&mut self, took: Duration, now: Instant, rules: &Slowness) {
        let since = *self.early_since.get_or_insert(now);
        let slot = usize::try_from(self.early_seen % EARLY_MAX as u64).unwrap_or(0);
        match self.early.get_mut(slot) {
            Some(old) => *old = took,
            None => self.early.push(took),
        }
        self.early_seen += 1;
        let long_enough = now.saturating_duration_since(since) >= rules.slice * rules.slices;
        if long_enough && self.early_seen >= EARLY_MIN {
            let mut early = std::mem::take(&mut self.early);
            early.sort_unstable();
            self.baseline = Some(early[early.len() / 2].as_secs_f64().max(BASELINE_MIN));
        }
    }

    /// Moves the baseline towards what is typical: half of the round trips are above it when it comes to rest.
    fn follow(&mut self, took: Duration, passed: Duration, rules: &Slowness) {
        let pace = if self.streak > 0 { FOLLOWS_SLOW } else { FOLLOWS };
        let step = pace * passed.div_duration_f64(rules.slice).min(1.0);
        if let Some(baseline) = &mut self.baseline {
            let longer = took.as_secs_f64() > *baseline;
            *baseline = (*baseline * if longer { 1.0 + step } else { 1.0 - step }).max(BASELINE_MIN);
        }
    }
}

/// All nodes.
#[derive(Clone, Debug)]
pub(super) struct Gauge {
    rules: Slowness,
    /// Of those who were noted.
    tracks: BTreeMap<NodeId, Track>,
}

impl Gauge {
    pub(super) fn new(rules: Slowness) -> Self {
        Self { rules, tracks: BTreeMap::new() }
    }

    /// `node` answered PING after `took`. `explained`: it works on a request that takes long, or was paused.
    pub(super) fn note(&mut self, node: NodeId, took: Duration, explained: bool, now: Instant) {
        let rules = self.rules;
        let track = self.tracks.entry(node).or_default();
        let passed = track.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        if passed > rules.forgotten() {
            track.rest();
        }
        track.last = Some(now);
        let Some(baseline) = track.baseline else {
            if !explained {
                track.learn(took, now, &rules);
            }
            return;
        };
        let slow = took > rules.floor && took.as_secs_f64() > baseline * f64::from(rules.factor);
        if slow && explained {
            return track.rest();
        }
        track.follow(took, passed, &rules);
        let mut slice = track.slice.unwrap_or(Slice::new(now));
        let over = now.saturating_duration_since(slice.began) >= rules.slice;
        let past = over.then(|| slice.end(now));
        if over {
            slice = Slice::new(now);
        }
        slice.count += 1;
        slice.slow += u32::from(slow);
        slice.sum += took;
        track.slice = Some(slice);
        if let Some(past) = past {
            self.close(node, past);
        }
    }

    /// A slice of `node` is over. It counts as slow only beside somebody who is not: when all are, it is the way there, or
    /// this proxy.
    fn close(&mut self, node: NodeId, past: Past) {
        let beside = self.tracks.iter().any(|(other, track)| {
            *other != node && track.past.is_some_and(|peer| self.is_beside(&peer, &past))
        });
        let track = self.tracks.entry(node).or_default();
        track.past = Some(past);
        track.streak = if past.slow && beside { (track.streak + 1).min(self.rules.slices) } else { 0 };
    }

    /// Whether a node is as it always was, at the time of `past`, and clearly quicker than that.
    fn is_beside(&self, peer: &Past, past: &Past) -> bool {
        let recent = past.ended.saturating_duration_since(peer.ended) <= self.rules.forgotten();
        peer.normal && recent && peer.mean * 2 < past.mean
    }

    /// After a stall of our own everybody was slow, and nobody was.
    pub(super) fn rest(&mut self) {
        self.tracks.values_mut().for_each(Track::rest);
    }

    /// Another process answers for `node`, or nobody.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.tracks.remove(&node);
    }

    /// Whether `node` has been slow for long enough; `None` within: it is not.
    pub(super) fn slow(&self, node: NodeId) -> Option<Slow> {
        let track = self.tracks.get(&node)?;
        let (past, baseline) = (track.past?, track.baseline?);
        (track.streak >= self.rules.slices)
            .then(|| Slow { takes: past.mean, took: Duration::from_secs_f64(baseline) })
    }

    /// Whether it is known what `node` takes as a rule.
    pub(super) fn knows(&self, node: NodeId) -> bool {
        self.tracks.get(&node).is_some_and(|track| track.baseline.is_some())
    }

    /// Whether `node` is as it always was, and clearly quicker than the slow `than`.
    pub(super) fn relieves(&self, node: NodeId, than: NodeId) -> bool {
        let past = |node| self.tracks.get(&node).and_then(|track| track.past);
        match (past(node), past(than)) {
            (Some(peer), Some(past)) => self.is_beside(&peer, &past),
            (Some(_) | None, _) => false,
        }
    }
}

#[cfg(test)]
mod tests;
