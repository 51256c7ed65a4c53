//! Is the simulated node of `tests/failover` a redis-server? Random scripts of node commands are played to the simulation and to
//! real servers, and after every step the two must say the same.
//!
//! A few scripts with the redis-server of the machine; `REDHOLD_ALL_SERVERS=1` plays 200 on every version, `SCRIPTS=1000` more,
//! `SEED=17` plays one and prints it.

#[path = "../failover/model.rs"]
#[allow(dead_code, reason = "the simulation of the machine uses the rest")]
mod model;
mod real;
mod script;
#[path = "../support/mod.rs"]
mod support;
mod twin;
#[path = "../failover/world/mod.rs"]
#[allow(dead_code, reason = "the simulation of the machine uses the rest")]
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{V7_0, Version, installed, number};

/// Scripts that are played side by side. Most of their time they wait for a replica that tries again once a second.
const SIDE_BY_SIDE: usize = 16;

#[test]
fn simulated_nodes_do_what_servers_do() {
    let all = std::env::var("REDHOLD_ALL_SERVERS").is_ok_and(|value| value == "1");
    let versions = if all { installed() } else { vec![V7_0] };
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SCRIPTS").unwrap_or(if all { 200 } else { 24 }),
    };
    let plays: Vec<(u64, Version)> =
        seeds.flat_map(|seed| versions.iter().map(move |version| (seed, *version))).collect();
    let (next, faults, steps) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(plays.len()) {
            scope.spawn(|| {
                while let Some((seed, version)) = plays.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match script::play(*seed, *version) {
                        Ok(played) => drop(steps.fetch_add(played, Ordering::Relaxed)),
                        Err(fault) => faults.lock().expect("nobody panics with it").push(fault),
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().expect("nobody panics with it");
    println!("{} scripts, {} steps", plays.len(), steps.load(Ordering::Relaxed));
    let shown = &faults[..faults.len().min(5)];
    assert!(faults.is_empty(), "{} scripts end differently\n{}", faults.len(), shown.join("\n"));
}
