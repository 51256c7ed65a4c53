//! The control plane's own connection to a node: RESP2, requests pipelined, every wait with a deadline.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout_at;

use crate::net::{self, SocketOptions, Stream, TlsClient};
use crate::resp::{self, Value, encode};
use crate::topology::{Address, Marks, NodeId, OfNode, counted_as};

use super::Credentials;

/// How the proxy's own connections call themselves in CLIENT LIST, before a colon and the instance's id.
pub(super) const CLIENT_NAME: &str = "redhold:control";

/// The longest reply to a question of ours. What is longer is no answer to it.
const REPLY_MAX: usize = 64 << 20;

/// Why a node did not answer a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Connecting was refused or reset: no process listens. Nothing was sent.
    Down(String),
    /// The address cannot be reached or resolved: no word about the process. Nothing was sent.
    Unreachable(String),
    /// The deadline passed; what was sent may have been executed.
    Silent,
    /// The connection was lost after something was sent, which may have been executed.
    Lost(String),
    /// The node refused the proxy's credentials, in Redis's words, or no TLS session came about. Nothing else was executed.
    Denied(String),
    /// What came was not RESP, or longer than any answer.
    Garbage(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Down(text) | Self::Unreachable(text) | Self::Denied(text) => f.write_str(text),
            Self::Silent => f.write_str("no answer in time"),
            Self::Lost(text) => write!(f, "connection lost: {text}"),
            Self::Garbage(text) => write!(f, "answers no RESP: {text}"),
        }
    }
}

/// Whom to dial and as whom.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    /// The node, for its marks.
    pub(super) node: NodeId,
    /// Where it is reached.
    pub(super) address: Address,
    /// The proxy's own.
    pub(super) credentials: Credentials,
    /// What the connection calls itself in CLIENT LIST.
    pub(super) name: Arc<str>,
    /// Of the socket.
    pub(super) options: SocketOptions,
    /// How it is spoken to over TLS, if it is.
    pub(super) tls: Option<Arc<TlsClient>>,
    /// Where bytes that came are noted.
    pub(super) marks: Arc<Marks>,
}

/// A connection. After any fault it must be dropped: replies may be owed.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    inbound: BytesMut,
    outbound: BytesMut,
    /// Something has come.
    heard: bool,
    /// Replies to the greeting that are still to come; the first is that of AUTH when `authenticates`.
    greetings: usize,
    authenticates: bool,
    /// What was asked and not yet answered, as the node counts it.
    asked: VecDeque<String>,
    node: NodeId,
    marks: Arc<Marks>,
}

impl OfNode for Dial {
    fn node(&self) -> NodeId {
        self.node
    }
}

impl Dial {
    /// Connects. The greeting (AUTH, name, NO-EVICT) travels with the first request, so that it costs no round trip.
    pub(super) async fn open(&self, deadline: Instant) -> Result<Link, Fault> {
        let wait = deadline.saturating_duration_since(Instant::now());
        let stream =
            net::connect(&self.address.host, self.address.port, wait, &self.options, self.tls.as_deref())
                .await
                .map_err(|error| unconnected(&error))?;
        let mut link = Link {
            stream,
            inbound: BytesMut::with_capacity(8 << 10),
            outbound: BytesMut::new(),
            heard: false,
            greetings: 0,
            authenticates: false,
            asked: VecDeque::new(),
            node: self.node,
            marks: self.marks.clone(),
        };
        link.greet(&self.credentials, &self.name);
        Ok(link)
    }

    /// Connects and asks, on a connection closed afterwards.
    pub(super) async fn ask(&self, requests: &[&[&str]], deadline: Instant) -> Result<Vec<Value>, Fault> {
        self.open(deadline).await?.call(requests, deadline).await
    }
}

impl Link {
    fn greet(&mut self, credentials: &Credentials, name: &str) {
        let (user, password) = (credentials.username.as_str(), credentials.password.as_str());
        if !password.is_empty() || !user.is_empty() {
            self.authenticates = true;
            if user.is_empty() {
                self.push(&["AUTH", password]);
            } else {
                self.push(&["AUTH", user, password]);
            }
        }
        self.push(&["CLIENT", "SETNAME", name]);
        self.push(&["CLIENT", "NO-EVICT", "ON"]);
        self.greetings = 2 + usize::from(self.authenticates);
    }

    fn push(&mut self, request: &[&str]) {
        let words: Vec<&[u8]> = request.iter().map(|word| word.as_bytes()).collect();
        self.push_words(&words);
    }

    fn push_words(&mut self, words: &[&[u8]]) {
        self.asked.push_back(counted_as(words));
        encode::own_command(&mut self.outbound, words);
    }

    /// Sends all `requests` at once and returns their replies, errors included, in order.
    pub(super) async fn call(
        &mut self,
        requests: &[&[&str]],
        deadline: Instant,
    ) -> Result<Vec<Value>, Fault> {
        self.send(requests, deadline).await?;
        let mut replies = Vec::with_capacity(requests.len());
        while replies.len() < requests.len() {
            replies.push(self.receive(deadline).await?);
        }
        Ok(replies)
    }

