//! A library's program while it runs, and what it has said so far.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::libraries::Library;
use crate::support::{CertificateFolder, LONG, eventually_some};

/// How often a condition is looked at while nothing is said.
const LOOK: Duration = Duration::from_millis(2);

/// What a program has said.
#[derive(Debug, Default)]
pub struct Seen {
    /// Name and version of the library, by itself.
    pub client: String,
    /// For each writer how many requests it has sent, and the letters of their replies.
    pub writers: BTreeMap<u32, (usize, String)>,
    /// Transactions that were acknowledged.
    pub transactions: usize,
    /// Transactions that were answered AMBIGUOUS.
    pub ambiguous_transactions: usize,
    /// What the subscriber heard.
    pub heard: Vec<String>,
    /// What the worker got.
    pub jobs: Vec<String>,
    /// Keys that the scan found.
    pub scanned: Option<usize>,
    /// Replies of the script.
    pub scripts: Vec<String>,
    /// The longest time in which no writer got a reply.
    pub longest_pause: Duration,
    last_reply: Option<Instant>,
}

impl Seen {
    /// Writes that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.replies('o')
    }

    /// Writes that were answered AMBIGUOUS.
    pub fn ambiguous(&self) -> usize {
        self.replies('a')
    }

    /// Writes that were sent and not answered.
    pub fn in_flight(&self) -> usize {
        self.writers.values().map(|(sent, replies)| sent - replies.len()).sum()
    }

    fn replies(&self, letter: char) -> usize {
        self.writers.values().map(|(_, replies)| replies.matches(letter).count()).sum()
    }

    /// One line for who watches the tests.
    pub fn summary(&self) -> String {
        format!(
            "{}: {} writes acknowledged, {} ambiguous, {} transactions, {} ambiguous, longest pause {} ms",
            self.client,
            self.acknowledged(),
            self.ambiguous(),
            self.transactions,
            self.ambiguous_transactions,
            self.longest_pause.as_millis()
        )
    }

    #[track_caller]
    fn take(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "client" => rest.clone_into(&mut self.client),
            "sent" => self.writer(rest, |writer, count| writer.0 += count.parse::<usize>().expect("a count")),
            "got" => {
                let now = Instant::now();
                let pause = self.last_reply.replace(now).map(|before| now - before).unwrap_or_default();
                self.longest_pause = self.longest_pause.max(pause);
                self.writer(rest, |writer, letters| writer.1.push_str(letters));
            }
            "transaction" if rest == "o" => self.transactions += 1,
            "transaction" if rest == "a" => self.ambiguous_transactions += 1,
            "heard" => self.heard.push(rest.to_owned()),
            "job" => self.jobs.push(rest.to_owned()),
            "scanned" => self.scanned = Some(rest.parse().expect("a number of keys")),
            "script" => self.scripts.push(rest.to_owned()),
            _ => panic!(
                "an exception reached application code, or a word that README.md does not know: {line}"
            ),
        }
    }

    #[track_caller]
    fn writer(&mut self, rest: &str, change: impl FnOnce(&mut (usize, String), &str)) {
        let (number, rest) = rest.split_once(' ').expect("a writer has a number");
        let writer = self.writers.entry(number.parse().expect("a writer has a number")).or_default();
        change(writer, rest);
        assert!(writer.1.len() <= writer.0, "writer {number} got more replies than it sent requests");
    }
}

/// A program that runs; it dies with the test.
#[derive(Debug)]
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Seen,
}

impl Program {
    /// Starts a library's program, or says that the library is not installed.
    #[track_caller]
    pub fn start(
        library: &Library,
        proxy: SocketAddr,
        certificates: Option<&CertificateFolder>,
    ) -> Option<Self> {
        let mut command = library.command()?;
        if let Some(folder) = certificates {
            command.env("CERTIFICATES", folder.path());
        }
        command.arg(proxy.ip().to_string()).arg(proxy.port().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|fault| panic!("{command:?}: {fault}"));
        let input = child.stdin.take();
        let output = child.stdout.take().expect("it is a pipe");
        let (say, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        Some(Self { child, input, lines, seen: Seen::default() })
    }

    /// What it has said so far.
    #[track_caller]
    pub fn seen(&mut self) -> &Seen {
        while let Ok(line) = self.lines.try_recv() {
            self.seen.take(&line);
        }
        &self.seen
    }

    /// Returns as soon as `condition` holds; fails at once when an exception reached application code or the program ended.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&Seen) -> bool) {
        let start = Instant::now();
        while !condition(self.seen()) {
            assert!(start.elapsed() < LONG, "not within {LONG:?}: {what}; {}", self.seen.summary());
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => self.seen.take(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("it ended before: {what}"),
            }
        }
    }

    /// Lets it come to its end, with everything that it said.
    #[track_caller]
    pub fn finish(mut self, deadline: Duration) -> Seen {
        drop(self.input.take());
        let status = eventually_some(deadline, "the program ends", || {
            self.seen();
            self.child.try_wait().expect("it is our child")
        });
        // What it said last is read to its end.
        while let Ok(line) = self.lines.recv_timeout(deadline) {
            self.seen.take(&line);
        }
        assert!(status.success(), "{status}");
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Those that it forked end when their input does.
        drop(self.input.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
