//! A client that another process of this program serves from now on: what goes over beside its socket, and how it is taken up
//! there.
//!
//! Only who owes nothing, is owed nothing and holds nothing goes over; what it was in the middle of sending goes with it. All of it
//! is one request in multibulk form, `client` and pairs of a name and a value, which both processes read and write here alone.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use zeroize::Zeroizing;

use crate::backend::Identity;
use crate::resp::{Proto, RequestScanner, encode};
use crate::session::Notices;

use super::connection::Connection;
use super::registry::Ends;
use super::worker::wake_at;

/// Sends what belongs to one client, and its socket, to the other process. `WouldBlock`: that has no room at the moment.
#[derive(Clone)]
pub struct HandOver(pub Arc<Give>);

/// What belongs to the client, and its socket.
type Give = dyn Fn(&[u8], BorrowedFd<'_>) -> std::io::Result<()> + Send + Sync;

impl fmt::Debug for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandOver")
    }
}

/// What [`HandOver`] was given in the other process.
pub type Handed = (Zeroizing<Vec<u8>>, OwnedFd);

/// Who has sent more than this and was not served yet is served first; the rest of what belongs to a client is small.
const UNREAD_MAX: usize = 64 << 10;

/// Pause before another attempt, when the other process has no room.
const AGAIN: Duration = Duration::from_millis(5);

/// What belongs to a client.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Belongings {
    pub(super) id: u64,
    /// For how long it has been connected, and silent.
    pub(super) age: Duration,
    idle: Duration,
    /// Where it comes from, and our end; over a unix socket its path.
    pub(super) theirs: Option<SocketAddr>,
    pub(super) ours: Option<SocketAddr>,
    pub(super) path: Vec<u8>,
    resp3: bool,
    db: u32,
    /// It has authenticated, as this user of the nodes; `None`: without a name.
    secret: Option<Zeroizing<Vec<u8>>>,
    node_user: Option<Vec<u8>>,
    /// Of `[[users]]`.
    user: Option<Vec<u8>>,
    name: Vec<u8>,
    lib_name: Vec<u8>,
    lib_ver: Vec<u8>,
    admitted: bool,
    /// It wrote something, or read what somebody wrote: its reads are to show it.
    depends: bool,
    /// Epoch of its last write; 0: none.
    wrote_in: u64,
    /// CLIENT MAINT_NOTIFICATIONS, and whether MOVING has to name an address.
    notices: Option<bool>,
    unread: Vec<u8>,
}