    /// As [`Self::call`], with requests of any bytes.
    pub(super) async fn say(
        &mut self,
        requests: &[Vec<&[u8]>],
        deadline: Instant,
    ) -> Result<Vec<Value>, Fault> {
        requests.iter().for_each(|words| self.push_words(words));
        self.flush(deadline).await?;
        let mut replies = Vec::with_capacity(requests.len());
        while replies.len() < requests.len() {
            replies.push(self.receive(deadline).await?);
        }
        Ok(replies)
    }

    /// Sends without waiting for replies.
    pub(super) async fn send(&mut self, requests: &[&[&str]], deadline: Instant) -> Result<(), Fault> {
        for request in requests {
            self.push(request);
        }
        self.flush(deadline).await
    }

    async fn flush(&mut self, deadline: Instant) -> Result<(), Fault> {
        let sent = timeout_at(deadline.into(), async {
            self.stream.write_all_buf(&mut self.outbound).await?;
            self.stream.flush().await
        })
        .await;
        sent.map_err(|_| Fault::Silent)?.map_err(|error| self.broken(&error))
    }

    /// Waits for one reply that is not a part of the greeting.
    pub(super) async fn receive(&mut self, deadline: Instant) -> Result<Value, Fault> {
        timeout_at(deadline.into(), self.next_reply()).await.map_err(|_| Fault::Silent)?
    }

    /// Has the greeting answered before anything else is asked.
    pub(super) async fn greeted(&mut self, deadline: Instant) -> Result<(), Fault> {
        self.flush(deadline).await?;
        timeout_at(deadline.into(), self.end_greeting()).await.map_err(|_| Fault::Silent)?
    }

    async fn next_reply(&mut self) -> Result<Value, Fault> {
        self.end_greeting().await?;
        self.next_frame().await
    }

    async fn end_greeting(&mut self) -> Result<(), Fault> {
        while self.greetings > 0 {
            let reply = self.next_frame().await?;
            self.greetings -= 1;
            let about_auth = std::mem::take(&mut self.authenticates);
            if let Some(text) = reply.as_error().filter(|text| turns_away(text, about_auth)) {
                return Err(Fault::Denied(text.to_owned()));
            }
        }
        Ok(())
    }

    /// Counts what the node has executed. A message of a subscription may come between; what it makes wrong is when, not how much.
    fn note_own(&mut self, reply: &Value) {
        if let Some(name) = self.asked.pop_front() {
            self.marks.of(self.node).own_calls().note(&name, reply.as_error().map(str::as_bytes));
        }
    }

    async fn next_frame(&mut self) -> Result<Value, Fault> {
        loop {
            match resp::decode(&self.inbound) {
                Ok(Some((value, taken))) => {
                    self.inbound.advance(taken);
                    self.note_own(&value);
                    return Ok(value);
                }
                Ok(None) if self.inbound.len() > REPLY_MAX => {
                    return Err(Fault::Garbage(format!("a reply longer than {REPLY_MAX} bytes")));
                }
                Ok(None) => {}
                Err(fault) => return Err(Fault::Garbage(fault.to_string())),
            }
            self.fill().await?;
        }
    }

    /// Waits for more bytes.
    async fn fill(&mut self) -> Result<(), Fault> {
        match self.stream.read_buf(&mut self.inbound).await {
            Ok(0) => Err(Fault::Lost("closed by the node".to_owned())),
            Ok(_) => {
                self.heard = true;
                self.marks.heard(self.node, Instant::now());
                Ok(())
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// A node that wants a certificate says so, or just closes, only when the session is there. Nothing was executed then.
    fn broken(&self, error: &io::Error) -> Fault {
        match self.stream.is_encrypted() && !self.heard {
            true if net::is_refusal(error) => Fault::Denied(format!("no TLS session: {error}")),
            true => Fault::Unreachable(format!("no TLS session: {error}")),
            false => Fault::Lost(error.to_string()),
        }
    }

    /// Waits for bytes that are no replies and moves those that came, at most `most`, to the end of `into`.
    pub(super) async fn take(
        &mut self,
        into: &mut BytesMut,
        most: usize,
        deadline: Instant,
    ) -> Result<usize, Fault> {
        if self.inbound.is_empty() {
            timeout_at(deadline.into(), self.fill()).await.map_err(|_| Fault::Silent)??;
        }
        let taken = most.min(self.inbound.len());
        into.extend_from_slice(&self.inbound[..taken]);
        self.inbound.advance(taken);
        Ok(taken)
    }

    /// Waits, on a connection that is owed nothing, until the node closes it (or says what nobody asked).
    pub(super) async fn closed(&self) {
        loop {
            let socket = self.stream.socket();
            if socket.readable().await.is_err() {
                return;
            }
            match socket.try_read(&mut [0; 1]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Whether an error in reply to the greeting ends the conversation. A password too many does not: the node takes
/// everybody. Nor does a refused name or NO-EVICT.
fn turns_away(text: &str, about_auth: bool) -> bool {
    let full = text.starts_with("ERR max number of clients");
    full || (about_auth && !text.contains("without any password configured"))
}

fn unconnected(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Fault::Down(error.to_string()),
        io::ErrorKind::TimedOut => Fault::Silent,
        io::ErrorKind::InvalidData => Fault::Denied(format!("no TLS session: {error}")),
        _ => Fault::Unreachable(error.to_string()),
    }
}

/// The time that a question may take on a connection of its own, from now.
pub(super) fn within(wait: Duration) -> Instant {
    Instant::now() + wait
}

#[cfg(test)]
mod tests;
