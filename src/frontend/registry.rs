//! All clients of the process, for CLIENT LIST, KILL and UNBLOCK. Locked only when a client comes, goes, changes its
//! name or is asked for; what changes with every request stands in atomics of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::command::RowId;
use crate::resp::Proto;
use crate::session::{ClientFlags, ClientRow};
use crate::traces;

use super::busy_clients::Progress;
use super::shared::lock;

/// A client's socket.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) ends: Ends,
    /// Descriptor.
    pub(super) fd: i32,
}

/// Its two ends.
#[derive(Clone, Debug)]
pub(super) enum Ends {
    /// The client's and, if the system tells, ours.
    Tcp(SocketAddr, Option<SocketAddr>),
    /// The path is both.
    Unix(Box<Path>),
}

impl Ends {
    /// As Redis's client table names the client's and ours.
    fn names(&self) -> [String; 2] {
        match self {
            Self::Tcp(theirs, ours) => {
                [theirs.to_string(), ours.map(|ours| ours.to_string()).unwrap_or_default()]
            }
            Self::Unix(path) => [(); 2].map(|()| format!("{}:0", path.display())),
        }
    }
}

/// What a client has said about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) name: Vec<u8>,
    pub(super) lib_name: Vec<u8>,
    pub(super) lib_ver: Vec<u8>,
    /// `None`: the default one.
    pub(super) user: Option<Vec<u8>>,
    pub(super) db: u32,
    pub(super) proto: Proto,
}

impl Said {
    /// Most say nothing.
    fn kept(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// What a client holds on a connection of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) flags: ClientFlags,
    /// Channels, patterns, shard channels.
    pub(super) subscribed: [usize; 3],
    /// Requests queued in MULTI.
    pub(super) queued: Option<usize>,
    /// While it tracks keys: the client that its invalidations go to, 0 for itself.
    pub(super) redirect: Option<u64>,
}

/// A client that waits on a connection of its own.
#[derive(Debug)]
struct Parked {
    /// The connection's id at the server.
    server_id: i64,
    /// Somebody was told this id: the connection may not serve another client.
    told: bool,
}

/// Why somebody else closed a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// CLIENT KILL.
    Killed = 1,
    /// Of all clients it takes most memory.
    Largest = 2,
}

/// The half of a client that other threads reach.
#[derive(Debug)]
pub(super) struct Live {
    connected: Instant,
    /// Milliseconds since it connected at which it last sent something.
    heard_ms: AtomicU64,
    /// Row of its last command, plus 1.
    row: AtomicU32,
    commands: AtomicU64,
    net_in: AtomicU64,
    net_out: AtomicU64,
    unread: AtomicUsize,
    unwritten: AtomicUsize,
    /// See [`Closed`].
    closed: AtomicU8,
    waker: Mutex<Option<Waker>>,
    held: Mutex<Held>,
    parked: Mutex<Option<Parked>>,
    /// How the server calls the connection that the client has for itself; 0: none.
    own: AtomicI64,
    /// Invalidations are redirected there, or are to be as soon as there is one.
    redirected: AtomicBool,
}

impl Live {
    pub(super) fn new(connected: Instant) -> Arc<Self> {
        Arc::new(Self {
            connected,
            heard_ms: AtomicU64::default(),
            row: AtomicU32::default(),
            commands: AtomicU64::default(),
            net_in: AtomicU64::default(),
            net_out: AtomicU64::default(),
            unread: AtomicUsize::default(),
            unwritten: AtomicUsize::default(),
            closed: AtomicU8::default(),
            waker: Mutex::default(),
            held: Mutex::default(),
            parked: Mutex::default(),
            own: AtomicI64::default(),
            redirected: AtomicBool::default(),
        })
    }

    /// `bytes` came from the client. Only the client's own thread writes here, so that load and store do.
    pub(super) fn read(&self, bytes: usize, now: Instant) {
        let ms = now.saturating_duration_since(self.connected).as_millis();
        self.heard_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
        add(&self.net_in, bytes as u64);
    }

