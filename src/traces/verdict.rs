//! What a collector made of a batch, what is done about it, and what is said of it. Pure.

use std::time::Duration;

/// How often a batch is posted at most; what was not taken by then is lost.
pub(super) const TRIES_MAX: u32 = 5;

/// The pause after the first try; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// No pause is longer, whatever the collector asks for: batches that come meanwhile are lost for want of room.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What became of one post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Taken, but for so many spans.
    Taken { rejected: u64 },
    /// It may be taken later, not before so long if the collector said when.
    Later { after: Option<Duration>, why: String },
    /// It never will be.
    Never { why: String },
}

/// Of an answer, by OTLP/HTTP: which codes are worth another try, and how much of a batch was taken.
pub(super) fn judge(status: u16, retry_after: Option<&str>, body: &[u8]) -> Verdict {
    let why = format!("it answers with {status}");
    match status {
        200..=299 => Verdict::Taken { rejected: rejected(body) },
        // A date instead of seconds is as good as nothing: the clocks of two machines differ.
        429 | 502..=504 => Verdict::Later {
            after: retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs),
            why,
        },
        _ => Verdict::Never { why },
    }
}

/// `partialSuccess.rejectedSpans`, a number of 64 bits and hence a text, though some write it as a number.
fn rejected(body: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let count = &answer["partialSuccess"]["rejectedSpans"];
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or(0)
}

/// The pause after so many tries of a batch, of which the last asked for `after`; `None`: it is given up. `dice`: any number, so that
/// several proxies do not come back together.
pub(super) fn pause(tries: u32, after: Option<Duration>, dice: u64) -> Option<Duration> {
    if tries >= TRIES_MAX {
        return None;
    }
    let usual = PAUSE * 2_u32.pow(tries.saturating_sub(1));
    let part = u32::try_from(dice % 500).unwrap_or(0);
    // From a half to the whole.
    let usual = usual * (1_000 - part) / 1_000;
    Some(after.map_or(usual, |after| after.max(usual)).min(PAUSE_MAX))
}

/// Whether the collector takes what it is given: said when that changes, not with each batch.
#[derive(Debug, Default)]
pub(super) struct Collector {
    lost: bool,
    /// Spans that it did not get since.
    missed: u64,
}

impl Collector {
    /// It took nothing; true when that is to be said.
    pub(super) fn failed(&mut self) -> bool {
        !std::mem::replace(&mut self.lost, true)
    }

    /// So many spans are given up.
    pub(super) fn missed(&mut self, spans: u64) {
        self.missed += spans;
    }

    /// It took a batch; how many spans it has missed, when it is to be said that it takes them again.
    pub(super) fn took(&mut self) -> Option<u64> {
        let missed = std::mem::take(&mut self.missed);
        std::mem::take(&mut self.lost).then_some(missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let later = |status, header| match judge(status, header, b"") {
            Verdict::Later { after, .. } => Some(after),
            Verdict::Taken { .. } | Verdict::Never { .. } => None,
        };
        assert!([429, 502, 503, 504].iter().all(|status| later(*status, None) == Some(None)));
        assert!([400, 401, 404, 413, 500, 501, 301, 100].iter().all(|status| later(*status, None).is_none()));
        assert_eq!(later(503, Some(" 7 ")), Some(Some(Duration::from_secs(7))));
        assert_eq!(later(429, Some("Fri, 31 Dec 1999 23:59:59 GMT")), Some(None));
        assert_eq!(judge(404, None, b""), Verdict::Never { why: "it answers with 404".to_owned() });
    }

    #[test]
    fn what_a_collector_leaves_out_of_a_batch_is_known() {
        for (body, rejected) in [
            (b"{}".as_slice(), 0),
            (b"", 0),
            (b"\x0a\x02", 0),
            (br#"{"partialSuccess":{}}"#, 0),
            (br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"late"}}"#, 3),
            (br#"{"partialSuccess":{"rejectedSpans":4}}"#, 4),
        ] {
            assert_eq!(judge(200, None, body), Verdict::Taken { rejected });
        }
    }

    #[test]
    fn pauses_grow_end_and_heed_what_is_asked_for() {
        let millis = |tries, after: Option<u64>, dice| {
            pause(tries, after.map(Duration::from_secs), dice).map(|pause| pause.as_millis())
        };
        assert_eq!(
            [1, 2, 3, 4, 5].map(|tries| millis(tries, None, 0)),
            [Some(1_000), Some(2_000), Some(4_000), Some(8_000), None]
        );
        assert_eq!(millis(1, None, 499), Some(501), "half of it at least");
        assert_eq!((millis(1, Some(9), 3), millis(4, Some(0), 0)), (Some(9_000), Some(8_000)));
        assert_eq!((millis(1, Some(9_999_999), 0), millis(5, Some(1), 0)), (Some(30_000), None));
    }

    #[test]
    fn a_loss_and_its_end_are_said_once_each() {
        let mut collector = Collector::default();
        assert_eq!(collector.took(), None);
        assert!(collector.failed() && !collector.failed());
        collector.missed(5);
        collector.missed(2);
        assert_eq!((collector.took(), collector.took()), (Some(7), None));
        assert!(collector.failed());
    }
}
