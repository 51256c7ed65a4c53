//! What clients that said CLIENT MAINT_NOTIFICATIONS ON are to be told, numbered alike for all workers: clients know a
//! notice that came on several of their connections by its number.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::resp::{Proto, encode};
use crate::routing::{Gate, RoutingTable};

/// Notices that are remembered for clients that can not be told at once. Who misses one that is older is told of the later
/// ones: an end without a beginning does nothing to it.
const KEPT: usize = 16;

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Writes are held; `planned`: by a switchover.
    Begun { planned: bool },
    /// They go again.
    Ended { planned: bool },
    /// This process is about to end, then.
    Moving { by: Instant },
}

/// One thing to tell, and its number, which grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) number: i64,
    pub(super) what: What,
}

#[derive(Debug, Default)]
struct Log {
    last: i64,
    kept: VecDeque<Notice>,
    /// Number of the last hold whose beginning was told, and of the last whose end was.
    begun: u64,
    ended: u64,
    /// The hold that began last is part of a planned switch.
    planned: bool,
    moving: bool,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<Log>);

impl Notices {
    /// A worker sees this table. The first to see a hold begin or end makes it known for all of them.
    pub(super) fn saw(&self, table: &RoutingTable) {
        let mut log = self.lock();
        if table.holds > log.begun {
            // Nobody saw the table between the two.
            log.end();
            (log.begun, log.planned) = (table.holds, table.planned);
            log.add(What::Begun { planned: table.planned });
        }
        // A worker that is late may see a table from before the hold.
        if table.gate == Gate::Open && table.holds == log.begun {
            log.end();
        }
    }

    /// Clients may know notices up to this number, of a process before this one.
    pub(super) fn go_on_after(&self, last: i64) {
        let mut log = self.lock();
        log.last = log.last.max(last);
    }

    /// The process ends then; said once.
    pub(super) fn moving(&self, by: Instant) {
        let mut log = self.lock();
        if !std::mem::replace(&mut log.moving, true) {
            log.add(What::Moving { by });
        }
    }

    /// Number of the last notice; 0: there was none.
    pub(super) fn last(&self) -> i64 {
        self.lock().last
    }

    /// What was made known after the notice of this number.
    pub(super) fn after(&self, told: i64) -> Vec<Notice> {
        self.lock().kept.iter().filter(|notice| notice.number > told).copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // No code panics while it holds it; a poisoned one still holds whole values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn end(&mut self) {
        if self.ended < self.begun {
            self.ended = self.begun;
            self.add(What::Ended { planned: self.planned });
        }
    }

    fn add(&mut self, what: What) {
        self.last += 1;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Notice { number: self.last, what });
    }
}

/// The shards that a notice is about, as clients read them: a group is one.
const SHARDS: &[u8] = b"[\"1\"]";

