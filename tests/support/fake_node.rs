//! A scripted TCP server in a node's place.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::wait::{LONG, eventually_some, timed_out};

const POLL: Duration = Duration::from_millis(10);

/// What it does with each connection.
#[derive(Clone, Debug)]
pub enum Script {
    /// Accepts, reads, never answers.
    Silent,
    /// Answers whatever comes, each time something comes, with these bytes.
    Reply(Vec<u8>),
    /// Reads this many bytes and closes.
    CloseAfter(usize),
    /// Answers each read with the first bytes, then closes.
    ReplyThenClose(Vec<u8>),
    /// Speaks first, then as `Silent`.
    Greet(Vec<u8>),
    /// Looks for the first pair whose left side occurs in what was read and answers its right side; silent
    /// where none occurs. Case is ignored.
    Answers(Vec<(String, Vec<u8>)>),
}

/// Such a server. Stops when dropped.
#[derive(Debug)]
pub struct FakeNode {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    script: Mutex<Script>,
    stop: AtomicBool,
    accepted: AtomicUsize,
    received: Mutex<Vec<u8>>,
}

impl FakeNode {
    /// Listens on a free port.
    pub fn start(script: Script) -> Self {
        Self::start_on(super::process::listen(), script)
    }

    /// Listens on the port of a server that is gone. Somebody else may try it for a moment.
    pub fn start_at(port: u16, script: Script) -> Self {
        let bound = || TcpListener::bind(("127.0.0.1", port)).ok();
        Self::start_on(eventually_some(LONG, "the port of who is gone is free", bound), script)
    }

    fn start_on(listener: TcpListener, script: Script) -> Self {
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            stop: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            received: Mutex::new(Vec::new()),
        });
        let acceptor = {
            let shared = shared.clone();
            std::thread::spawn(move || shared.accept(&listener))
        };
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// All bytes read so far, over all connections.
    pub fn received(&self) -> Vec<u8> {
        self.shared.received.lock().expect("no holder panics").clone()
    }

    /// Another script, from the next read of every connection on.
    pub fn become_script(&self, script: Script) {
        *self.shared.script.lock().expect("no holder panics") = script;
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut connections = Vec::new();
        while !self.stop.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((stream, _)) => {
                    self.accepted.fetch_add(1, Ordering::SeqCst);
                    let shared = self.clone();
                    connections.push(std::thread::spawn(move || shared.serve(stream)));
                }
                Err(_) => std::thread::sleep(POLL),
            }
        }
        for connection in connections {
            connection.join().ok();
        }
    }

    fn serve(&self, mut stream: TcpStream) {
        stream.set_nonblocking(false).expect("a stream can be made blocking");
        stream.set_read_timeout(Some(POLL)).expect("a timeout above zero is accepted");
        if let Script::Greet(bytes) = self.script() {
            stream.write_all(&bytes).ok();
        }
        let mut count = 0;
        let mut buffer = [0; 16 << 10];
        while !self.stop.load(Ordering::SeqCst) {
            let read = match stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => read,
                Err(fault) if timed_out(&fault) => continue,
                Err(_) => return,
            };
            count += read;
            self.received.lock().expect("no holder panics").extend_from_slice(&buffer[..read]);
            match self.script() {
                Script::Silent | Script::Greet(_) => {}
                Script::CloseAfter(limit) if count < limit => {}
                Script::CloseAfter(_) => return,
                Script::Reply(bytes) => drop(stream.write_all(&bytes)),
                Script::ReplyThenClose(bytes) => {
                    stream.write_all(&bytes).ok();
                    return;
                }
                Script::Answers(pairs) => {
                    let text = String::from_utf8_lossy(&buffer[..read]).to_lowercase();
                    if let Some((_, bytes)) =
                        pairs.iter().find(|(word, _)| text.contains(&word.to_lowercase()))
                    {
                        stream.write_all(bytes).ok();
                    }
                }
            }
        }
    }

    fn script(&self) -> Script {
        self.script.lock().expect("no holder panics").clone()
    }
}
