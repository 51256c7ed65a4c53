//! Users that a node has refused to be given, so that it is not asked again at each new connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// For how long the node is not asked after its first refusal; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// No pause is longer: so late it is noticed at most that the node would take the user now.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Those of one node, of the process that runs there: of `[[users]]`, hence no more than there may be in the configuration.
#[derive(Debug, Default)]
pub struct RefusedUsers {
    run_id: Option<Arc<str>>,
    users: BTreeMap<Vec<u8>, Refused>,
}

#[derive(Debug)]
struct Refused {
    /// What clients are answered.
    words: Bytes,
    /// The last pause.
    pause: Duration,
    /// The node may be asked from then on.
    until: Instant,
    /// The pause was over, and somebody asks.
    is_asked: bool,
    /// Connections that were refused since the log was told.
    untold: u64,
}

/// What the log is to be told of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalTold {
    /// Connections refused since it was told last, this one included.
    pub connections: u64,
    /// The node is not asked again for so long.
    pub pause: Duration,
}

impl RefusedUsers {
    /// Whether the process `run_id` may be asked to take `user`. After a pause who asks first does, and the others wait for what comes of
    /// it, as long as the first pause at most.
    ///
    /// # Errors
    /// It refused a while ago: what clients are answered meanwhile.
    pub fn ask(&mut self, run_id: Option<&Arc<str>>, user: &[u8], now: Instant) -> Result<(), Bytes> {
        self.meet(run_id);
        let Some(refused) = self.users.get_mut(user) else { return Ok(()) };
        if now < refused.until {
            refused.untold += 1;
            return Err(refused.words.clone());
        }
        refused.until = now + FIRST_PAUSE;
        refused.is_asked = true;
        Ok(())
    }

    /// It was asked and refused, for which clients are answered `words`. What the log is to be told; `None`: it was told, since several
    /// asked at once.
    pub fn refuse(
        &mut self,
        run_id: Option<&Arc<str>>,
        user: &[u8],
        words: &Bytes,
        now: Instant,
    ) -> Option<RefusalTold> {
        self.meet(run_id);
        let pause = match self.users.get_mut(user) {
            Some(refused) if !refused.is_asked => {
                refused.untold += 1;
                return None;
            }
            Some(refused) => (refused.pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        let untold = self.users.remove(user).map_or(0, |refused| refused.untold);
        let refused = Refused { words: words.clone(), pause, until: now + pause, is_asked: false, untold: 0 };
        self.users.insert(user.to_vec(), refused);
        Some(RefusalTold { connections: untold + 1, pause })
    }

    /// The node knows `user`.
    pub fn knows(&mut self, user: &[u8]) {
        self.users.remove(user);
    }

    /// Another process than the last has refused nothing yet. Which one it is need not be known.
    fn meet(&mut self, run_id: Option<&Arc<str>>) {
        if run_id.is_none() || self.run_id.as_ref() == run_id {
            return;
        }
        if self.run_id.is_some() {
            self.users.clear();
        }
        self.run_id = run_id.cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `script` leads to, line by line: `SECONDS ask|refuse|knows USER RUN` (`-`: unknown), and what is expected behind `=>`.
    fn play(script: &str) {
        let (mut users, begin) = (RefusedUsers::default(), Instant::now());
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (event, expected) = line.split_once(" => ").unwrap_or((line, ""));
            let words: Vec<&str> = event.split_whitespace().collect();
            let [at, event, user, run] = words[..] else { panic!("{line}") };
            let now = begin + Duration::from_secs_f64(at.parse().unwrap());
            let run: Option<Arc<str>> = (run != "-").then(|| run.into());
            let (run, user) = (run.as_ref(), user.as_bytes());
            let said = match event {
                "ask" => match users.ask(run, user, now) {
                    Ok(()) => "asks".to_owned(),
                    Err(words) => String::from_utf8_lossy(&words).into_owned(),
                },
                "refuse" => {
                    let words = Bytes::from(format!("no@{at}"));
                    users.refuse(run, user, &words, now).map_or_else(String::new, |told| {
                        format!("{} told, {}s", told.connections, told.pause.as_secs())
                    })
                }
                "knows" => {
                    users.knows(user);
                    String::new()
                }
                _ => panic!("{line}"),
            };
            assert_eq!(said, expected, "{line}");
        }
    }

    #[test]
    fn after_a_refusal_the_node_is_asked_again_when_a_pause_is_over_that_doubles_up_to_its_bound() {
        play(
            "0 ask app a => asks
             0 refuse app a => 1 told, 1s
             0 ask app a => no@0
             0.999 ask app a => no@0
             0.999 ask other a => asks
             1 ask app a => asks
             1.2 refuse app a => 3 told, 2s
             3.1 ask app a => no@1.2
             3.2 ask app a => asks
             3.2 refuse app a => 2 told, 4s
             8 ask app a => asks
             8 refuse app a => 1 told, 8s
             17 ask app a => asks
             17 refuse app a => 1 told, 16s
             34 ask app a => asks
             34 refuse app a => 1 told, 30s
             63.9 ask app a => no@34
             64 ask app a => asks
             64 refuse app a => 2 told, 30s",
        );
    }

    #[test]
    fn of_several_who_ask_at_once_one_is_told_of_and_the_pause_is_no_longer_for_it() {
        play(
            "0 ask app a => asks
             0 ask app a => asks
             0 refuse app a => 1 told, 1s
             0.1 refuse app a
             1 ask app a => asks
             1 ask app a => no@0
             1.9 ask app a => no@0
             2 ask app a => asks
             2.1 refuse app a => 4 told, 2s
             2.2 refuse app a
             4.1 ask app a => asks
             4.1 refuse app a => 2 told, 4s",
        );
    }

    #[test]
    fn another_process_and_one_that_knows_the_user_begin_anew() {
        play(
            "0 refuse app a => 1 told, 1s
             0 refuse other a => 1 told, 1s
             0.1 ask app - => no@0
             0.1 knows app a
             0.1 ask app a => asks
             0.1 ask other a => no@0
             0.2 refuse app a => 1 told, 1s
             0.3 ask app b => asks
             0.3 ask other b => asks
             0.3 refuse app b => 1 told, 1s",
        );
        play(
            "0 refuse app - => 1 told, 1s
             0.1 ask app a => no@0
             0.2 ask app b => asks",
        );
    }
}
