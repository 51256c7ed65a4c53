//! One client as CLIENT LIST and CLIENT INFO show it.

use super::super::misuse::Misuse;
use crate::resp::Proto;
use std::fmt::Write;

/// What `TYPE` distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Neither of the others; also one that monitors.
    Normal,
    /// The connection to a primary: the proxy's clients are never that.
    Master,
    /// A replica: the proxy's clients are never that.
    Replica,
    /// Subscribed.
    Pubsub,
}

impl ClientKind {
    pub(super) fn parse(word: &[u8]) -> Result<Self, Misuse> {
        let lower = word.to_ascii_lowercase();
        match &lower[..] {
            b"normal" => Ok(Self::Normal),
            b"master" => Ok(Self::Master),
            b"slave" | b"replica" => Ok(Self::Replica),
            b"pubsub" => Ok(Self::Pubsub),
            _ => Err(Misuse::quoting("ERR Unknown client type '", word, "'")),
        }
    }
}

/// States that the `flags` field shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientFlags {
    /// `O`
    pub monitor: bool,
    /// `P`
    pub pubsub: bool,
    /// `x`: in MULTI.
    pub multi: bool,
    /// `b`: in a blocking command.
    pub blocked: bool,
    /// `t`
    pub tracking: bool,
    /// `d`: a watched key was changed.
    pub dirty: bool,
    /// `c`: closed when the reply has been written.
    pub closing: bool,
    /// `U`: over a unix socket.
    pub unix: bool,
    /// `e`: CLIENT NO-EVICT.
    pub no_evict: bool,
    /// `T`: CLIENT NO-TOUCH.
    pub no_touch: bool,
}

impl ClientFlags {
    fn write(self, out: &mut String) {
        let start = out.len();
        // In the order in which Redis prints them.
        for (is_set, letter) in [
            (self.monitor, 'O'),
            (self.pubsub, 'P'),
            (self.multi, 'x'),
            (self.blocked, 'b'),
            (self.tracking, 't'),
            (self.dirty, 'd'),
            (self.closing, 'c'),
            (self.unix, 'U'),
            (self.no_evict, 'e'),
            (self.no_touch, 'T'),
        ] {
            if is_set {
                out.push(letter);
            }
        }
        if out.len() == start {
            out.push('N');
        }
    }
}

/// One client. What the proxy does not count stays 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRow {
    /// Its id, stable for its life.
    pub id: u64,
    /// Its address, `ip:port`, IPv6 in brackets; `path:0` for a unix socket.
    pub addr: String,
    /// The address it connected to, likewise.
    pub laddr: String,
    /// File descriptor.
    pub fd: i32,
    /// CLIENT SETNAME, empty when it has none.
    pub name: Vec<u8>,
    /// Seconds since it connected.
    pub age: u64,
    /// Seconds since its last request.
    pub idle: u64,
    /// States.
    pub flags: ClientFlags,
    /// Database.
    pub db: u32,
    /// Channels subscribed.
    pub sub: usize,
    /// Patterns subscribed.
    pub psub: usize,
    /// Shard channels subscribed.
    pub ssub: usize,
    /// Requests queued in MULTI; `None` outside.
    pub multi: Option<usize>,
    /// Bytes read and not yet acted upon.
    pub qbuf: usize,
    /// While it tracks keys: the client that its invalidations go to, 0 for itself.
    pub redirect: Option<u64>,
    /// Room for more of them.
    pub qbuf_free: usize,
    /// Bytes of replies not yet written.
    pub omem: usize,
    /// Bytes of memory it takes.
    pub tot_mem: usize,
    /// Its last command in lower case, `parent|sub`; empty before the first.
    pub cmd: String,
    /// As whom it is authenticated.
    pub user: Vec<u8>,
    /// Its dialect.
    pub proto: Proto,
    /// CLIENT SETINFO lib-name.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO lib-ver.
    pub lib_ver: Vec<u8>,
    /// Bytes read from it.
    pub net_in: u64,
    /// Bytes written to it.
    pub net_out: u64,
    /// Requests of it.
    pub commands: u64,
}

impl ClientRow {
    /// What `TYPE` takes it for.
    pub fn kind(&self) -> ClientKind {
        if self.flags.pubsub { ClientKind::Pubsub } else { ClientKind::Normal }
    }

    /// Appends its line, LF included: the fields of Redis 8 in their order but `watch`, of which 7.0 has all but `lib-…`,
    /// `io-thread` and `tot-…`.
    pub fn write(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags=",
            self.id,
            self.addr,
            self.laddr,
            self.fd,
            String::from_utf8_lossy(&self.name),
            self.age,
            self.idle,
        );
        self.flags.write(out);
        let redir = self.redirect.map_or(-1, |client| i64::try_from(client).unwrap_or(i64::MAX));
        let multi = self.multi.map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX));
        let _ = write!(
            out,
            " db={} sub={} psub={} ssub={} multi={multi} qbuf={} qbuf-free={} argv-mem=0 multi-mem=0",
            self.db, self.sub, self.psub, self.ssub, self.qbuf, self.qbuf_free,
        );
        let _ = write!(
            out,
            " rbs=0 rbp=0 obl=0 oll=0 omem={} tot-mem={} events=r cmd={} user={} redir={redir} resp={}",
            self.omem,
            self.tot_mem,
            if self.cmd.is_empty() { "NULL" } else { &self.cmd },
            String::from_utf8_lossy(&self.user),
            self.proto.version(),
        );
        let _ = writeln!(
            out,
            " lib-name={} lib-ver={} io-thread=0 tot-net-in={} tot-net-out={} tot-cmds={}",
            String::from_utf8_lossy(&self.lib_name),
            String::from_utf8_lossy(&self.lib_ver),
            self.net_in,
            self.net_out,
            self.commands,
        );
    }
}
