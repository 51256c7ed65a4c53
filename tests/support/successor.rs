//! A process that a proxy had started to take over from it.

use rustix::process::{Pid, Signal, kill_process};

use super::proxy::Proxy;
use super::wait::{LONG, eventually_some};

/// It ends with this value: the proxy that started it may be gone.
#[derive(Debug)]
pub struct Successor {
    /// Its process id.
    pub pid: u32,
}

impl Successor {
    /// Has the process `of`, the proxy's or that of a successor, start one, and waits until that serves.
    #[track_caller]
    pub fn of(of: u32, proxy: &Proxy) -> Self {
        let before = taken_over(&proxy.log()).len();
        signal(of, Signal::USR2);
        let pid = eventually_some(LONG, "another process takes over", || {
            taken_over(&proxy.log()).get(before).copied()
        });
        Self { pid }
    }

    /// The one of which the answer to an order tells.
    #[track_caller]
    pub fn told(answer: &str) -> Self {
        let pid = answer.split_once("process ").and_then(|(_, rest)| rest.split_once(" has taken over"));
        Self { pid: pid.and_then(|(pid, _)| pid.parse().ok()).expect(answer) }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        signal(self.pid, Signal::KILL);
    }
}

/// It may have ended.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).ok();
}

fn taken_over(log: &str) -> Vec<u32> {
    let lines = log.lines().filter_map(|line| line.split_once("another process has taken over pid="));
    lines.filter_map(|(_, pid)| pid.split_whitespace().next()?.parse().ok()).collect()
}
