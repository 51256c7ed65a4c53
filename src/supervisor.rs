//! What whoever supervises the process is told of it, by `sd_notify`: that it serves, what it is doing, that it lives.
//!
//! Nothing is told where `NOTIFY_SOCKET` names nobody. A thread of its own tells, since a supervisor that does not read makes it wait.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::control::{Status, StatusReader};
use crate::topology::Address;

/// News that wait; of a supervisor that reads nothing for so long, later ones are lost.
const NEWS_MAX: usize = 16;

/// Longest time between two looks at what is to be told.
const BEAT: Duration = Duration::from_secs(1);

/// Of the time after which the process would count as hung, the part that passes between two signs of life.
const SIGNS: u32 = 4;

/// What is told when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// Clients are served.
    Serving,
    /// The configuration is read again.
    Reloading,
    /// That is over, whatever came of it.
    Reloaded,
    /// The process ends, within this time.
    Stopping(Duration),
    /// Another process has taken over, and tells the rest.
    Succeeded,
}

/// Tells the supervisor. Cheap to clone, usable from any thread, never waits.
#[derive(Clone, Debug)]
pub struct Supervisor {
    news: SyncSender<News>,
}

/// What is told, until somebody tells it.
#[derive(Debug)]
pub struct Untold {
    news: Receiver<News>,
}

/// Makes the pair: the handle, and what [`Untold::tell`] begins to tell.
#[must_use]
pub fn supervisor() -> (Supervisor, Untold) {
    let (sender, news) = sync_channel(NEWS_MAX);
    (Supervisor { news: sender }, Untold { news })
}

impl Supervisor {
    /// Everything listens and clients are served, though perhaps no node leads yet: that is no reason to start the process again.
    pub fn serving(&self) {
        self.say(News::Serving);
    }

    /// Runs `reload`, during which the supervisor knows that the configuration is read again.
    pub fn reloading<T>(&self, reload: impl FnOnce() -> T) -> T {
        self.say(News::Reloading);
        let result = reload();
        self.say(News::Reloaded);
        result
    }

    /// The process ends, within this time; nobody has to end it before.
    pub fn stopping(&self, within: Duration) {
        self.say(News::Stopping(within));
    }

    /// The process `pid` has taken over: it is the one to be watched, and nothing more is told of this one.
    /// Waits until the supervisor was told, for a moment: who ends before is taken for the service's end.
    pub fn succeeded(&self, pid: u32) {
        self.say(News::Succeeded);
        let (told, is_told) = sync_channel(1);
        let tell = move || {
            notify(&[Said::Succeeded(pid)]);
            let _ = told.send(());
        };
        if std::thread::Builder::new().name("succession".to_owned()).spawn(tell).is_ok() {
            let _ = is_told.recv_timeout(BEAT);
        }
    }

    fn say(&self, news: News) {
        // Full: nobody reads; closed: nobody is told. Neither may hold anything up.
        let _ = self.news.try_send(news);
    }
}

impl Untold {
    /// Starts the thread that tells, if there is a supervisor. `turns`: how often each worker came round.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn tell(
        self,
        status: StatusReader,
        turns: impl Fn() -> Vec<u64> + Send + 'static,
    ) -> std::io::Result<()> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(());
        }
        let watched = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        let keep_telling = move || {
            let mut teller = Teller { watched, ..Teller::default() };
            loop {
                let news = match self.news.recv_timeout(teller.beat()) {
                    Ok(news) => Some(news),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                let seen = status.load();
                let said =
                    teller.next(news, line_of(&seen), Turns { brain: Some(seen.at), workers: turns() });
                notify(&said);
            }
        };
        std::thread::Builder::new().name("supervisor".to_owned()).spawn(keep_telling).map(|_| ())
    }
}

/// A failure holds nothing up: the next message may get through.
fn notify(said: &[Said]) {
    let said = said.iter().flat_map(Said::words).collect::<Vec<_>>();
    if said.is_empty() {
        return;
    }
    if let Err(error) = sd_notify::notify(&said) {
        tracing::debug!(%error, "NOTIFY_SOCKET takes nothing");
    }
}

/// Who came round, and how often or when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Turns {
    /// When the control thread last showed what it knows.
    brain: Option<Instant>,
    workers: Vec<u64>,
}

impl Turns {
    /// Whether everybody has come round since `before`. A worker that had not begun then counts as one that has.
    fn all_since(&self, before: &Self) -> bool {
        let moved = |(now, then): (&u64, &u64)| now != then;
        self.brain != before.brain && self.workers.iter().zip(&before.workers).all(moved)
    }
}

/// What the supervisor is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Ready,
    Reloading,
    Stopping(Duration),
    Status(String),
    Alive,
    Succeeded(u32),
}

impl Said {
    fn words(&self) -> Vec<NotifyState<'_>> {
        match self {
            Self::Ready => vec![NotifyState::Ready],
            Self::Reloading => {
                let since = NotifyState::monotonic_usec_now().ok();
                [NotifyState::Reloading].into_iter().chain(since).collect()
            }
            Self::Stopping(within) => {
                let micros = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
                vec![NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]
            }
            Self::Status(line) => vec![NotifyState::Status(line)],
            Self::Alive => vec![NotifyState::Watchdog],
            Self::Succeeded(pid) => vec![NotifyState::MainPid(*pid)],
        }
    }
}

/// Chooses what is told.
#[derive(Debug, Default)]
struct Teller {
    /// After so long without a sign of life the supervisor ends the process; `None`: never.
    watched: Option<Duration>,
    stopping: bool,
    succeeded: bool,
    line: String,
    turns: Turns,
}

