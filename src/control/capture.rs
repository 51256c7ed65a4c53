//! Reads what only an old primary has, as a replica would, and keeps it in the quarantine. The node must be paused
//! and must not have been demoted: a node that follows somebody streams nothing.
//!
//! Nothing is ever acknowledged, since a replica's acknowledgement counts for WAIT and `min-replicas-to-write`.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use crate::failover::{Captured, Divergence};
use crate::resp::{Limits, Request, RequestScanner, Scan, Value};

use super::link::{Dial, Link};
use super::quarantine::{Draft, Place, Quarantine};

/// For all that the node has to say; the rest of the step's time is the disk's.
const READING: Duration = Duration::from_secs(2);

/// Bytes of commands that are written at once.
const CHUNK: usize = 1 << 20;

/// Channels on which brains greet one another: sent again, a greeting would speak for a brain that is gone.
const GREETINGS: [&[u8]; 2] = [b"__redhold:", b"__sentinel__:hello"];

/// Reads `part` of the history of the node behind `dial`.
pub(super) async fn capture(dial: &Dial, part: &Divergence, quarantine: &Quarantine) -> Captured {
    read(dial, part, quarantine, Instant::now() + READING).await.unwrap_or_else(Captured::Unread)
}

async fn read(
    dial: &Dial,
    part: &Divergence,
    quarantine: &Quarantine,
    deadline: Instant,
) -> Result<Captured, String> {
    if part.bytes() > quarantine.bytes_max() {
        return Err("it is longer than failover.quarantine_size".to_owned());
    }
    let mut link = dial.open(deadline).await.map_err(|fault| fault.to_string())?;
    begin(&mut link, part, deadline).await?;
    let mut shelf = Shelf::new(dial.address.to_string(), part.clone(), quarantine.clone());
    let (mut sorter, mut stream, mut due) = (Sorter::default(), BytesMut::new(), part.bytes());
    while due > 0 {
        let most = usize::try_from(due).unwrap_or(usize::MAX);
        let taken = link.take(&mut stream, most, deadline).await.map_err(|fault| fault.to_string())?;
        due -= taken as u64;
        sorter.sort(&mut stream)?;
        if sorter.kept.len() >= CHUNK {
            shelf.write(std::mem::take(&mut sorter.kept)).await;
        }
    }
    drop(link);
    if !stream.is_empty() {
        return Err("it ends in the middle of a command".to_owned());
    }
    let Sorter { commands, bytes, kept, .. } = sorter;
    if commands == 0 {
        return Ok(Captured::Read { commands, bytes, kept: Err("nothing".to_owned()) });
    }
    shelf.write(kept).await;
    Ok(Captured::Read { commands, bytes, kept: shelf.close().await })
}

/// Asks for the stream, where it is there to be had: a node that has no such backlog would begin a full transfer.
async fn begin(link: &mut Link, part: &Divergence, deadline: Instant) -> Result<(), String> {
    let replies =
        link.call(&[&["INFO", "replication"]], deadline).await.map_err(|fault| fault.to_string())?;
    let info = replies[0].as_str().unwrap_or_default();
    let field = |wanted: &str| {
        info.lines()
            .find_map(|line| line.trim_end().strip_prefix(wanted)?.strip_prefix(':').map(str::to_owned))
    };
    let number = |wanted: &str| field(wanted).and_then(|text| text.parse::<u64>().ok());
    let is_that = field("role").as_deref() == Some("master")
        && field("master_replid").as_ref() == Some(&part.replid)
        && number("master_repl_offset").is_some_and(|offset| offset >= part.to);
    if !is_that {
        return Err("the node has changed meanwhile".to_owned());
    }
    let first = number("repl_backlog_first_byte_offset").filter(|first| *first > 0);
    if field("repl_backlog_active").as_deref() != Some("1") || first.is_none_or(|first| first > part.from) {
        return Err("its backlog does not reach back so far".to_owned());
    }
    let offset = part.from.to_string();
    let psync: [&[&str]; 1] = [&["PSYNC", &part.replid, &offset]];
    match link.call(&psync, deadline).await.map_err(|fault| fault.to_string())?.swap_remove(0) {
        Value::Simple(text) if text.starts_with("CONTINUE") => Ok(()),
        Value::Simple(_) => Err("the node would rather send everything".to_owned()),
        other => Err(other.as_error().unwrap_or("the node answers nonsense").to_owned()),
    }
}

/// Tells commands from noise.
#[derive(Debug, Default)]
struct Sorter {
    scanner: RequestScanner,
    limits: Limits,
    /// The last SELECT, until a command needs it.
    select: Vec<u8>,
    kept: Vec<u8>,
    commands: u64,
    bytes: u64,
}

impl Sorter {
    /// Takes all whole commands off the front of `stream`.
    fn sort(&mut self, stream: &mut BytesMut) -> Result<(), String> {
        loop {
            let scanned = self.scanner.scan(stream, &self.limits).map_err(|fault| fault.to_string())?;
            let len = match scanned {
                Scan::Incomplete { .. } => return Ok(()),
                Scan::Empty { len } => len,
                Scan::Complete { len } => {
                    let request = self.scanner.request(stream);
                    if request.name().eq_ignore_ascii_case(b"SELECT") {
                        self.select = request.raw().to_vec();
                    } else if !is_noise(&request) {
                        self.kept.append(&mut self.select);
                        self.kept.extend_from_slice(request.raw());
                        self.commands += 1;
                        self.bytes += len as u64;
                    }
                    len
                }
            };
            stream.advance(len);
            self.scanner.reset();
        }
    }
}

/// What replication itself and brains send down the stream; it changes no data.
fn is_noise(request: &Request<'_>) -> bool {
    let name = request.name().to_ascii_uppercase();
    match name.as_slice() {
        b"PING" | b"REPLCONF" => true,
        b"PUBLISH" | b"SPUBLISH" => request
            .args()
            .nth(1)
            .is_some_and(|channel| GREETINGS.iter().any(|greeting| channel.starts_with(greeting))),
        _ => false,
    }
}

/// The file, which is made when there is something to write; what stands in its way is told at the end.
struct Shelf {
    node: String,
    part: Divergence,
    quarantine: Quarantine,
    place: Option<Result<Place, String>>,
}

impl Shelf {
    fn new(node: String, part: Divergence, quarantine: Quarantine) -> Self {
        Self { node, part, quarantine, place: None }
    }

    /// Adds whole commands, on a thread that may wait for a disk.
    async fn write(&mut self, bytes: Vec<u8>) {
        let (node, part, quarantine) = (self.node.clone(), self.part.clone(), self.quarantine.clone());
        let place = self.place.take();
        let written = blocking(move || match place.unwrap_or_else(|| quarantine.place(&node, &part))? {
            Place::Taken(path) => Ok(Place::Taken(path)),
            Place::New(draft) => add(draft, &bytes).map(Place::New).map_err(|error| error.to_string()),
        });
        self.place = Some(written.await);
    }

    async fn close(self) -> Result<String, String> {
        let place = self.place;
        let kept = blocking(move || match place.unwrap_or_else(|| Err("nothing".to_owned()))? {
            Place::Taken(path) => Ok(path),
            Place::New(draft) => draft.keep().map_err(|error| error.to_string()),
        });
        kept.await.map(|path| path.display().to_string())
    }
}

fn add(mut draft: Draft, bytes: &[u8]) -> std::io::Result<Draft> {
    draft.write(bytes)?;
    Ok(draft)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|fault| Err(fault.to_string()))
}

#[cfg(test)]
mod tests;
