//! What becomes of requests that a lost connection or a refusing node left without a result. Pure.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::command::{Effect, Retry, RowId, classify};
use crate::error::Failure;
use crate::resp::RequestScanner;
use crate::topology::Address;

use super::kept_back::{Kept, REFUSED_PAUSE, Room};

/// The longest pause before a refused request is tried again.
const REFUSED_PAUSE_MAX: Duration = Duration::from_millis(100);

/// What a client's task does before it takes anything new, in this order.
#[derive(Debug)]
pub(super) enum Redo {
    /// The request is dispatched once more.
    Send {
        /// In multibulk form.
        request: Bytes,
        /// It may have been executed before: it is not sent a third time.
        resent: bool,
        /// When the client's wait for it began; of a refused one, when it was first refused.
        since: Instant,
        /// Not before this moment: the node just refused it.
        after: Option<Instant>,
        /// The refusal, handed on when the hold has passed.
        refusal: Option<Refusal>,
        /// It goes alone: what was refused with it follows when the node has taken this one.
        probe: bool,
    },
    /// The client is told.
    Answer {
        failure: Failure,
        /// Of the request.
        row: RowId,
        /// When the client's wait for it began.
        since: Instant,
    },
    /// The client gets these bytes.
    Say(Bytes),
}

/// What a node refused a request with.
#[derive(Debug)]
pub(super) struct Refusal {
    frame: Bytes,
    _kept: Kept,
}

impl Redo {
    /// Sends `request` again.
    pub(super) fn again(request: &[u8], resent: bool, since: Instant) -> Self {
        let request = Bytes::copy_from_slice(request);
        Self::Send { request, resent, since, after: None, refusal: None, probe: false }
    }

    /// Sends `request` again after a pause; the node refused it with `frame` and did not execute it. It, or what it was
    /// refused with, was first refused at `since`. It takes its part of `room`.
    pub(super) fn refused(
        request: &[u8],
        frame: &[u8],
        resent: bool,
        since: Instant,
        now: Instant,
        room: &Rc<Room>,
    ) -> Self {
        let kept = room.keep(request.len() + frame.len());
        Self::Send {
            request: Bytes::copy_from_slice(request),
            resent,
            since,
            after: Some(now + refused_pause(now.saturating_duration_since(since))),
            refusal: Some(Refusal { frame: Bytes::copy_from_slice(frame), _kept: kept }),
            probe: false,
        }
    }

    /// Tells the client that its request of this row, for which its wait began at `since`, has failed.
    pub(super) fn answer(failure: Failure, row: RowId, since: Instant) -> Self {
        Self::Answer { failure, row, since }
    }

    /// Lets it wait until then.
    pub(super) fn not_before(mut self, moment: Instant) -> Self {
        if let Self::Send { after, .. } = &mut self {
            *after = Some(moment);
        }
        self
    }

    /// Lets it go alone.
    pub(super) fn alone(mut self) -> Self {
        if let Self::Send { probe, .. } = &mut self {
            *probe = true;
        }
        self
    }

    /// The refusal that the client has not seen.
    pub(super) fn refusal(&self) -> Option<&Bytes> {
        match self {
            Self::Send { refusal, .. } => refusal.as_ref().map(|refusal| &refusal.frame),
            Self::Answer { .. } | Self::Say(_) => None,
        }
    }

    /// Whether it is a write that may have been executed where it was sent first.
    pub(super) fn may_be_executed(&self) -> bool {
        let Self::Send { request, resent: true, .. } = self else { return false };
        RequestScanner::of_kept(request)
            .is_none_or(|scanner| classify(&scanner.request(request)).effect == Effect::Write)
    }
}

/// How long after a refusal it is tried again: the longer refusals last already, the less does it hurry, and many clients ask.
fn refused_pause(lasted: Duration) -> Duration {
    (lasted / 8).clamp(REFUSED_PAUSE, REFUSED_PAUSE_MAX)
}

/// What losses left to be done, in the order of the client's requests.
#[derive(Debug, Default)]
pub(super) struct Redos {
    queue: VecDeque<Redo>,
    /// How many of the first ones belong to the loss at hand.
    lost: usize,
}

impl Redos {
    /// A request of the loss at hand: behind the others of this loss, and before what still waits here, because a
    /// request that was sent again and lost again is older than what never left.
    pub(super) fn lost(&mut self, redo: Redo) {
        self.queue.insert(self.lost, redo);
        self.lost += 1;
    }

    /// The next one. What is lost from now on is another loss.
    pub(super) fn next(&mut self) -> Option<Redo> {
        self.lost = 0;
        self.queue.pop_front()
    }

