//! The memory of a process over the length of a test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::process::rss_bytes;

/// Between two looks.
const BEAT: Duration = Duration::from_millis(5);

/// Looks at the resident memory of a process until it is asked.
#[derive(Debug)]
pub struct Memory {
    pid: u32,
    before: u64,
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

impl Memory {
    /// Begins; the process must outlive the value.
    #[track_caller]
    pub fn watch(pid: u32) -> Self {
        let before = rss_bytes(pid);
        let (peak, stop) = (Arc::new(AtomicU64::new(before)), Arc::new(AtomicBool::new(false)));
        let watch = {
            let (peak, stop) = (peak.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    peak.fetch_max(rss_bytes(pid), Ordering::SeqCst);
                    std::thread::sleep(BEAT);
                }
            })
        };
        Self { pid, before, peak, stop, watch: Some(watch) }
    }

    /// Bytes by which it has grown at most.
    #[track_caller]
    pub fn grown(&self) -> u64 {
        self.peak.fetch_max(rss_bytes(self.pid), Ordering::SeqCst);
        self.peak.load(Ordering::SeqCst) - self.before
    }

    /// Panics when it ever grew by more than `limit` bytes, for which `reason` stands.
    #[track_caller]
    pub fn assert_grown_less(&self, limit: u64, reason: &str) {
        let (grown, now) = (self.grown(), rss_bytes(self.pid));
        println!(
            "memory: {} KiB before, {} KiB more at the peak, {} KiB at the end",
            self.before >> 10,
            grown >> 10,
            now >> 10
        );
        assert!(grown <= limit, "{grown} bytes more, {limit} are {reason}");
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(watch) = self.watch.take() {
            watch.join().ok();
        }
    }
}