impl fmt::Debug for Belongings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There are secrets among them.
        f.debug_struct("Belongings").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Belongings {
    fn write(&self) -> Zeroizing<Vec<u8>> {
        let mut words: Vec<(&str, Vec<u8>)> = Vec::new();
        let mut say = |name, value: Vec<u8>| words.push((name, value));
        let text = |value: &dyn ToString| value.to_string().into_bytes();
        say("id", text(&self.id));
        say("age-ms", text(&self.age.as_millis()));
        say("idle-ms", text(&self.idle.as_millis()));
        say("wrote-in", text(&self.wrote_in));
        self.theirs.iter().for_each(|address| say("theirs", text(address)));
        self.ours.iter().for_each(|address| say("ours", text(address)));
        say("db", text(&self.db));
        let said = [
            ("path", Some(&self.path)),
            ("secret", self.secret.as_deref()),
            ("node-user", self.node_user.as_ref()),
            ("user", self.user.as_ref()),
            ("name", Some(&self.name)),
            ("lib-name", Some(&self.lib_name)),
            ("lib-ver", Some(&self.lib_ver)),
            ("unread", Some(&self.unread)),
        ];
        let is_said =
            |name: &str, value: &Vec<u8>| !value.is_empty() || ["secret", "node-user"].contains(&name);
        for (name, value) in said {
            value.filter(|value| is_said(name, value)).into_iter().for_each(|value| say(name, value.clone()));
        }
        for (name, is_so) in [("resp3", self.resp3), ("admitted", self.admitted), ("depends", self.depends)] {
            if is_so {
                say(name, b"1".to_vec());
            }
        }
        self.notices.iter().for_each(|address| say("notices", text(&u8::from(*address))));
        let mut request: Vec<&[u8]> = vec![b"client"];
        words.iter().for_each(|(name, value)| request.extend([name.as_bytes(), value.as_slice()]));
        let mut out = BytesMut::new();
        encode::own_command(&mut out, &request);
        let written = Zeroizing::new(out.to_vec());
        out.fill(0);
        words.iter_mut().for_each(|(_, value)| value.fill(0));
        written
    }

    /// `None`: they are not understood.
    pub(super) fn read(words: &[u8]) -> Option<Self> {
        let scanner = RequestScanner::of_kept(words)?;
        let request = scanner.request(words);
        let mut args = request.args();
        if !args.next()?.eq_ignore_ascii_case(b"client") {
            return None;
        }
        let mut read = Self::default();
        while let Some(name) = args.next() {
            let value = args.next()?;
            match name {
                b"id" => read.id = parsed(value)?,
                b"age-ms" => read.age = Duration::from_millis(parsed(value)?),
                b"theirs" => read.theirs = Some(parsed(value)?),
                b"ours" => read.ours = Some(parsed(value)?),
                b"idle-ms" => read.idle = Duration::from_millis(parsed(value)?),
                b"wrote-in" => read.wrote_in = parsed(value)?,
                b"path" => read.path = value.to_vec(),
                b"resp3" => read.resp3 = true,
                b"db" => read.db = parsed(value)?,
                b"secret" => read.secret = Some(Zeroizing::new(value.to_vec())),
                b"node-user" => read.node_user = Some(value.to_vec()),
                b"user" => read.user = Some(value.to_vec()),
                b"name" => read.name = value.to_vec(),
                b"lib-name" => read.lib_name = value.to_vec(),
                b"lib-ver" => read.lib_ver = value.to_vec(),
                b"admitted" => read.admitted = true,
                b"depends" => read.depends = true,
                b"notices" => read.notices = Some(value == b"1"),
                b"unread" => read.unread = value.to_vec(),
                _ => return None,
            }
        }
        (read.id > 0).then_some(read)
    }

    /// Its ends, as the client table names them.
    pub(super) fn ends(&self) -> Ends {
        match self.theirs {
            Some(theirs) => Ends::Tcp(theirs, self.ours),
            None => Ends::Unix(Path::new(std::ffi::OsStr::from_bytes(&self.path)).into()),
        }
    }
}