    /// Puts back what `next` gave and could not be done yet.
    pub(super) fn put_back(&mut self, redo: Redo) {
        self.queue.push_front(redo);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// How a request of unknown outcome may be treated.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryRules {
    /// Commands of the same effect and reply twice may be sent again.
    pub(super) idempotent: bool,
    /// Everything may.
    pub(super) all: bool,
    /// A request that waited this long for its reply may be what silenced the node.
    pub(super) poison_after: Duration,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It may have been executed, and once more does no harm.
    Again,
    /// It may have been executed: the client is told so.
    Unknown,
    /// A read that may be what killed the node.
    DiedWith,
}

/// The fate of a request that was wholly written and not answered.
pub(super) fn fate_of(request: &[u8], rules: &RetryRules, resent: bool, waited: Duration) -> Fate {
    let Some(scanner) = RequestScanner::of_kept(request) else { return Fate::Unknown };
    let class = classify(&scanner.request(request));
    let spent = resent || waited >= rules.poison_after;
    match class.retry {
        Retry::Read | Retry::Parked if !spent => Fate::Again,
        Retry::Idempotent if !spent && (rules.idempotent || rules.all) => Fate::Again,
        Retry::Never if !spent && rules.all => Fate::Again,
        Retry::Read | Retry::Parked => Fate::DiedWith,
        Retry::Never if class.effect == Effect::Read => Fate::DiedWith,
        Retry::Idempotent | Retry::Never => Fate::Unknown,
    }
}

/// What is done about a request that met `fate`.
pub(super) fn after_loss(
    fate: Fate,
    (row, request): (RowId, &[u8]),
    since: Instant,
    ambiguous: &Failure,
    node: &Address,
) -> Redo {
    match fate {
        Fate::Again => Redo::again(request, true, since),
        Fate::Unknown => Redo::answer(ambiguous.clone(), row, since),
        Fate::DiedWith => Redo::answer(Failure::InFlightAtDeath { node: node.to_string() }, row, since),
    }
}

/// What servers themselves say before they execute anything, word for word: the same code from a script or a module is an
/// answer. A fact about every installed server.
const REFUSALS: [&[u8]; 4] = [
    b"-READONLY You can't write against a read only replica.\r\n",
    b"-LOADING Redis is loading the dataset in memory\r\n",
    b"-LOADING Valkey is loading the dataset in memory\r\n",
    b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
];

/// Whether this error reply to a request of this row proves that nothing was executed. A script may say whatever it
/// likes after it has written.
pub(super) fn is_proof(row: RowId, frame: &[u8]) -> bool {
    REFUSALS.contains(&frame) && !is_script(row)
}

/// The beginnings of what servers say of a disk that takes nothing, before they execute anything, and what they say of too few
/// replicas. Facts about every installed server.
const CURABLE: [&[u8]; 4] = [
    b"-MISCONF Redis is configured to save RDB snapshots, but ",
    b"-MISCONF Valkey is configured to save RDB snapshots, but ",
    b"-MISCONF Errors writing to the AOF file: ",
    b"-NOREPLICAS Not enough good replicas to write.\r\n",
];

/// The same of a refusal that may end while the node leads, or with another node that does.
pub(super) fn is_curable_proof(row: RowId, frame: &[u8]) -> bool {
    CURABLE.iter().any(|words| frame.starts_with(words)) && !is_script(row)
}

fn is_script(row: RowId) -> bool {
    let name = row.spec().name;
    name.starts_with("eval") || name.starts_with("fcall")
}

/// What a client is told in place of `-REDIRECT host:port`, by which Valkey sends clients that can follow to another node: that
/// this one leads no more, which is for Redhold to follow. `None`: it is no such reply.
pub(super) fn instead_of_redirect(row: RowId, frame: &[u8]) -> Option<&'static [u8]> {
    (frame.starts_with(b"-REDIRECT ") && !is_script(row)).then_some(REFUSALS[0])
}

/// Whether this error reply says that the node, in its present role or state, executes nothing of the kind.
pub(super) fn is_refusal(frame: &[u8]) -> bool {
    [b"-READONLY ".as_slice(), b"-LOADING ", b"-MASTERDOWN "].iter().any(|start| frame.starts_with(start))
}

/// Whether this error reply tells of the node's role or health: [`is_refusal`], a disk that takes nothing, or too few replicas.
pub(super) fn is_of_state(frame: &[u8]) -> bool {
    is_refusal(frame) || frame.starts_with(b"-MISCONF ") || frame.starts_with(b"-NOREPLICAS ")
}

#[cfg(test)]
mod tests {
    use super::{
        Fate, Redo, Redos, RetryRules, fate_of, instead_of_redirect, is_curable_proof, is_of_state, is_proof,
        is_refusal,
    };
    use bytes::Bytes;
    use std::time::Duration;

