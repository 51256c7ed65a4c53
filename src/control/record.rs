//! The group's record on disk: one small text file, replaced whole and fsynced, in a directory that one process
//! holds at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::{FlockOperation, flock};
use tokio::sync::{mpsc, oneshot};

use crate::failover::{Borrowed, Intent, Record};

use super::coordinator::{Agreement, Coordinator};

/// Name of the record in `failover.state_dir`.
const FILE: &str = "group.record";

/// Name of the file whose lock says who uses the directory; its content is the holder's process id, for people.
const LOCK: &str = "lock";

/// First line of the format.
const HEADER: &str = "redhold-record 1";

/// Records that wait to be written at most; the machine waits for each before it goes on.
const WAITING_MAX: usize = 8;

/// Why the control thread does not start. Nothing was changed.
#[derive(Debug)]
pub enum StartError {
    /// The state directory cannot be made, read or written.
    Io {
        /// What was tried, with the path.
        deed: String,
        /// The system's answer.
        error: io::Error,
    },
    /// Another process holds the state directory.
    Held {
        /// The directory.
        dir: PathBuf,
        /// Process id of the holder, as it wrote it down.
        by: String,
    },
    /// The record is there and cannot be understood: whoever ignores it may promote a stale node.
    Damaged {
        /// The record's file.
        file: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The system gives no thread or no runtime.
    Thread(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io { deed, error } => write!(f, "failover.state_dir: cannot {deed}: {error}"),
            Self::Held { dir, by } => write!(
                f,
                "failover.state_dir: {} is in use by process {by}; two proxies that decide need a directory each",
                dir.display()
            ),
            Self::Thread(error) => write!(f, "cannot start the control thread: {error}"),
            Self::Damaged { file, fault } => write!(
                f,
                "failover.state_dir: {} is damaged ({fault}); restore it, or remove it and order `redhold adopt NODE`",
                file.display()
            ),
        }
    }
}

impl std::error::Error for StartError {}

fn io_fault(deed: String) -> impl FnOnce(io::Error) -> StartError {
    move |error| StartError::Io { deed, error }
}

/// The directory, held.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    /// The lock lasts as long as this is open.
    _lock: File,
}