/// The system has no room at the moment, for bytes or for sockets on their way.
fn may_succeed_later(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let known = [Errno::AGAIN, Errno::NOBUFS, Errno::NOMEM, Errno::TOOMANYREFS];
    known.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn parsed<T: FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl Connection {
    /// It goes to the process that takes over as soon as nothing is owed to it.
    pub(super) fn leaves(&self) -> bool {
        self.worker.shared.heir.get().is_some()
            && self.pinned.is_none()
            && !self.client.stays.get()
            && !self.has_ended()
            && self.dropping.is_none()
            && self.unread().len() <= UNREAD_MAX
            && self.client.writer.is_plain()
    }

    /// It will, once it has been served so far.
    pub(super) fn leaves_later(&self) -> bool {
        self.worker.shared.heir.get().is_some()
            && !self.client.stays.get()
            && !self.leaves()
            && self.client.writer.is_plain()
    }

    /// Gives the client to the process that takes over, if there is one and the client may go: `None`: it stays. Ready when it has
    /// gone, or is to end.
    pub(super) fn go_over(&mut self) -> Option<Poll<()>> {
        let HandOver(give) = self.worker.shared.heir.get()?;
        let words = self.belongings()?.write();
        match self.client.writer.plain(|socket| give(&words, socket))? {
            Ok(()) => {
                self.client.writer.let_go();
                tracing::debug!(client = self.client.id, "handed over");
                Some(Poll::Ready(()))
            }
            Err(error) if may_succeed_later(&error) => {
                wake_at(&self.client, Instant::now() + AGAIN);
                Some(Poll::Pending)
            }
            Err(error) => {
                tracing::debug!(client = self.client.id, %error, "not handed over");
                None
            }
        }
    }

    /// Of a client that may go.
    fn belongings(&self) -> Option<Belongings> {
        let (client, session, shared) = (&self.client, &self.session, &self.worker.shared);
        let now = Instant::now();
        let is_free = client.out.borrow().is_empty()
            && client.special.borrow().is_none()
            && session.pending.is_none()
            && !client.live.is_redirected_to();
        if !is_free {
            return None;
        }
        let mut belongings = Belongings {
            id: client.id,
            age: client.live.age(now),
            idle: client.live.rests_for(now),
            wrote_in: session.wrote_in,
            resp3: session.identity.proto == Proto::Resp3,
            db: session.identity.db,
            user: session.user.map(|place| self.worker.users.name(place).as_bytes().to_vec()),
            name: session.said.name().to_vec(),
            lib_name: session.said.lib_name().to_vec(),
            lib_ver: session.said.lib_ver().to_vec(),
            admitted: session.admitted,
            depends: client.wrote_by_look.get() > 0 || client.read_by_look.get() > 0,
            notices: client.notices.get().map(|subscription| subscription.wanted().names_address),
            unread: self.unread().to_vec(),
            ..Belongings::default()
        };
        if let Some(login) = &session.identity.login {
            belongings.node_user.clone_from(&login.user);
            belongings.secret = Some(login.secret.clone());
        }
        match shared.registry.ends_of(client.id)? {
            Ends::Tcp(theirs, ours) => (belongings.theirs, belongings.ours) = (Some(theirs), ours),
            Ends::Unix(path) => belongings.path = path.as_os_str().as_bytes().to_vec(),
        }
        Some(belongings)
    }

    /// Goes on where the client was in the other process; false: who it is there it can not be here.
    pub(super) fn take_up(&mut self, belongings: Belongings) -> bool {
        let Belongings { resp3, db, secret, node_user, user, admitted, unread, .. } = belongings;
        let (login, place) = match secret {
            None => (None, None),
            Some(secret) => match self.worker.users.taken_up(user.as_deref(), node_user, secret) {
                Some((login, place)) => (Some(login), place),
                None => return false,
            },
        };
        let proto = if resp3 { Proto::Resp3 } else { Proto::Resp2 };
        self.session.identity = Identity { login, proto, db };
        (self.session.user, self.session.admitted) = (place, admitted);
        // They were looked at there.
        let _ = self.session.said.set_name(&belongings.name);
        let _ = self.session.said.set_info(b"lib-name", &belongings.lib_name);
        let _ = self.session.said.set_info(b"lib-ver", &belongings.lib_ver);
        self.client.live.rested(belongings.idle, Instant::now());
        self.session.wrote_in = belongings.wrote_in;
        // 0 would say that nothing was written.
        let look = self.worker.last_look().max(1);
        if belongings.depends {
            self.client.wrote_by_look.set(look);
            self.client.read_by_look.set(look);
        }
        self.worker.shared.written.note_anywhere(look);
        self.identity_changed();
        if let Some(names_address) = belongings.notices {
            self.subscribe_notices(Some(Notices { names_address }));
        }
        self.sent_before(BytesMut::from(unread.as_slice()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = Belongings {
            id: 7,
            age: Duration::from_millis(12_345),
            idle: Duration::from_millis(1),
            wrote_in: 5,
            theirs: "10.0.0.9:5000".parse().ok(),
            ours: "[::1]:6379".parse().ok(),
            path: b"/run/redhold.sock".to_vec(),
            resp3: true,
            db: 3,
            secret: Some(Zeroizing::new(b"p\r\nw".to_vec())),
            node_user: Some(b"app".to_vec()),
            user: Some(b"application".to_vec()),
            name: b"mine".to_vec(),
            lib_name: b"lib".to_vec(),
            lib_ver: b"1.0".to_vec(),
            admitted: true,
            depends: true,
            notices: Some(false),
            unread: vec![0, 13, 10, 255],
        };
        let few = Belongings { id: 8, secret: Some(Zeroizing::default()), ..Belongings::default() };
        for belongings in [all, few] {
            assert_eq!(Belongings::read(&belongings.write()), Some(belongings));
        }
    }

    #[test]
    fn who_has_just_spoken_has_not_been_silent_since_it_connected() {
        let start = Instant::now();
        let now = start + Duration::from_secs(10);
        let live = super::super::registry::Live::new(start);
        live.rested(Duration::from_secs(1), now);
        assert_eq!((live.age(now), live.rests_for(now)), (Duration::from_secs(10), Duration::from_secs(1)));
    }

    #[test]
    fn what_is_not_understood_is_nobodys() {
        for words in [
            &b"*1\r\n$4\r\nPING\r\n"[..],
            b"*1\r\n$6\r\nclient\r\n",
            b"*3\r\n$6\r\nclient\r\n$2\r\nid\r\n$1\r\nx\r\n",
            b"*5\r\n$6\r\nclient\r\n$2\r\nid\r\n$1\r\n1\r\n$3\r\nnew\r\n$1\r\n1\r\n",
        ] {
            assert_eq!(Belongings::read(words), None);
        }
    }
}
