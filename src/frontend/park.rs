//! What a worker does before it looks for events: it waits as long as its batcher says.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::batching::{Batcher, Counted};
use super::worker::Worker;

thread_local! {
    /// This thread's.
    static PARKING: RefCell<Option<(Rc<Worker>, Batcher)>> = const { RefCell::new(None) };
}

/// The runtime of this thread serves `worker`.
pub(super) fn serve(worker: &Rc<Worker>) {
    // The default slack of 50 us would be added to every wait.
    let slack = std::num::NonZeroU64::new(1);
    if let Err(error) = rustix::thread::set_current_timer_slack(slack) {
        tracing::warn!(%error, "waits of proxy.batching may take longer than they should");
    }
    PARKING.set(Some((worker.clone(), Batcher::new(worker.settings.batching, Instant::now()))));
}

/// Called by the runtime when all its tasks wait.
pub(super) fn before_park() {
    let wait = PARKING.with_borrow_mut(|parking| {
        let Some((worker, batcher)) = parking else { return Duration::ZERO };
        let now = Instant::now();
        if batcher.is_due(now) {
            let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            let cpu = Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32);
            batcher.end_window(now, Counted { answered: worker.pools.around().answered.get(), cpu });
        }
        batcher.wait(worker.pools.on_their_way())
    });
    if !wait.is_zero() {
        std::thread::sleep(wait);
    }
}
