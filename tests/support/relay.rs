//! A TCP relay with faults, between the proxy and a node: stalls, cuts and refusals without touching the node, and
//! requests that do not reach it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::wait::timed_out;

const POLL: Duration = Duration::from_millis(5);

/// Such a relay. Stops when dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    stop: AtomicBool,
    stalled: AtomicBool,
    refusing: AtomicBool,
    connections: AtomicUsize,
    ended: AtomicUsize,
    bytes: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
    ambush: Mutex<Option<Ambush>>,
    delay_ms: AtomicU64,
    met: AtomicUsize,
}

/// What lies in wait for requests in which some bytes occur. Whatever else comes with them in one read shares their fate,
/// so such a request is best sent alone or among its like.
#[derive(Clone, Debug)]
struct Ambush {
    marker: Vec<u8>,
    deed: Deed,
}

#[derive(Clone, Debug)]
enum Deed {
    /// The connection ends, so many times.
    Cut(usize),
    /// The connection ends, and the next ones get this reply.
    CutOnce(Vec<u8>),
    /// Each gets this reply, and the node does not see it, whatever reads it takes until one ends where a line does.
    Answer(Vec<u8>),
}

impl Relay {
    /// Listens on a free port and passes on what comes.
    pub fn to(target: SocketAddr) -> Self {
        let listener = super::process::listen();
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            stop: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            streams: Mutex::new(Vec::new()),
            ambush: Mutex::new(None),
            delay_ms: AtomicU64::new(0),
            met: AtomicUsize::new(0),
        });
        let acceptor = {
            let shared = shared.clone();
            std::thread::spawn(move || shared.accept(&listener))
        };
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// The next `times` requests with `marker` in them end their connection, and the node does not see them.
    pub fn cut_at(&self, marker: &str, times: usize) {
        self.lie_in_wait(marker, Deed::Cut(times));
    }

    /// Requests with `marker` in them get `reply`, and the node does not see them.
    pub fn answer_at(&self, marker: &str, reply: &str) {
        self.lie_in_wait(marker, Deed::Answer(reply.as_bytes().to_vec()));
    }

    /// The next request with `marker` in it ends its connection, and the others get `reply`; the node sees none of them.
    pub fn cut_and_answer_at(&self, marker: &str, reply: &str) {
        self.lie_in_wait(marker, Deed::CutOnce(reply.as_bytes().to_vec()));
    }

    /// Requests reach the node again.
    pub fn answer_none(&self) {
        *self.shared.ambush.lock().expect("no holder panics") = None;
    }

    /// How many requests were kept from the node by `cut_at` and `answer_at`.
    pub fn met(&self) -> usize {
        self.shared.met.load(Ordering::SeqCst)
    }

    fn lie_in_wait(&self, marker: &str, deed: Deed) {
        let ambush = Ambush { marker: marker.as_bytes().to_vec(), deed };
        *self.shared.ambush.lock().expect("no holder panics") = Some(ambush);
    }

    /// New connections lead to `target` from now on, the others to where they led.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().expect("no holder panics") = target;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many of them have ended, on both sides.
    pub fn ended(&self) -> usize {
        self.shared.ended.load(Ordering::SeqCst) / 2
    }

    /// Bytes passed on so far, both directions.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// Nothing passes any more, in either direction, on old and new connections: a silent partition.
    pub fn stall(&self) {
        self.shared.stalled.store(true, Ordering::SeqCst);
    }

    /// Things pass again, those that waited included.
    pub fn resume(&self) {
        self.shared.stalled.store(false, Ordering::SeqCst);
    }

    /// Whatever passes takes so much longer, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.shared.delay_ms.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// Ends every connection at once; new ones are accepted.
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().expect("no holder panics").drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Whether new connections are closed as soon as they are accepted.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.cut();
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while !self.stop.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((near, _)) if !self.refusing.load(Ordering::SeqCst) => self.join(near),
                Ok(_) => {}
                Err(_) => std::thread::sleep(POLL),
            }
        }
    }

    fn join(self: &Arc<Self>, near: TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        near.set_nonblocking(false).expect("a stream can be made blocking");
        let Ok(far) = TcpStream::connect(*self.target.lock().expect("no holder panics")) else { return };
        for stream in [&near, &far] {
            stream.set_nodelay(true).ok();
            stream.set_read_timeout(Some(POLL)).expect("a timeout above zero is accepted");
        }
        let clone = |stream: &TcpStream| stream.try_clone().expect("descriptors are left");
        self.streams.lock().expect("no holder panics").extend([clone(&near), clone(&far)]);
        for (from, to, asks) in [(clone(&near), clone(&far), true), (far, near, false)] {
            let shared = self.clone();
            std::thread::spawn(move || shared.pass(from, to, asks));
        }
    }

    /// What becomes of these bytes of the proxy's: `None`, they pass; else the answers that they get, or an end.
    fn spring(&self, bytes: &[u8]) -> Option<std::io::Result<Vec<u8>>> {
        let mut ambush = self.ambush.lock().expect("no holder panics");
        let Ambush { marker, deed } = ambush.as_mut()?;
        let count = bytes.windows(marker.len()).filter(|window| window == marker).count();
        if count == 0 {
            return None;
        }
        let springs = match deed {
            Deed::Cut(0) => return None,
            Deed::Cut(times) => {
                *times -= 1;
                Err(std::io::ErrorKind::ConnectionReset.into())
            }
            Deed::CutOnce(reply) => {
                *deed = Deed::Answer(std::mem::take(reply));
                Err(std::io::ErrorKind::ConnectionReset.into())
            }
            Deed::Answer(reply) => Ok(reply.repeat(count)),
        };
        self.met.fetch_add(count, Ordering::SeqCst);
        Some(springs)
    }

    /// Whether the last of `answered` ends here; what is left of it else, since a marker may begin there.
    fn keep_end(&self, answered: &mut Vec<u8>) -> bool {
        let ambush = self.ambush.lock().expect("no holder panics");
        let longest = ambush.as_ref().map_or(1, |ambush| ambush.marker.len() - 1);
        let end = if answered.ends_with(b"\r\n") { 0 } else { longest.min(answered.len()) };
        answered.drain(..answered.len() - end);
        end == 0
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, asks: bool) {
        let mut buffer = [0; 64 << 10];
        // The end of what is answered and goes on in the next read, and the answers, which come when it has ended.
        let (mut answered, mut answers) = (Vec::new(), Vec::new());
        while !self.stop.load(Ordering::SeqCst) {
            if self.stalled.load(Ordering::SeqCst) {
                std::thread::sleep(POLL);
                continue;
            }
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(fault) if timed_out(&fault) => continue,
                Err(_) => break,
            };
            while self.stalled.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
                std::thread::sleep(POLL);
            }
            std::thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::SeqCst)));
            let goes_on = !answered.is_empty();
            answered.extend_from_slice(&buffer[..read]);
            match if asks { self.spring(&answered) } else { None } {
                None if !goes_on => answered.clear(),
                Some(Err(_)) => break,
                springs => {
                    answers.extend(springs.and_then(Result::ok).unwrap_or_default());
                    if self.keep_end(&mut answered) && from.write_all(&std::mem::take(&mut answers)).is_err()
                    {
                        break;
                    }
                    continue;
                }
            }
            self.bytes.fetch_add(read as u64, Ordering::SeqCst);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        from.shutdown(Shutdown::Both).ok();
        to.shutdown(Shutdown::Both).ok();
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}