impl Notice {
    /// Appends the push. `hold` is what the end of a hold is to be expected within, `address` where to go when this process
    /// ends; `None`: where the client is configured to.
    pub(super) fn write(&self, now: Instant, hold: Duration, address: Option<&str>, out: &mut BytesMut) {
        let seconds =
            |time: Duration| i64::try_from(time.as_millis().div_ceil(1_000).max(1)).unwrap_or(i64::MAX);
        let (name, len) = match self.what {
            What::Begun { planned: true } => ("MIGRATING", 4),
            What::Begun { planned: false } => ("FAILING_OVER", 4),
            What::Ended { planned: true } => ("MIGRATED", 3),
            What::Ended { planned: false } => ("FAILED_OVER", 3),
            What::Moving { .. } => ("MOVING", 4),
        };
        encode::push_header(out, len, Proto::Resp3);
        encode::bulk(out, name.as_bytes());
        encode::integer(out, self.number);
        match self.what {
            What::Begun { .. } => {
                encode::integer(out, seconds(hold));
                encode::bulk(out, SHARDS);
            }
            What::Ended { .. } => encode::bulk(out, SHARDS),
            What::Moving { by } => {
                encode::integer(out, seconds(by.saturating_duration_since(now)));
                match address {
                    Some(address) => encode::bulk(out, address.as_bytes()),
                    None => encode::null(out, Proto::Resp3),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Remedy;

    fn table(holds: u64, held: bool, planned: bool) -> RoutingTable {
        let gate = if held { Gate::Hold { since: Instant::now() } } else { Gate::Open };
        let remedy = Remedy::Unjudged;
        RoutingTable {
            epoch: 1,
            primary: None,
            gate,
            holds,
            planned,
            degraded: false,
            remedy,
            nodes: Vec::new(),
        }
    }

    #[test]
    fn numbers_go_on_after_those_of_the_process_before() {
        let notices = Notices::default();
        notices.go_on_after(41);
        assert_eq!((notices.last(), told(&notices)), (41, vec![]), "nothing is told again");
        notices.saw(&table(1, true, false));
        assert_eq!(told(&notices), [(42, FAILING)]);
    }

    fn told(notices: &Notices) -> Vec<(i64, What)> {
        notices.after(0).iter().map(|notice| (notice.number, notice.what)).collect()
    }

    const FAILING: What = What::Begun { planned: false };
    const FAILED: What = What::Ended { planned: false };
    const MIGRATING: What = What::Begun { planned: true };
    const MIGRATED: What = What::Ended { planned: true };

    #[test]
    fn whoever_sees_it_first_a_hold_is_told_once() {
        let notices = Notices::default();
        for late in [false, true] {
            notices.saw(&table(0, true, false));
            notices.saw(&table(0, false, false));
            notices.saw(&table(1, true, false));
            notices.saw(&table(1, false, false));
            assert_eq!(told(&notices), [(1, FAILING), (2, FAILED)], "late: {late}");
        }
        notices.saw(&table(2, true, true));
        // Another worker still sees the end of the one before.
        notices.saw(&table(1, false, false));
        notices.saw(&table(2, false, true));
        assert_eq!(told(&notices)[2..], [(3, MIGRATING), (4, MIGRATED)]);
        assert_eq!(notices.after(3), [Notice { number: 4, what: MIGRATED }]);
    }

    #[test]
    fn a_hold_that_no_worker_was_awake_for_is_told_from_beginning_to_end() {
        let notices = Notices::default();
        notices.saw(&table(1, false, true));
        notices.saw(&table(2, true, false));
        notices.saw(&table(3, true, false));
        let all = [(1, MIGRATING), (2, MIGRATED), (3, FAILING), (4, FAILED), (5, FAILING)];
        assert_eq!(told(&notices), all);
    }

    #[test]
    fn the_end_is_told_once_and_no_more_is_remembered_than_anybody_needs() {
        let (notices, by) = (Notices::default(), Instant::now());
        notices.moving(by);
        notices.moving(by + Duration::from_secs(1));
        assert_eq!(told(&notices), [(1, What::Moving { by })]);
        (1..100).for_each(|hold| notices.saw(&table(hold, false, false)));
        assert_eq!((notices.after(0).len(), notices.last()), (KEPT, 199));
    }

    #[test]
    fn they_are_written_as_clients_read_them() {
        let (now, hold) = (Instant::now(), Duration::from_millis(4_001));
        let write = |what, address| {
            let mut out = BytesMut::new();
            Notice { number: 7, what }.write(now, hold, address, &mut out);
            String::from_utf8(out.to_vec()).unwrap().replace("\r\n", " ")
        };
        let shards = "$5 [\"1\"] ";
        assert_eq!(write(FAILING, None), format!(">4 $12 FAILING_OVER :7 :5 {shards}"));
        assert_eq!(write(FAILED, None), format!(">3 $11 FAILED_OVER :7 {shards}"));
        assert_eq!(write(MIGRATING, None), format!(">4 $9 MIGRATING :7 :5 {shards}"));
        assert_eq!(write(MIGRATED, None), format!(">3 $8 MIGRATED :7 {shards}"));
        let moving = What::Moving { by: now + Duration::from_secs(30) };
        assert_eq!(write(moving, Some("b.example:7")), ">4 $6 MOVING :7 :30 $11 b.example:7 ");
        assert_eq!(write(moving, None), ">4 $6 MOVING :7 :30 _ ");
        assert_eq!(write(What::Moving { by: now }, None), ">4 $6 MOVING :7 :1 _ ");
    }
}
