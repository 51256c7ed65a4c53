//! What PROXY subcommands show: what took long, what is asked for most, what is big, who is there, where nodes are. Each is for
//! whom a node would let see as much.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::resp::{Proto, Request, encode, parse_integer};

use super::big_keys::{Big, Origin};
use super::client::Special;
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::proxy_right::{Asker, CLIENTS, REQUESTS, may_look, may_order};
use super::shared::lock;
use super::slow_log::named;
use super::worker::Worker;

/// Entries that are shown when nobody says how many; as in Redis.
const COUNT: usize = 10;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// SLOWLOG GET: so many.
    Slow(usize),
    /// SLOWLOG LEN
    SlowCount,
    /// SLOWLOG RESET
    SlowReset,
    /// HOTKEYS: so many.
    Hot(usize),
    /// BIGKEYS: so many requests, and so many replies.
    Big(usize),
    /// BIGKEYS RESET
    BigReset,
    /// CLIENTS
    Clients,
    /// STATUS, NODES, FAILOVERS and ROUTE where clients are not told where nodes are: this reply.
    HiddenNodes(Bytes),
}

impl Look {
    /// Of a request for one of the three with a fitting number of arguments.
    ///
    /// # Errors
    /// In Redis's words, as it says them of its own SLOWLOG.
    pub(super) fn of(request: &Request<'_>) -> Result<Self, String> {
        let word = |at: usize| request.arg(at).to_ascii_lowercase();
        if word(1) == b"hotkeys" {
            return count(request, 2).map(Self::Hot);
        }
        if word(1) == b"bigkeys" {
            let resets = request.len() > 2 && word(2) == b"reset";
            return if resets { Ok(Self::BigReset) } else { count(request, 2).map(Self::Big) };
        }
        match (word(2).as_slice(), request.len()) {
            (b"get", _) => count(request, 3).map(Self::Slow),
            (b"len", 3) => Ok(Self::SlowCount),
            (b"reset", 3) => Ok(Self::SlowReset),
            (b"len" | b"reset", _) => {
                Err("ERR wrong number of arguments for 'proxy|slowlog' command".to_owned())
            }
            _ => {
                let word = String::from_utf8_lossy(request.arg(2));
                Err(format!("ERR unknown subcommand '{word}'. Try PROXY HELP."))
            }
        }
    }

    fn answer(self, worker: &Worker, proto: Proto, out: &mut BytesMut) {
        let shared = &worker.shared;
        match self {
            Self::Slow(count) => lock(&shared.slow_log).write(count, proto, out),
            Self::SlowCount => {
                let count = lock(&shared.slow_log).len();
                encode::integer(out, i64::try_from(count).unwrap_or(i64::MAX));
            }
            Self::SlowReset => {
                lock(&shared.slow_log).reset();
                encode::simple(out, "OK");
            }
            Self::Hot(_) if one_in(worker) == 0 => {
                encode::error(out, "ERR no keys are counted, since log.hotkeys_one_in is 0");
            }
            Self::Hot(count) => hottest(worker, count, proto, out),
            Self::Big(_) | Self::BigReset if big_bytes(worker) == u64::MAX => {
                encode::error(out, "ERR none are remembered, since log.bigkeys_min is 0");
            }
            Self::Big(count) => biggest(worker, count, proto, out),
            Self::BigReset => {
                shared.forget_big_keys(Instant::now());
                encode::simple(out, "OK");
            }
            Self::Clients => {
                let mut text = String::new();
                let rows = shared.registry.rows(worker.now());
                rows.iter().for_each(|row| row.write(&mut text));
                encode::verbatim(out, text.as_bytes(), proto);
            }
            Self::HiddenNodes(reply) => out.extend_from_slice(&reply),
        }
    }