    /// It was silent for so long before it came from another process.
    pub(super) fn rested(&self, rest: Duration, now: Instant) {
        let heard = now.saturating_duration_since(self.connected).saturating_sub(rest);
        self.heard_ms.store(u64::try_from(heard.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// For how long it has sent nothing.
    pub(super) fn rests_for(&self, now: Instant) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.connected).saturating_sub(heard)
    }

    pub(super) fn wrote(&self, bytes: usize) {
        add(&self.net_out, bytes as u64);
    }

    /// A request of this row is looked at.
    pub(super) fn looks_at(&self, row: RowId) {
        self.row.store(u32::from(row.0) + 1, Ordering::Relaxed);
    }

    /// The row of the request that was looked at last.
    pub(super) fn looked_at(&self) -> RowId {
        let row = self.row.load(Ordering::Relaxed).checked_sub(1).and_then(|row| u16::try_from(row).ok());
        row.map_or(RowId::UNKNOWN, RowId)
    }

    /// So many requests were taken.
    pub(super) fn took(&self, count: u32) {
        add(&self.commands, u64::from(count));
    }

    pub(super) fn buffers(&self, unread: usize, unwritten: usize) {
        self.unread.store(unread, Ordering::Relaxed);
        self.unwritten.store(unwritten, Ordering::Relaxed);
    }

    pub(super) fn wake_by(&self, waker: &Waker) {
        *lock(&self.waker) = Some(waker.clone());
    }

    pub(super) fn hold(&self, held: Held) {
        *lock(&self.held) = held;
    }

    /// The client waits on the connection that the server knows by this id.
    pub(super) fn park(&self, server_id: i64) {
        *lock(&self.parked) = Some(Parked { server_id, told: false });
    }

    /// It waits no more; true when its connection's id was told to somebody meanwhile.
    pub(super) fn unpark(&self) -> bool {
        lock(&self.parked).take().is_some_and(|parked| parked.told)
    }

    /// The client has a connection for itself, which the server knows by this id.
    pub(super) fn own(&self, server_id: i64) {
        self.own.store(server_id, Ordering::SeqCst);
    }

    /// It has none any more; true when others' invalidations may have been redirected there.
    pub(super) fn disown(&self) -> bool {
        self.own.store(0, Ordering::SeqCst);
        self.redirected.load(Ordering::SeqCst) && self.redirected.swap(false, Ordering::SeqCst)
    }

    /// Others' invalidations may be redirected to its connection, or are to be.
    pub(super) fn is_redirected_to(&self) -> bool {
        self.redirected.load(Ordering::SeqCst)
    }

    /// Whether and why somebody else closed it.
    pub(super) fn closed(&self) -> Option<Closed> {
        match self.closed.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Closed::Killed),
            _ => Some(Closed::Largest),
        }
    }

    /// Bytes that wait to be served or to be read.
    #[inline]
    pub(super) fn buffered(&self) -> usize {
        self.unread.load(Ordering::Relaxed) + self.unwritten.load(Ordering::Relaxed)
    }

    /// Bytes of replies that wait to be read.
    pub(super) fn leaves_unread(&self, bytes: usize) {
        self.unwritten.store(bytes, Ordering::Relaxed);
    }

    /// Numbers that change as it comes on with what it does, of what it sends with each so many bytes.
    pub(super) fn progress(&self, step: u64) -> [u64; 3] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [of(&self.commands), of(&self.net_in) / step, of(&self.net_out)]
    }

    /// It is blocked, subscribed or monitors: silence is what it wants.
    pub(super) fn is_told_unasked(&self) -> bool {
        let flags = lock(&self.held).flags;
        flags.pubsub || flags.monitor || lock(&self.parked).is_some()
    }

    /// For how long it has been connected.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.connected)
    }

    /// Wakes the client's task, from whatever thread.
    pub(super) fn wake(&self) {
        if let Some(waker) = lock(&self.waker).as_ref() {
            waker.wake_by_ref();
        }
    }

    fn close(&self, why: Closed) {
        self.closed.store(why as u8, Ordering::Relaxed);
        self.wake();
    }
}

