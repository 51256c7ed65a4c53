//! Waiting on conditions.

use std::io;
use std::time::{Duration, Instant};

/// The deadline for whatever an idle machine does within two or three seconds.
pub const LONG: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(5);

/// Returns as soon as `condition` holds; panics naming `what` when it did not within `deadline`.
#[track_caller]
pub fn eventually(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(deadline, what, || condition().then_some(()));
}

/// Returns the first value that `probe` yields; panics naming `what` when there was none within `deadline`.
#[track_caller]
pub fn eventually_some<T>(deadline: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(POLL);
    }
}

/// Whether a read on a socket ended because nothing came within its time-out.
pub(super) fn timed_out(fault: &io::Error) -> bool {
    matches!(fault.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
