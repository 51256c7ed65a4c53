//! Faults under an open-loop load, as often as one likes, beside Sentinel and HAProxy under the same: `make faults`.
//!
//! Without words, as `cargo test` starts it, one run of a sample of faults with Redhold alone, of which only what does not hang on the
//! machine's speed is judged: data, order, errors, and ten times the pause that is asked for. A fault that can not be done here, for
//! want of root say, is named with the reason; with `--whole` that is a failure.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod check;
mod faults;
mod ground;
mod kept;
mod load;
mod net;
mod play;
mod probe;
mod report;
mod rig;
mod sentinel;
mod strokes;

use std::process::ExitCode;
use std::time::Duration;

use faults::Fault;
use ground::Ground;
use load::Pressure;
use play::Run;
use rig::{Keeper, Rig};

/// Runs that proved nothing, at most, before it is given up.
const VOID_MAX: u32 = 3;
/// Lines of Redhold's log that are shown when something is wrong.
const LOG: usize = 40;

/// What was asked for on the command line.
struct Words {
    runs: u32,
    /// Of these the sample of each keeper, unless they were named.
    faults: Vec<Fault>,
    sample: bool,
    keepers: Vec<Keeper>,
    pressure: Pressure,
    hogs: Duration,
    whole: bool,
    out: Option<String>,
}

impl Words {
    fn read() -> Result<Self, String> {
        let pressure = Pressure { connections: 16, burst: 4, every: Duration::from_millis(16) };
        let mut words = Self {
            runs: 1,
            faults: Fault::ALL.to_vec(),
            sample: true,
            keepers: vec![Keeper::Redhold, Keeper::SemiSync],
            pressure,
            hogs: Duration::from_secs(2),
            whole: false,
            out: None,
        };
        let mut args = std::env::args().skip(1);
        while let Some(word) = args.next() {
            let mut value = || args.next().ok_or(format!("{word} wants a value"));
            let number = |text: String| text.parse::<u32>().map_err(|_| format!("{text} is no number"));
            match word.as_str() {
                "--runs" => words.runs = number(value()?)?,
                "--faults" => {
                    let faults = Fault::ALL.map(|fault| (fault.name().to_owned(), fault));
                    (words.faults, words.sample) = (among(&value()?, &faults)?, false);
                }
                "--keepers" => {
                    words.keepers = among(&value()?, &Keeper::ALL.map(|keeper| (keeper.word(), keeper)))?;
                }
                "--all" => words.sample = false,
                "--whole" => words.whole = true,
                "--hogs" => words.hogs = Duration::from_secs(number(value()?)?.into()),
                "--connections" => words.pressure.connections = number(value()?)? as usize,
                "--rate" => {
                    let each = words.pressure.connections as u32 * words.pressure.burst as u32;
                    words.pressure.every = Duration::from_secs(1) * each / number(value()?)?.max(1);
                }
                "--out" => words.out = Some(value()?),
                // Words of the test runner.
                "--nocapture" | "--include-ignored" | "--quiet" => {}
                other => {
                    return Err(format!(
                        "no such word: {other}; there are --runs N, --all, --faults {}, --keepers {}, --hogs SECONDS, --whole, \
                         --connections N, --rate N, --out FILE",
                        Fault::ALL.map(Fault::name).join(","),
                        Keeper::ALL.map(Keeper::word).join(",")
                    ));
                }
            }
        }
        Ok(words)
    }

    fn are_for(&self, keeper: Keeper, fault: Fault) -> bool {
        fault.is_for(keeper) && (!self.sample || fault.is_sample(keeper))
    }
}

/// The named ones, in the order of the list.
fn among<T: Copy>(names: &str, list: &[(String, T)]) -> Result<Vec<T>, String> {
    let find =
        |name: &str| list.iter().position(|(known, _)| known == name).ok_or(format!("there is no {name}"));
    let mut places = names.split(',').map(find).collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable();
    Ok(places.into_iter().map(|place| list[place].1).collect())
}

fn main() -> ExitCode {
    let words = match Words::read() {
        Ok(words) => words,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    net::enter();
    let mut page = report::head(&words.pressure, words.runs);
    let mut wrong = Vec::new();
    let mut number = 0;
    for keeper in words.keepers.clone() {
        let mut rig = None;
        for fault in words.faults.iter().copied().filter(|fault| words.are_for(keeper, *fault)) {
            let row = match fault.ground().why_not() {
                Some(why) => {
                    if words.whole {
                        wrong.push(format!("{}: not run: {why}", fault.says()));
                    }
                    report::not_run(keeper, fault, &why)
                }
                None => {
                    let (runs, faults) = repeat(keeper, &mut rig, fault, &mut number, &words);
                    wrong.extend(faults);
                    report::row(keeper, fault, &runs)
                }
            };
            println!("{row}");
            page.push_str(&row);
        }
    }
    if let Some(out) = words.out {
        std::fs::write(&out, page).expect("the page can be written");
    }
    wrong.iter().for_each(|why| println!("WRONG: {why}"));
    ExitCode::from(u8::from(!wrong.is_empty()))
}

fn repeat(
    keeper: Keeper,
    rig: &mut Option<(Ground, Rig)>,
    fault: Fault,
    number: &mut u32,
    words: &Words,
) -> (Vec<Run>, Vec<String>) {
    let (mut runs, mut wrong, mut void) = (Vec::new(), Vec::new(), 0);
    while runs.len() < words.runs as usize {
        *number += 1;
        let ground = fault.ground();
        if ground.is_used_up() || rig.as_ref().is_none_or(|(under, _)| *under != ground) {
            // The old one is gone before there is a new one.
            *rig = None;
        }
        let (_, rig) = rig.get_or_insert_with(|| (ground, Rig::new(keeper, ground)));
        match play::play(rig, fault, *number, words.pressure, words.hogs) {
            Some(run) => {
                if let Some(proxy) = rig.proxy() {
                    let faults = report::wrong(keeper, fault, &run);
                    if !faults.is_empty() {
                        let log = proxy.log();
                        let lines: Vec<&str> = log.lines().collect();
                        println!("{faults:?}\n{}\n", lines[lines.len().saturating_sub(LOG)..].join("\n"));
                    }
                    wrong.extend(faults);
                }
                runs.push(run);
            }
            None if void < VOID_MAX => void += 1,
            None => panic!("{}: the check does not see what is planted", fault.name()),
        }
    }
    (runs, wrong)
}