    /// Nothing, or the error for who may not look.
    async fn is_allowed(&self, asker: &Asker, subcommand: &str) -> Result<(), String> {
        match self {
            Self::Clients => may_look(asker, subcommand, &CLIENTS).await,
            // Where clients are not told, who may send requests elsewhere has to know where to.
            Self::HiddenNodes(_) => may_order(asker, subcommand).await.map(drop),
            _ => may_look(asker, subcommand, &REQUESTS).await,
        }
    }
}

/// Argument `at`, if there is one: how many entries are to be shown.
fn count(request: &Request<'_>, at: usize) -> Result<usize, String> {
    if at >= request.len() {
        return Ok(COUNT);
    }
    match parse_integer(request.arg(at)) {
        Some(-1) => Ok(usize::MAX),
        Some(count @ 0..) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
        _ => Err("ERR count should be greater than or equal to -1".to_owned()),
    }
}

fn one_in(worker: &Worker) -> u32 {
    worker.pools.around().settings.sample_one_in
}

fn big_bytes(worker: &Worker) -> u64 {
    worker.pools.around().settings.big_bytes
}

fn integer(number: u64, out: &mut BytesMut) {
    encode::integer(out, i64::try_from(number).unwrap_or(i64::MAX));
}

fn biggest(worker: &Worker, count: usize, proto: Proto, out: &mut BytesMut) {
    let biggest = worker.shared.biggest(count, Instant::now());
    encode::map_header(out, 4, proto);
    encode::bulk(out, b"seconds");
    integer(biggest.span.as_secs(), out);
    encode::bulk(out, b"min-bytes");
    integer(big_bytes(worker), out);
    for (name, bigs) in [("requests", &biggest.requests), ("replies", &biggest.replies)] {
        encode::bulk(out, name.as_bytes());
        encode::array_header(out, bigs.len());
        for big in bigs {
            let Big { row, db, key, keys, bytes, times, origin } = big;
            let Origin { unix, node, addr, name, user } = origin;
            encode::array_header(out, 11);
            encode::bulk(out, key);
            integer(u64::from(*keys), out);
            integer(u64::from(*db), out);
            encode::bulk(out, named(*row).join(&b' ').as_slice());
            [*bytes, *times, *unix].into_iter().for_each(|number| integer(number, out));
            for text in [node.as_bytes(), addr.as_bytes(), name, user] {
                encode::bulk(out, text);
            }
        }
    }
}

fn hottest(worker: &Worker, count: usize, proto: Proto, out: &mut BytesMut) {
    let hottest = worker.shared.hottest(count, Instant::now());
    encode::map_header(out, 4, proto);
    encode::bulk(out, b"seconds");
    integer(hottest.span.as_secs(), out);
    encode::bulk(out, b"one-in");
    integer(u64::from(one_in(worker)), out);
    encode::bulk(out, b"sampled");
    integer(hottest.sampled, out);
    encode::bulk(out, b"keys");
    encode::array_header(out, hottest.keys.len());
    for key in &hottest.keys {
        encode::array_header(out, 4);
        encode::bulk(out, &key.key);
        integer(u64::from(key.db), out);
        integer(key.least(), out);
        integer(key.most, out);
    }
}

impl Connection {
    /// Answers beside the client's task, which takes nothing else meanwhile: a node is asked whether this client may look.
    pub(super) fn look(&mut self, dispatched: &Dispatched<'_>, look: Look) -> Step {
        self.client.special.replace(Some(Special::Order));
        let (client, worker) = (self.client.clone(), self.worker.clone());
        let asker = Asker::new(&worker, &self.session);
        let proto = self.session.identity.proto;
        let subcommand = String::from_utf8_lossy(dispatched.request.arg(1)).to_ascii_uppercase();
        tokio::task::spawn_local(async move {
            let answer = look.is_allowed(&asker, &subcommand).await;
            {
                let mut out = client.out.borrow_mut();
                match answer {
                    Ok(()) => look.answer(&worker, proto, &mut out),
                    Err(refusal) => encode::error(&mut out, &refusal),
                }
            }
            client.special.replace(None);
            client.wake();
        });
        Step::Taken
    }
}