impl Teller {
    fn beat(&self) -> Duration {
        self.watched.map_or(BEAT, |limit| (limit / SIGNS).min(BEAT))
    }

    fn next(&mut self, news: Option<News>, line: String, turns: Turns) -> Vec<Said> {
        let mut said = Vec::new();
        if self.succeeded {
            return said;
        }
        match news {
            Some(News::Succeeded) => {
                self.succeeded = true;
                return said;
            }
            // A process that ends is neither ready nor does it become so again.
            Some(News::Serving | News::Reloaded) if !self.stopping => said.push(Said::Ready),
            Some(News::Reloading) if !self.stopping => said.push(Said::Reloading),
            Some(News::Stopping(within)) => {
                self.stopping = true;
                said.push(Said::Stopping(within));
            }
            Some(News::Serving | News::Reloading | News::Reloaded) | None => {}
        }
        let line = if self.stopping { "draining".to_owned() } else { line };
        if line != self.line {
            self.line.clone_from(&line);
            said.push(Said::Status(line));
        }
        if self.watched.is_some() && turns.all_since(&self.turns) {
            self.turns = turns;
            said.push(Said::Alive);
        }
        said
    }
}

/// One line about the group.
fn line_of(status: &Status) -> String {
    let machine = &status.machine;
    let primary = machine.primary.and_then(|id| status.address(id));
    line(machine.epoch, primary, machine.held.as_ref().map(|(_, reason)| reason.as_str()))
}

fn line(epoch: u64, primary: Option<&Address>, held: Option<&str>) -> String {
    let text = match (held, primary) {
        (Some(reason), _) => format!("writes are held, epoch {epoch}: {reason}"),
        (None, Some(primary)) => format!("primary {primary}, epoch {epoch}"),
        (None, None) => format!("no primary, epoch {epoch}"),
    };
    // A node's words may be among it, and a line that ends lets the next one say anything.
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(brain: Instant, workers: &[u64]) -> Turns {
        Turns { brain: Some(brain), workers: workers.to_vec() }
    }

    fn watched() -> Teller {
        Teller { watched: Some(Duration::from_secs(30)), ..Teller::default() }
    }

    #[test]
    fn a_sign_of_life_means_that_everybody_came_round() {
        let (early, later) = (Instant::now(), Instant::now() + BEAT);
        let mut teller = watched();
        let mut lives = |turns| teller.next(None, String::new(), turns) == [Said::Alive];
        assert!(lives(turns(early, &[3, 3])));
        assert!(!lives(turns(early, &[4, 4])), "the control thread did not");
        assert!(!lives(turns(later, &[4, 3])), "a worker did not");
        assert!(lives(turns(later, &[4, 4])), "late, and both since the last sign");
        assert!(!lives(turns(later, &[4, 4])));
    }

    #[test]
    fn who_is_not_watched_gives_no_sign() {
        let mut teller = Teller::default();
        assert_eq!(teller.next(None, String::new(), turns(Instant::now(), &[1])), []);
        assert_eq!(teller.beat(), BEAT);
        assert_eq!(watched().beat(), BEAT);
        let hasty = Teller { watched: Some(Duration::from_secs(2)), ..Teller::default() };
        assert_eq!(hasty.beat(), Duration::from_millis(500));
    }

    #[test]
    fn a_process_that_ends_is_not_ready_again() {
        let mut teller = Teller::default();
        let mut next = |news| teller.next(Some(news), "primary a:1, epoch 1".to_owned(), Turns::default());
        let status = |line: &str| Said::Status(line.to_owned());
        assert_eq!(next(News::Serving), [Said::Ready, status("primary a:1, epoch 1")]);
        assert_eq!(next(News::Reloading), [Said::Reloading]);
        assert_eq!(next(News::Reloaded), [Said::Ready]);
        let within = Duration::from_secs(20);
        assert_eq!(next(News::Stopping(within)), [Said::Stopping(within), status("draining")]);
        assert_eq!(next(News::Reloading), []);
        assert_eq!(next(News::Reloaded), []);
    }

    #[test]
    fn of_a_process_that_was_succeeded_nothing_is_told() {
        let (early, later) = (Instant::now(), Instant::now() + BEAT);
        let mut teller = watched();
        let mut next = |news, at| teller.next(news, "primary a:1, epoch 1".to_owned(), turns(at, &[1]));
        assert_eq!(next(Some(News::Succeeded), early), []);
        assert_eq!(next(Some(News::Stopping(BEAT)), later), []);
    }

    #[test]
    fn words_are_those_of_the_protocol() {
        let told = |said: Said| said.words().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(told(Said::Ready), ["READY=1"]);
        assert_eq!(told(Said::Succeeded(7)), ["MAINPID=7"]);
        assert_eq!(
            told(Said::Stopping(Duration::from_millis(1500))),
            ["STOPPING=1", "EXTEND_TIMEOUT_USEC=1500000"]
        );
        // An hour and more is told as what fits.
        assert_eq!(told(Said::Stopping(Duration::from_secs(7200)))[1], "EXTEND_TIMEOUT_USEC=4294967295");
        let reloading = told(Said::Reloading);
        assert_eq!(reloading[0], "RELOADING=1");
        assert!(reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn the_line_says_who_leads_or_why_nobody_does() {
        let primary = "a:1".parse().unwrap();
        assert_eq!(line(0, None, None), "no primary, epoch 0");
        assert_eq!(line(3, Some(&primary), None), "primary a:1, epoch 3");
        assert_eq!(
            line(3, Some(&primary), Some("ERR no\nREADY=1")),
            "writes are held, epoch 3: ERR no READY=1"
        );
    }
}
