//! INFO counts the clients of the proxy as the client table shows them, not the connections of the node; it and LATENCY HISTOGRAM
//! leave out what the proxy asked for itself. With `proxy.hide_topology` INFO and ROLE tell no client where replicas are.

use std::sync::atomic::Ordering;

use bytes::{BufMut, BytesMut};

use crate::backend::first_len;
use crate::command::Class;
use crate::error::Failure;
use crate::resp::Request;
use crate::topology::OwnCalls;

use super::client::Special;
use super::client_command::{Asked, Local};
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::own_calls;
use super::worker::Worker;

/// How the line of INFO begins that counts clients.
const CONNECTED: &[u8] = b"connected_clients:";

impl Connection {
    /// Whether the reply would tell what the configuration hides, or of connections and requests of the proxy's own.
    pub(super) fn rewrites(&self, class: &Class) -> bool {
        match class.row.spec().name {
            "info" | "latency|histogram" => true,
            "role" => self.worker.settings.hide_topology,
            _ => false,
        }
    }

    /// Such a request on a shared connection.
    pub(super) fn hidden_command(&mut self, dispatched: &Dispatched<'_>) -> Step {
        self.send_special(dispatched, Special::Hidden(Vec::new()))
    }

    /// Such a request on a connection of the client's own. In a transaction its reply comes within EXEC's, as the node gives it;
    /// what would tell something hidden is refused there, as a request that every server refuses, so that the transaction is
    /// refused too.
    pub(super) fn hidden_asked(&self, dispatched: &Dispatched<'_>, queueing: bool) -> Option<Asked> {
        if !self.rewrites(&dispatched.class) {
            return None;
        }
        if !queueing {
            return Some(as_it_is(&dispatched.request));
        }
        let name = dispatched.class.row.spec().name;
        let refused = Local::Owned(Failure::Hidden { command: name.to_ascii_uppercase() });
        let hides = self.worker.settings.hide_topology && matches!(name, "info" | "role");
        hides.then(|| Asked::new(vec![b"REPLICAOF".to_vec()], Some(refused)))
    }
}

impl Worker {
    /// Appends a reply of the primary to such a request as clients are told; what is none is copied.
    pub(super) fn copy_hidden(&self, reply: &[u8], out: &mut BytesMut) {
        let (clients, hides) = (self.shared.clients.load(Ordering::Relaxed), self.settings.hide_topology);
        match self.current().primary {
            Some(node) => copy_hidden(reply, clients, hides, &mut self.marks.of(node).own_calls(), out),
            None => copy_hidden(reply, clients, hides, &mut OwnCalls::default(), out),
        }
    }
}

fn as_it_is(request: &Request<'_>) -> Asked {
    Asked::new(request.args().map(<[u8]>::to_vec).collect::<Vec<_>>(), Some(Local::Hidden(Vec::new())))
}

fn copy_hidden(reply: &[u8], clients: usize, hides: bool, own: &mut OwnCalls, out: &mut BytesMut) {
    let hidden = match reply.first() {
        Some(b'$' | b'=') => info(reply, clients, hides, own),
        Some(b'*' | b'%') => own_calls::histograms(reply, own).or_else(|| role(reply).filter(|_| hides)),
        _ => None,
    };
    out.extend_from_slice(hidden.as_deref().unwrap_or(reply));
}

/// A bulk or verbatim string with so many `clients`, and without its lines `slave0:ip=10.0.0.7,port=6379,…` when it `hides`.
fn info(reply: &[u8], clients: usize, hides: bool, own: &mut OwnCalls) -> Option<BytesMut> {
    let start = reply.iter().position(|byte| *byte == b'\n')? + 1;
    let text = reply.get(start..)?.strip_suffix(b"\r\n")?;
    let mut kept = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n').filter(|line| !(hides && is_replica(line))) {
        match line.starts_with(CONNECTED) {
            true => kept.extend([CONNECTED, clients.to_string().as_bytes(), b"\r\n"].concat()),
            false => kept.extend_from_slice(&own_calls::statistics(line, own).unwrap_or_default()),
        }
    }
    let mut out = BytesMut::with_capacity(reply.len());
    out.put_slice(format!("{}{}\r\n", char::from(reply[0]), kept.len()).as_bytes());
    out.put_slice(&kept);
    out.put_slice(b"\r\n");
    Some(out)
}

fn is_replica(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"slave") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest.get(digits) == Some(&b':')
}

/// What a primary answers to ROLE (its name, its offset, its replicas) with no replicas.
fn role(reply: &[u8]) -> Option<BytesMut> {
    let name = reply.strip_prefix(b"*3\r\n")?;
    let rest = name.strip_prefix(b"$6\r\nmaster\r\n")?;
    let offset = &rest[..first_len(rest)];
    offset
        .starts_with(b":")
        .then(|| [b"*3\r\n$6\r\nmaster\r\n", offset, b"*0\r\n"].concat().as_slice().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(reply: &str) -> String {
        let mut out = BytesMut::new();
        copy_hidden(reply.as_bytes(), 7, true, &mut OwnCalls::default(), &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn clients_are_counted_as_the_client_table_shows_them() {
        let text =
            "# Clients\r\nconnected_clients:31415\r\nslave0:ip=10.0.0.7,port=1\r\nblocked_clients:0\r\n";
        let told = text.replace("31415", "12");
        let mut out = BytesMut::new();
        copy_hidden(
            format!("${}\r\n{text}\r\n", text.len()).as_bytes(),
            12,
            false,
            &mut OwnCalls::default(),
            &mut out,
        );
        assert_eq!(out, format!("${}\r\n{told}\r\n", told.len()));
    }

    #[test]
    fn lines_of_replicas_are_left_out_and_no_other() {
        let text =
            "role:master\r\nslave0:ip=10.0.0.7,port=1\r\nslave_x:1\r\nslave11:ip=::1,port=2\r\nslaves:2\r\n";
        let kept = "role:master\r\nslave_x:1\r\nslaves:2\r\n";
        assert_eq!(
            hidden(&format!("${}\r\n{text}\r\n", text.len())),
            format!("${}\r\n{kept}\r\n", kept.len())
        );
        let (text, kept) = (format!("txt:{text}"), format!("txt:{kept}"));
        assert_eq!(
            hidden(&format!("={}\r\n{text}\r\n", text.len())),
            format!("={}\r\n{kept}\r\n", kept.len())
        );
    }

    #[test]
    fn a_primarys_role_names_no_replica() {
        let replicas = "*2\r\n*3\r\n$8\r\n10.0.0.7\r\n$4\r\n6379\r\n$1\r\n9\r\n*3\r\n$3\r\n::1\r\n$1\r\n1\r\n$1\r\n9\r\n";
        let role = "*3\r\n$6\r\nmaster\r\n:12\r\n";
        assert_eq!(hidden(&format!("{role}{replicas}")), format!("{role}*0\r\n"));
    }

    #[test]
    fn anything_else_is_copied() {
        for reply in
            ["-NOPERM no\r\n", "+OK\r\n", "*0\r\n", "*1\r\n$1\r\nx\r\n", "$-1\r\n", "*3\r\n$6\r\nmaster\r\n"]
        {
            assert_eq!(hidden(reply), reply);
        }
    }
}