impl Store {
    /// Makes the directory where it is missing, and takes its lock.
    pub(super) fn open(dir: &Path) -> Result<Self, StartError> {
        fs::create_dir_all(dir).map_err(io_fault(format!("make {}", dir.display())))?;
        let path = dir.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_fault(format!("open {}", path.display())))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut by = String::new();
            let _ = lock.read_to_string(&mut by);
            return Err(StartError::Held { dir: dir.to_owned(), by: by.trim().to_owned() });
        }
        // The lock is what counts: a full disk must not keep a proxy from serving.
        if let Err(error) = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())) {
            tracing::warn!(path = %path.display(), %error, "failover.state_dir cannot be written");
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// The record of the last life; `None` when there is none.
    pub(super) fn load(&self) -> Result<Option<Record>, StartError> {
        let file = self.dir.join(FILE);
        match fs::read_to_string(&file) {
            Ok(text) => parse(&text).map(Some).map_err(|fault| StartError::Damaged { file, fault }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(StartError::Damaged { file, fault: "not UTF-8".to_owned() })
            }
            Err(error) => Err(StartError::Io { deed: format!("read {}", file.display()), error }),
        }
    }

    /// Replaces the record: after this returned it survives a power loss, before that the old one does.
    fn save(&self, record: &Record) -> io::Result<()> {
        let temporary = self.dir.join(format!("{FILE}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(print(record).as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, self.dir.join(FILE))?;
        File::open(&self.dir)?.sync_all()
    }
}

type Job = (Box<Record>, oneshot::Sender<io::Result<()>>);

/// Why the last record could not be written, one sentence for people; empty when it could.
#[derive(Clone, Debug, Default)]
pub(super) struct Unwritten(Arc<Mutex<Option<String>>>);

impl Unwritten {
    /// The present state.
    pub(super) fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, epoch: u64, written: &io::Result<()>) {
        let reason =
            written.as_ref().err().map(|e| format!("the record of epoch {epoch} was not written: {e}"));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// Writes records on a thread of its own, in order, so that no fsync delays the control thread. Dropping it waits
/// for those that were begun, and gives the directory's lock back.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread `redhold-record`, which ends with the writer; `unwritten` is told how each record fared.
    pub(super) fn start(store: Store, unwritten: Unwritten) -> io::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(WAITING_MAX);
        let thread = std::thread::Builder::new().name("redhold-record".to_owned()).spawn(move || {
            while let Some((record, done)) = waiting.blocking_recv() {
                let written = store.save(&record);
                unwritten.note(record.epoch, &written);
                let _ = done.send(written);
            }
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }
}

impl Coordinator for Writer {
    fn propose(&self, record: Box<Record>) -> Agreement {
        let (done, ended) = oneshot::channel();
        if let Some(Err(refused)) = self.jobs.as_ref().map(|jobs| jobs.try_send((record, done))) {
            let (_, done) = refused.into_inner();
            let _ = done.send(Err(io::Error::other("earlier records are still being written")));
        }
        ended
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn print(record: &Record) -> String {
    let mut text = format!(
        "{HEADER}\nepoch {}\nprimary {}\nreplid {}\nfork_offset {}\nempty {}\n",
        record.epoch, record.primary, record.replid, record.fork_offset, record.empty
    );
    match &record.intent {
        None => {}
        Some(Intent::Failover) => text.push_str("intent failover\n"),
        Some(Intent::Switch(to)) => text.push_str(&format!("intent switch {to}\n")),
    }
    for node in &record.deposed {
        text.push_str(&format!("deposed {node}\n"));
    }
    for (node, run_id) in &record.run_ids {
        text.push_str(&format!("run_id {node} {run_id}\n"));
    }
    for kept in &record.borrowed {
        let Borrowed { node, run_id, name, value, before } = kept;
        text.push_str(&format!("borrowed {node} {run_id} {name} {value} {before}\n"));
    }
    text.push_str(&format!("sum {:016x}\n", checksum(text.as_bytes())));
    text
}

fn parse(text: &str) -> Result<Record, String> {
    let body = text.rfind("sum ").map(|start| text.split_at(start));
    let (body, sum) = body.ok_or("no checksum")?;
    if sum != format!("sum {:016x}\n", checksum(body.as_bytes())) {
        return Err("the checksum does not fit".to_owned());
    }
    let lines = body.strip_prefix(HEADER).ok_or(format!("it does not begin with `{HEADER}`"))?;
    let mut record = Record::default();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let unknown = || format!("not understood: `{line}`");
        let (name, value) = line.split_once(' ').ok_or_else(unknown)?;
        match name {
            "epoch" => record.epoch = value.parse().map_err(|_| unknown())?,
            "primary" => value.clone_into(&mut record.primary),
            "replid" => value.clone_into(&mut record.replid),
            "fork_offset" => record.fork_offset = value.parse().map_err(|_| unknown())?,
            "empty" => record.empty = value.parse().map_err(|_| unknown())?,
            "intent" => {
                record.intent = Some(match value.split_once(' ') {
                    None if value == "failover" => Intent::Failover,
                    Some(("switch", to)) => Intent::Switch(to.to_owned()),
                    None | Some(_) => return Err(unknown()),
                });
            }
            "deposed" => record.deposed.push(value.to_owned()),
            "run_id" => {
                let (node, run_id) = value.split_once(' ').ok_or_else(unknown)?;
                record.run_ids.push((node.to_owned(), run_id.to_owned()));
            }
            "borrowed" => {
                let words: Vec<&str> = value.split(' ').collect();
                let [node, run_id, name, value, before] = words[..] else { return Err(unknown()) };
                let [node, run_id, name, value, before] =
                    [node, run_id, name, value, before].map(str::to_owned);
                record.borrowed.push(Borrowed { node, run_id, name, value, before });
            }
            _ => return Err(unknown()),
        }
    }
    Ok(record)
}

/// FNV-1a, 64 bits: against torn writes and slips of an editor, not against malice.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Scratch;
    use super::*;

    fn record() -> Record {
        Record {
            epoch: 42,
            primary: "[::1]:6379".to_owned(),
            replid: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            fork_offset: 123_456,
            empty: false,
            run_ids: vec![
                ("[::1]:6379".to_owned(), "aa".to_owned()),
                ("b.example:6380".to_owned(), "bb".to_owned()),
            ],
            deposed: vec!["c.example:6381".to_owned()],
            intent: None,
            borrowed: vec![Borrowed {
                node: "[::1]:6379".to_owned(),
                run_id: "aa".to_owned(),
                name: "min-replicas-to-write".to_owned(),
                value: "0".to_owned(),
                before: "1".to_owned(),
            }],
        }
    }

    #[tokio::test]
    async fn what_was_written_is_found_after_a_restart() {
        let scratch = Scratch::new();
        let dir = scratch.0.join("made/on/demand");
        let store = Store::open(&dir).unwrap();
        assert_eq!(store.load().unwrap(), None);
        let writer = Writer::start(store, Unwritten::default()).unwrap();
        for epoch in 1..=42 {
            writer.propose(Box::new(Record { epoch, ..record() })).await.unwrap().unwrap();
        }
        drop(writer);
        let reopened = Store::open(&dir).unwrap();
        assert_eq!(reopened.load().unwrap(), Some(record()));
        let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn a_second_holder_is_told_who_the_first_is() {
        let scratch = Scratch::new();
        let _first = Store::open(&scratch.0).unwrap();
        let error = Store::open(&scratch.0).unwrap_err();
        assert!(
            matches!(&error, StartError::Held { by, .. } if *by == std::process::id().to_string()),
            "{error}"
        );
    }

    #[test]
    fn every_damage_is_noticed() {
        let intended = |intent| Record { intent: Some(intent), ..record() };
        for record in [record(), intended(Intent::Failover)] {
            assert_eq!(parse(&print(&record)), Ok(record));
        }
        let record = intended(Intent::Switch("b.example:6380".to_owned()));
        let good = print(&record);
        assert_eq!(parse(&good), Ok(record));
        for position in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[position] ^= 1;
            let text = String::from_utf8(bytes).unwrap();
            assert!(parse(&text).is_err(), "a flip at {position} went unnoticed: {text}");
            assert!(parse(&good[..position]).is_err(), "a cut at {position} went unnoticed");
        }
    }

    #[test]
    fn a_damaged_record_is_never_taken_for_none() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.0).unwrap();
        fs::write(scratch.0.join(FILE), b"redhold-record 1\nepoch \xff\n").unwrap();
        assert!(matches!(store.load().unwrap_err(), StartError::Damaged { .. }));
        fs::write(scratch.0.join(FILE), "").unwrap();
        assert!(matches!(store.load().unwrap_err(), StartError::Damaged { .. }));
    }
}
