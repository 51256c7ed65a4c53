//! Faults under an open-loop load, as often as one likes, beside Sentinel and HAProxy under the same: `make faults`.
//!
//! Without words, as `cargo test` starts it, one run of each fault with Redhold alone, of which only what does not hang on the
//! machine's speed is judged: data, order, errors, and ten times the pause that is asked for.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod check;
mod faults;
mod load;
mod report;
mod rig;
mod sentinel;

use std::process::ExitCode;
use std::time::Duration;

use faults::{Fault, Run};
use load::Pressure;
use rig::{Keeper, Rig};

/// Runs that proved nothing, at most, before it is given up.
const VOID_MAX: u32 = 3;

/// What was asked for on the command line.
struct Words {
    runs: u32,
    faults: Vec<Fault>,
    keepers: Vec<Keeper>,
    pressure: Pressure,
    out: Option<String>,
}

impl Words {
    fn read() -> Result<Self, String> {
        let pressure = Pressure { connections: 16, burst: 4, every: Duration::from_millis(16) };
        let mut words = Self {
            runs: 1,
            faults: Fault::ALL.to_vec(),
            keepers: vec![Keeper::Redhold, Keeper::SemiSync],
            pressure,
            out: None,
        };
        let mut args = std::env::args().skip(1);
        while let Some(word) = args.next() {
            let mut value = || args.next().ok_or(format!("{word} wants a value"));
            let number = |text: String| text.parse::<u32>().map_err(|_| format!("{text} is no number"));
            match word.as_str() {
                "--runs" => words.runs = number(value()?)?,
                "--faults" => {
                    let list = value()?;
                    let one = |name: &str| {
                        Fault::ALL
                            .into_iter()
                            .find(|fault| fault.name() == name)
                            .ok_or(format!("no fault {name}"))
                    };
                    words.faults = list.split(',').map(one).collect::<Result<_, _>>()?;
                }
                "--beside" => {
                    words.keepers.extend([Keeper::Sentinel(1_000), Keeper::Sentinel(200)]);
                }
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
                        "no such word: {other}; there are --runs N, --faults {}, --beside, --connections N, --rate N, --out FILE",
                        Fault::ALL.map(Fault::name).join(",")
                    ));
                }
            }
        }
        Ok(words)
    }
}

fn main() -> ExitCode {
    let words = match Words::read() {
        Ok(words) => words,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let mut page = report::head(&words.pressure, words.runs);
    let mut wrong = Vec::new();
    for keeper in words.keepers.clone() {
        let mut rig = Rig::new(keeper);
        let mut number = 0;
        for fault in &words.faults {
            let runs = repeat(&mut rig, *fault, &mut number, &words);
            if !matches!(keeper, Keeper::Sentinel(_)) {
                wrong.extend(runs.iter().flat_map(|run| report::wrong(keeper, *fault, run)));
            }
            let row = report::row(keeper, *fault, &runs);
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

fn repeat(rig: &mut Rig, fault: Fault, number: &mut u32, words: &Words) -> Vec<Run> {
    let (mut runs, mut void) = (Vec::new(), 0);
    while runs.len() < words.runs as usize {
        *number += 1;
        match faults::play(rig, fault, *number, words.pressure) {
            Some(run) => runs.push(run),
            None if void < VOID_MAX => void += 1,
            None => panic!("{}: the check does not see what is planted", fault.name()),
        }
    }
    runs
}