fn add(to: &AtomicU64, more: u64) {
    to.store(to.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// A client.
#[derive(Debug)]
struct Entry {
    place: Place,
    /// `None`: nothing.
    said: Option<Box<Said>>,
    live: Arc<Live>,
}

impl Entry {
    fn row(&self, id: u64, now: Instant) -> ClientRow {
        let Self { place, said, live } = self;
        let said = said.as_deref().cloned().unwrap_or_default();
        let [addr, laddr] = place.ends.names();
        let age = now.saturating_duration_since(live.connected);
        let held = *lock(&live.held);
        let mut flags = held.flags;
        flags.blocked = lock(&live.parked).is_some();
        flags.unix = matches!(place.ends, Ends::Unix(_));
        let row = live.row.load(Ordering::Relaxed).checked_sub(1).and_then(|row| u16::try_from(row).ok());
        ClientRow {
            id,
            addr,
            laddr,
            fd: place.fd,
            name: said.name,
            age: age.as_secs(),
            idle: live.rests_for(now).as_secs(),
            flags,
            db: said.db,
            sub: held.subscribed[0],
            psub: held.subscribed[1],
            ssub: held.subscribed[2],
            multi: held.queued,
            qbuf: live.unread.load(Ordering::Relaxed),
            qbuf_free: 0,
            omem: live.unwritten.load(Ordering::Relaxed),
            tot_mem: 0,
            cmd: row.map_or_else(String::new, |row| RowId(row).spec().name.to_owned()),
            user: said.user.unwrap_or_else(|| b"default".to_vec()),
            redirect: held.redirect,
            proto: said.proto,
            lib_name: said.lib_name,
            lib_ver: said.lib_ver,
            net_in: live.net_in.load(Ordering::Relaxed),
            net_out: live.net_out.load(Ordering::Relaxed),
            commands: live.commands.load(Ordering::Relaxed),
        }
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Registry {
    clients: Mutex<BTreeMap<u64, Entry>>,
}

impl Registry {
    /// A client came.
    pub(super) fn enter(&self, id: u64, place: Place, said: Said, live: Arc<Live>) {
        lock(&self.clients).insert(id, Entry { place, said: said.kept(), live });
    }

    /// It says something else about itself now.
    pub(super) fn says(&self, id: u64, said: Said) {
        if let Some(entry) = lock(&self.clients).get_mut(&id) {
            entry.said = said.kept();
        }
    }

    pub(super) fn remove(&self, id: u64) {
        lock(&self.clients).remove(&id);
    }

    /// The ends of a client's socket.
    pub(super) fn ends_of(&self, id: u64) -> Option<Ends> {
        lock(&self.clients).get(&id).map(|entry| entry.place.ends.clone())
    }

    /// The ends of a client's socket, who it is, `None` for the default user, and its database.
    pub(super) fn traced(&self, id: u64) -> (traces::Ends, Option<Vec<u8>>, u32) {
        let clients = lock(&self.clients);
        let Some(Entry { place, said, .. }) = clients.get(&id) else {
            return (traces::Ends::Unknown, None, 0);
        };
        let ends = match &place.ends {
            Ends::Tcp(theirs, ours) => traces::Ends::Tcp(*theirs, *ours),
            Ends::Unix(path) => traces::Ends::Unix(path.clone()),
        };
        let said = said.as_deref();
        (ends, said.and_then(|said| said.user.clone()), said.map_or(0, |said| said.db))
    }

    /// Every client, in the order of ids. One that was killed is none any more, though its thread may not have
    /// noticed yet.
    pub(super) fn rows(&self, now: Instant) -> Vec<ClientRow> {
        let clients = lock(&self.clients);
        let living = clients.iter().filter(|(_, entry)| entry.live.closed().is_none());
        living.map(|(id, entry)| entry.row(*id, now)).collect()
    }

    /// How far each client has come.
    pub(super) fn progress(&self) -> Vec<Progress> {
        let clients = lock(&self.clients);
        let living = clients.iter().filter(|(_, entry)| entry.live.closed().is_none());
        let of = |(id, entry): (&u64, &Entry)| Progress {
            id: *id,
            requests: entry.live.commands.load(Ordering::Relaxed),
            memory: entry.live.buffered(),
            connected: entry.live.connected,
        };
        living.map(of).collect()
    }

    /// One client.
    pub(super) fn row(&self, id: u64, now: Instant) -> Option<ClientRow> {
        lock(&self.clients).get(&id).map(|entry| entry.row(id, now))
    }

    /// Ends this client's connection at once.
    pub(super) fn kill(&self, id: u64) {
        self.close(id, Closed::Killed);
    }

    /// Ends it as well, since it takes most memory.
    pub(super) fn shed(&self, id: u64) {
        self.close(id, Closed::Largest);
    }

    fn close(&self, id: u64, why: Closed) {
        if let Some(entry) = lock(&self.clients).get(&id) {
            entry.live.close(why);
        }
    }

    /// How the server calls the connection on which this client waits, if it does. That connection will serve no
    /// other client afterwards, so that whoever acts on the id can not hit another one.
    pub(super) fn parked_at(&self, id: u64) -> Option<i64> {
        let clients = lock(&self.clients);
        let mut parked = lock(&clients.get(&id)?.live.parked);
        parked.as_mut().map(|parked| {
            parked.told = true;
            parked.server_id
        })
    }

    /// How the server calls the connection that this client has for itself, where invalidations are to be redirected to.
    ///
    /// # Errors
    /// When there is no such client, or it has no connection for itself yet; it is to get one now.
    pub(super) fn redirect_to(&self, id: u64) -> Result<i64, NoTarget> {
        let clients = lock(&self.clients);
        let live = &clients.get(&id).ok_or(NoTarget::Client)?.live;
        // Who gives the connection back looks afterwards whether somebody was told of it.
        live.redirected.store(true, Ordering::SeqCst);
        let server_id = live.own.load(Ordering::SeqCst);
        if server_id == 0 {
            live.wake();
            return Err(NoTarget::Connection);
        }
        Ok(server_id)
    }
}

/// Why invalidations cannot be redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTarget {
    /// There is no such client.
    Client,
    /// It has no connection for itself yet.
    Connection,
}