    const RULES: RetryRules =
        RetryRules { idempotent: true, all: false, poison_after: Duration::from_secs(1) };

    fn fate(words: &[&str], rules: &RetryRules, resent: bool, waited_ms: u64) -> Fate {
        let mut request = bytes::BytesMut::new();
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        crate::resp::encode::command(&mut request, &words);
        fate_of(&request, rules, resent, Duration::from_millis(waited_ms))
    }

    #[test]
    fn only_what_does_no_harm_twice_is_sent_twice() {
        assert_eq!(fate(&["GET", "k"], &RULES, false, 0), Fate::Again);
        assert_eq!(fate(&["SET", "k", "v"], &RULES, false, 0), Fate::Again);
        assert_eq!(fate(&["SET", "k", "v", "NX"], &RULES, false, 0), Fate::Unknown);
        assert_eq!(fate(&["INCR", "k"], &RULES, false, 0), Fate::Unknown);
        let strict = RetryRules { idempotent: false, ..RULES };
        assert_eq!(fate(&["SET", "k", "v"], &strict, false, 0), Fate::Unknown);
        let lax = RetryRules { all: true, ..RULES };
        assert_eq!(fate(&["INCR", "k"], &lax, false, 0), Fate::Again);
    }

    #[test]
    fn nothing_is_sent_a_third_time_and_poison_not_a_second() {
        assert_eq!(fate(&["GET", "k"], &RULES, true, 0), Fate::DiedWith);
        assert_eq!(fate(&["SET", "k", "v"], &RULES, true, 0), Fate::Unknown);
        assert_eq!(fate(&["KEYS", "*"], &RULES, false, 1_000), Fate::DiedWith);
    }

    #[test]
    fn what_is_lost_again_comes_before_what_was_not_sent_again() {
        let mut redos = Redos::default();
        let say = |word: &'static str| Redo::Say(Bytes::from_static(word.as_bytes()));
        ["1", "2", "3", "4"].into_iter().for_each(|word| redos.lost(say(word)));
        redos.next();
        redos.next();
        let third = redos.next().unwrap();
        redos.put_back(third);
        ["1", "2"].into_iter().for_each(|word| redos.lost(say(word)));
        let order: Vec<Redo> = std::iter::from_fn(|| redos.next()).collect();
        let words = order.iter().map(|redo| if let Redo::Say(bytes) = redo { &bytes[..] } else { b"" });
        assert_eq!(words.collect::<Vec<_>>(), [b"1", b"2", b"3", b"4"]);
    }

    #[test]
    fn only_the_servers_own_words_prove_that_nothing_was_executed() {
        let row = |name: &str| crate::command::find(name.as_bytes()).unwrap();
        let readonly = b"-READONLY You can't write against a read only replica.\r\n";
        assert!(is_proof(row("set"), readonly));
        assert!(!is_proof(row("set"), b"-READONLY for another reason\r\n"));
        for script in ["eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro"] {
            assert!(!is_proof(row(script), readonly), "{script}");
        }
    }

    #[test]
    fn a_refusal_is_told_from_an_answer() {
        assert!(is_refusal(b"-READONLY You can't write against a read only replica.\r\n"));
        assert!(!is_refusal(b"-ERR unknown command\r\n"));
        assert!(!is_refusal(b"-BUSY Redis is busy\r\n"));
    }

    #[test]
    fn a_failing_disk_and_too_few_replicas_are_told_from_what_scripts_and_modules_say() {
        let row = |name: &str| crate::command::find(name.as_bytes()).unwrap();
        let disk: &[u8] = b"-MISCONF Errors writing to the AOF file: No space left on device\r\n";
        let few: &[u8] = b"-NOREPLICAS Not enough good replicas to write.\r\n";
        for frame in [disk, few] {
            assert!(is_curable_proof(row("set"), frame) && is_of_state(frame));
            assert!(!is_curable_proof(row("eval"), frame) && !is_proof(row("set"), frame));
        }
        let made_up: [&[u8]; 2] = [b"-MISCONF my disk\r\n", b"-NOREPLICAS at all\r\n"];
        assert!(made_up.iter().all(|frame| !is_curable_proof(row("set"), frame)));
    }

    #[test]
    fn a_redirection_is_shown_to_nobody() {
        let row = |name: &str| crate::command::find(name.as_bytes()).unwrap();
        let frame = b"-REDIRECT 10.0.0.7:6379\r\n";
        assert!(is_proof(row("get"), instead_of_redirect(row("get"), frame).unwrap()));
        assert_eq!(instead_of_redirect(row("eval"), frame), None, "a script's own words");
        assert_eq!(instead_of_redirect(row("get"), b"-ERR REDIRECT\r\n"), None);
    }
}
