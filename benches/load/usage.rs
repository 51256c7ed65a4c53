//! CPU time of other processes.

use std::time::Duration;

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
