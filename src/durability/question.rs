//! What is asked behind a barrier, and what the answer says.

use std::time::Duration;

use crate::error::Undurable;

use super::{Level, Settings};

impl Level {
    /// Whether replicas have a part in it.
    #[must_use]
    pub fn needs_replicas(self) -> bool {
        match self {
            Self::Async | Self::AofLocal => false,
            Self::SemiSync | Self::AofReplicas => true,
        }
    }

    /// Whether disks have.
    #[must_use]
    pub fn needs_disks(self) -> bool {
        match self {
            Self::Async | Self::SemiSync => false,
            Self::AofLocal | Self::AofReplicas => true,
        }
    }
}

/// What came back of one barrier.
#[derive(Clone, Copy, Debug)]
pub struct Echo<'a> {
    /// The primary took the message that lies behind the writes.
    pub passed: bool,
    /// It was sent while writes waited for nobody, and asked for nothing.
    pub waived: bool,
    /// The answer to what was asked behind it.
    pub answer: &'a [u8],
}

impl Settings {
    /// The question that follows a barrier of `level`, word by word. It is answered after `timeout` at the latest.
    #[must_use]
    pub fn question(&self, level: Level) -> Vec<String> {
        let timeout = self.timeout.as_millis().to_string();
        let replicas = if level.needs_replicas() { self.replicas } else { 0 }.to_string();
        if level.needs_disks() {
            vec!["WAITAOF".to_owned(), "1".to_owned(), replicas, timeout]
        } else {
            vec!["WAIT".to_owned(), replicas, timeout]
        }
    }

    /// What is known of the writes before a barrier; `None`: nothing, and it is asked again. `waives`: writes wait for nobody now.
    /// A barrier that asked for nothing vouches for them only as long as that is so.
    #[must_use]
    pub fn judge(&self, level: Level, echo: &Echo<'_>, waives: bool) -> Option<Result<(), Undurable>> {
        match echo {
            Echo { passed: false, .. } => None,
            Echo { waived: true, .. } => waives.then_some(Ok(())),
            Echo { answer, .. } => self.judge_answer(level, answer),
        }
    }

    fn judge_answer(&self, level: Level, answer: &[u8]) -> Option<Result<(), Undurable>> {
        let (local, acknowledged) = if level.needs_disks() {
            let (local, replicas) =
                std::str::from_utf8(answer.strip_prefix(b"*2\r\n")?).ok()?.split_once("\r\n")?;
            (number(local)?, number(replicas)?)
        } else {
            (1, number(std::str::from_utf8(answer).ok()?)?)
        };
        let enough = !level.needs_replicas() || acknowledged >= self.replicas;
        Some(if local > 0 && enough { Ok(()) } else { Err(self.missed(level, local, acknowledged)) })
    }

    /// Whether an answer took so long, `waited`, that the node itself stood still. It may have ended its wait before it heard what
    /// replicas had told it meanwhile, so a no says nothing of them.
    #[must_use]
    pub fn is_stale(&self, waited: Duration) -> bool {
        waited >= self.timeout * 2
    }

    /// What is said when nobody has answered at all.
    #[must_use]
    pub fn unanswered(&self, level: Level) -> Undurable {
        self.missed(level, 0, 0)
    }

    fn missed(&self, level: Level, local: u32, acknowledged: u32) -> Undurable {
        let Self { replicas, timeout, .. } = *self;
        match level {
            Level::Async | Level::SemiSync => Undurable::Missed { acknowledged, replicas, timeout },
            Level::AofLocal => Undurable::Unsynced { timeout },
            Level::AofReplicas => Undurable::MissedDisks { local, acknowledged, replicas, timeout },
        }
    }
}

/// The number in a line of an integer reply.
fn number(line: &str) -> Option<u32> {
    line.strip_prefix(':')?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        mode: Level::Async,
        replicas: 2,
        timeout: Duration::from_millis(50),
        reads_wait: false,
        rules: Vec::new(),
    };

    #[test]
    fn each_level_asks_for_what_it_needs() {
        assert_eq!(SETTINGS.question(Level::SemiSync).join(" "), "WAIT 2 50");
        assert_eq!(SETTINGS.question(Level::AofLocal).join(" "), "WAITAOF 1 0 50");
        assert_eq!(SETTINGS.question(Level::AofReplicas).join(" "), "WAITAOF 1 2 50");
    }

    #[test]
    fn a_no_of_a_node_that_stood_still_says_nothing() {
        assert!(
            !SETTINGS.is_stale(Duration::from_millis(99)) && SETTINGS.is_stale(Duration::from_millis(100))
        );
    }

    #[test]
    fn only_enough_is_enough() {
        let passed = |level, answer: &str| {
            let echo = Echo { passed: true, waived: false, answer: answer.as_bytes() };
            SETTINGS.judge(level, &echo, false).map(|said| said.is_ok())
        };
        assert_eq!(passed(Level::SemiSync, ":2\r\n"), Some(true));
        assert_eq!(passed(Level::SemiSync, ":1\r\n"), Some(false));
        assert_eq!(passed(Level::SemiSync, "-BUSY\r\n"), None);
        assert_eq!(passed(Level::AofLocal, "*2\r\n:1\r\n:0\r\n"), Some(true));
        assert_eq!(passed(Level::AofLocal, "*2\r\n:0\r\n:2\r\n"), Some(false));
        assert_eq!(passed(Level::AofLocal, ":1\r\n"), None);
        assert_eq!(passed(Level::AofReplicas, "*2\r\n:1\r\n:2\r\n"), Some(true));
        assert_eq!(passed(Level::AofReplicas, "*2\r\n:1\r\n:1\r\n"), Some(false));
        assert_eq!(passed(Level::AofReplicas, "*2\r\n:0\r\n:2\r\n"), Some(false));
        assert_eq!(passed(Level::AofReplicas, "-ERR no\r\n"), None);
    }

    #[test]
    fn a_barrier_that_asked_for_nothing_vouches_only_while_nobody_is_waited_for() {
        // What a server says to the question whether it may be asked at all.
        let unasked = b":0\r\n".as_slice();
        let echo = |passed, waived| Echo { passed, waived, answer: unasked };
        let judge = |echo, waives| SETTINGS.judge(Level::SemiSync, &echo, waives);
        assert_eq!(judge(echo(true, true), true), Some(Ok(())));
        assert_eq!(judge(echo(true, true), false), None, "replicas are back: they are asked");
        assert_eq!(judge(echo(false, true), true), None, "the primary did not take it");
        assert_eq!(judge(echo(false, false), true), None);
        assert!(judge(echo(true, false), true).is_some_and(|said| said.is_err()), "it was asked in earnest");
    }
}
