//! Random scripts, and playing one to both.

use std::fmt::Write as _;

use crate::model::Boot;
use crate::real::Real;
use crate::support::Version;
use crate::twin::Twin;

pub(crate) const NODES: usize = 3;
const STEPS: usize = 14;

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A client writes, and asks how many replicas have it.
    Write(usize),
    Follow(usize, usize),
    Seal(usize),
    Promote(usize),
    Stop(usize),
    Continue(usize),
    /// kill -9
    Kill(usize),
    Boot(usize, Boot),
    Save(usize),
    /// CLIENT PAUSE WRITE
    Pause(usize),
    Unpause(usize),
    /// `min-replicas-to-write`
    Need(usize, usize),
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// OK.
    Written,
    /// The first word of the error.
    Refused(String),
    /// Not before the pause is over.
    Waits,
}

/// splitmix64
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).expect("below a usize")
    }
}

/// Plays the script of `seed` to the simulation and to servers; how many steps, or where they part.
pub(crate) fn play(seed: u64, version: Version) -> Result<usize, String> {
    let mut dice = Dice(seed);
    let mut twin = Twin::new(version);
    let mut real = Real::new(version);
    let mut text = format!("SEED={seed} {}", version.name);
    for number in 0..STEPS {
        if number > 0 {
            let step = twin.choose(&mut dice);
            write!(text, "\n  {number}: {step:?}").expect("strings take everything");
            let expected = twin.step(step);
            let found = real.step(step, &expected);
            if found != expected {
                return Err(format!("{text}: the model says {expected:?}, the server {found:?}"));
            }
        }
        let expected = twin.facts();
        if let Err(found) = real.settles(&expected) {
            return Err(format!("{text}\nthe model, then the servers:\n{}\n{found}", shown(&expected)));
        }
        if let Some(found) = real.replicated(&twin.replicated()) {
            return Err(format!("{text}: WAIT of {:?} says {found}", twin.replicated()));
        }
    }
    if std::env::var_os("SEED").is_some() {
        println!("{text}");
    }
    Ok(STEPS)
}

pub(crate) fn shown<T: std::fmt::Debug>(facts: &[T]) -> String {
    facts.iter().map(|fact| format!("    {fact:?}")).collect::<Vec<_>>().join("\n")
}
