//! The course of the demonstration.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::cli::dev::{Group, NodeEvent, Scratch, Servers, config_text, next_free};

use super::args::DemoArgs;
use super::child::Proxy;
use super::load::{Counts, Load};
use super::readback::{Says, primary, read_back, roles};
use super::report::Report;
use super::view::{BEAT, Moment, View};

/// A kill proves something only if it hits work: so many requests in flight and acknowledged writes before it.
const IN_FLIGHT: u64 = 10;
const ACKNOWLEDGED: u64 = 1000;
/// How long a new primary may take until the demonstration gives up.
const OUTAGE: Duration = Duration::from_secs(60);

/// Runs the demonstration to its end.
///
/// # Errors
/// A sentence: something could not be started, or a promise was broken.
pub(crate) fn run(args: &DemoArgs) -> Result<(), String> {
    if args.dev.replicas == 0 {
        return Err("without a replica there is nobody to promote: --replicas 1 at least".to_owned());
    }
    let servers = Servers::find()?;
    let (listen, admin) = (next_free(args.dev.listen)?, next_free(args.dev.admin)?);
    let scratch = Scratch::create(args.dev.dir.as_deref())?;
    let (events, happened) = mpsc::channel();
    let tell = move |event| drop(events.send((Instant::now(), event)));
    let group = Group::start(servers.clone(), scratch.path(), args.dev.replicas, tell)?;
    let state_dir = scratch.path().join("state");
    std::fs::create_dir_all(&state_dir)
        .map_err(|error| format!("cannot make {}: {error}", state_dir.display()))?;
    let config =
        format!("{}[failover]\nstate_dir = {state_dir:?}\n", config_text(group.ports(), listen, admin));
    let proxy = Proxy::start(&servers, scratch.path(), &config, listen)?;
    println!(
        "Redhold on {listen} (status: http://{admin}/), {} connections that write and read; in {} s the primary is killed.",
        args.connections, args.seconds
    );
    let mut course = Course::begin(&group, happened, Load::start(listen, args.connections));
    let killed = course.until_kill(Duration::from_secs(args.seconds.into()))?;
    let result = course.until_recovered(killed, Duration::from_secs(args.seconds.into()));
    let mut report = course.end(killed.in_flight)?;
    println!("{}", report.text());
    result.map_err(|fault| format!("{fault}; the end of the proxy's log:\n{}", proxy.log_tail()))?;
    report.verdict()
}

/// The kill.
#[derive(Clone, Copy, Debug)]
struct Killed {
    port: u16,
    in_flight: u64,
    at: Instant,
}

struct Course<'a> {
    group: &'a Group,
    happened: mpsc::Receiver<(Instant, NodeEvent)>,
    load: Load,
    began: Instant,
    view: View,
    moments: Vec<Moment>,
}

impl<'a> Course<'a> {
    fn begin(group: &'a Group, happened: mpsc::Receiver<(Instant, NodeEvent)>, load: Load) -> Self {
        let began = Instant::now();
        let moments = vec![Moment { at: began, text: "the load begins".to_owned() }];
        Self { group, happened, load, began, view: View::new(began), moments }
    }

    fn counts(&self) -> &Counts {
        &self.load.counts
    }

    fn note(&mut self, at: Instant, text: String) {
        self.moments.push(Moment { at, text });
    }

    /// One beat: what happened to nodes, who leads, the view. Returns the port of the primary.
    fn beat(&mut self) -> Option<u16> {
        std::thread::sleep(BEAT);
        while let Ok((at, event)) = self.happened.try_recv() {
            self.note(at, event.to_string());
        }
        let ports = self.group.ports();
        let roles = roles(ports);
        let line = |(port, role): (&u16, &Says)| {
            let role = match role {
                Says::Primary => "primary",
                Says::Replica => "replica",
                Says::Nothing => "does not answer",
            };
            format!("127.0.0.1:{port}  {role}")
        };
        let nodes: Vec<String> = ports.iter().zip(&roles).map(line).collect();
        self.view.show(&self.load.counts, &nodes, &self.moments);
        primary(ports, &roles)
    }

    /// Load for a while, then `kill -9` at a moment that hits requests in flight.
    fn until_kill(&mut self, load_for: Duration) -> Result<Killed, String> {
        let worth_it = |counts: &Counts| counts.acknowledged.load(Ordering::Relaxed) >= ACKNOWLEDGED;
        let mut leader = self.beat();
        while self.began.elapsed() < load_for || !worth_it(self.counts()) {
            leader = self.beat();
            if self.began.elapsed() > load_for + OUTAGE {
                return Err(format!(
                    "fewer than {ACKNOWLEDGED} writes were acknowledged: the proxy does not work"
                ));
            }
        }
        let port = leader.ok_or("no node, or more than one, is a primary before the kill")?;
        let deadline = Instant::now() + OUTAGE;
        let in_flight = loop {
            let in_flight = self.counts().in_flight.load(Ordering::Relaxed);
            if in_flight >= IN_FLIGHT || Instant::now() > deadline {
                break in_flight;
            }
            std::hint::spin_loop();
        };
        let at = self.group.kill(port).ok_or_else(|| format!("the primary on port {port} does not run"))?;
        self.note(at, format!("kill -9 of the primary 127.0.0.1:{port}, {in_flight} requests in flight"));
        Ok(Killed { port, in_flight, at })
    }

    /// Until another node leads and requests are answered again, and load for a while after that.
    fn until_recovered(&mut self, killed: Killed, load_for: Duration) -> Result<(), String> {
        loop {
            let before = self.counts().answered.load(Ordering::Relaxed);
            let leader = self.beat().filter(|&port| port != killed.port);
            let goes_on = self.counts().answered.load(Ordering::Relaxed) > before;
            if let (Some(port), true) = (leader, goes_on) {
                self.note(
                    Instant::now(),
                    format!("127.0.0.1:{port} is seen as the primary, requests are answered"),
                );
                break;
            }
            if killed.at.elapsed() > OUTAGE {
                return Err(format!("no new primary within {} s", OUTAGE.as_secs()));
            }
        }
        let until = Instant::now() + load_for;
        while Instant::now() < until {
            self.beat();
        }
        Ok(())
    }

    fn end(mut self, in_flight: u64) -> Result<Report, String> {
        self.note(Instant::now(), "the load ends".to_owned());
        let counts = self.load.counts.clone();
        let memories = self.load.stop();
        let dropped = counts.dropped.load(Ordering::Relaxed);
        let ports = self.group.ports();
        let port =
            primary(ports, &roles(ports)).ok_or("no node, or more than one, is a primary in the end")?;
        let readback = read_back(port, &memories)?;
        Ok(Report { began: self.began, moments: self.moments, memories, dropped, in_flight, readback })
    }
}
