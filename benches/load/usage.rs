//! What processes take: CPU time and memory.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::fault::Fault;

/// Time that all threads of `pid` spent on a processor, user and kernel, by `/proc/<pid>/task/*/schedstat`
/// (nanoseconds; `/proc/<pid>/stat` counts in ticks of 10 ms, too coarse for runs of half a second).
///
/// # Errors
/// The process is gone or not ours to look at.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration, Fault> {
    let folder = format!("/proc/{pid}/task");
    let threads = std::fs::read_dir(&folder).map_err(|error| Fault::new(format!("{folder}: {error}")))?;
    let mut nanoseconds = 0;
    for thread in threads.flatten() {
        // A thread may end between the listing and the reading; its share is then missing from both ends alike.
        let Ok(text) = std::fs::read_to_string(thread.path().join("schedstat")) else { continue };
        nanoseconds += text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The same of this process, with threads that have ended.
pub(crate) fn own_cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

/// Resident memory of `pid`.
///
/// # Errors
/// The process is gone.
pub(crate) fn rss_kib(pid: u32) -> Result<u64, Fault> {
    let file = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&file).map_err(|error| Fault::new(format!("{file}: {error}")))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    number.ok_or_else(|| Fault::new(format!("{file}: no VmRSS")))
}
