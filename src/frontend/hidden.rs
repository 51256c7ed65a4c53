//! INFO counts the clients of the proxy as the client table shows them, not the connections of the node. With
//! `proxy.hide_topology` it and ROLE tell no client where replicas are.

use std::sync::atomic::Ordering;

use bytes::{BufMut, Bytes, BytesMut};

use crate::backend::first_len;
use crate::command::Class;
use crate::error::Failure;
use crate::resp::Request;

use super::client::Special;
use super::client_command::{Asked, Local};
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::worker::Worker;

/// How the line of INFO begins that counts clients.
const CONNECTED: &[u8] = b"connected_clients:";

impl Connection {
    /// Whether the reply would tell what the configuration hides, or counts connections of the proxy.
    pub(super) fn rewrites(&self, class: &Class) -> bool {
        match class.row.spec().name {
            "info" => true,
            "role" => self.worker.settings.hide_topology,
            _ => false,
        }
    }

    /// INFO or ROLE on a shared connection.
    pub(super) fn hidden_command(&mut self, dispatched: &Dispatched<'_>) -> Step {
        self.send_special(dispatched, Special::Hidden(Vec::new()))
    }

    /// INFO or ROLE on a connection of the client's own. In a transaction its reply comes within EXEC's, as the node gives it;
    /// what would tell something hidden is refused there, as a request that every server refuses, so that the transaction is
    /// refused too.
    pub(super) fn hidden_asked(&self, dispatched: &Dispatched<'_>, queueing: bool) -> Option<Asked> {
        if !self.rewrites(&dispatched.class) {
            return None;
        }
        if !queueing {
            return Some(as_it_is(&dispatched.request));
        }
        let command = dispatched.class.row.spec().name.to_ascii_uppercase();
        let refused = Local::Owned(Failure::Hidden { command });
        let hides = self.worker.settings.hide_topology;
        hides.then(|| Asked::new(vec![b"REPLICAOF".to_vec()], Some(refused)))
    }
}

impl Worker {
    /// Appends a reply to INFO or ROLE as clients are told; what is neither is copied.
    pub(super) fn copy_hidden(&self, reply: &[u8], out: &mut BytesMut) {
        let (clients, hides) = (self.shared.clients.load(Ordering::Relaxed), self.settings.hide_topology);
        copy_hidden(reply, clients, hides, out);
    }
}

fn as_it_is(request: &Request<'_>) -> Asked {
    Asked::new(request.args().map(<[u8]>::to_vec).collect(), Some(Local::Hidden(Vec::new())))
}

fn copy_hidden(reply: &[u8], clients: usize, hides: bool, out: &mut BytesMut) {
    let hidden = match reply.first() {
        Some(b'$' | b'=') => info(reply, clients, hides),
        Some(b'*') if hides => role(reply),
        _ => None,
    };
    out.extend_from_slice(hidden.as_deref().unwrap_or(reply));
}

/// A bulk or verbatim string with so many `clients`, and without its lines `slave0:ip=10.0.0.7,port=6379,…` when it `hides`.
fn info(reply: &[u8], clients: usize, hides: bool) -> Option<Bytes> {
    let start = reply.iter().position(|byte| *byte == b'\n')? + 1;
    let text = reply.get(start..)?.strip_suffix(b"\r\n")?;
    let mut kept = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n').filter(|line| !(hides && is_replica(line))) {
        match line.starts_with(CONNECTED) {
            true => kept.extend([CONNECTED, clients.to_string().as_bytes(), b"\r\n"].concat()),
            false => kept.extend(line),
        }
    }
    let mut out = BytesMut::with_capacity(reply.len());
    out.put_slice(format!("{}{}\r\n", char::from(reply[0]), kept.len()).as_bytes());
    out.put_slice(&kept);
    out.put_slice(b"\r\n");
    Some(out.freeze())
}

fn is_replica(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"slave") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest.get(digits) == Some(&b':')
}

/// What a primary answers to ROLE (its name, its offset, its replicas) with no replicas.
fn role(reply: &[u8]) -> Option<Bytes> {
    let name = reply.strip_prefix(b"*3\r\n")?;
    let rest = name.strip_prefix(b"$6\r\nmaster\r\n")?;
    let offset = &rest[..first_len(rest)];
    offset.starts_with(b":").then(|| [b"*3\r\n$6\r\nmaster\r\n", offset, b"*0\r\n"].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(reply: &str) -> String {
        let mut out = BytesMut::new();
        copy_hidden(reply.as_bytes(), 7, true, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn clients_are_counted_as_the_client_table_shows_them() {
        let text =
            "# Clients\r\nconnected_clients:31415\r\nslave0:ip=10.0.0.7,port=1\r\nblocked_clients:0\r\n";
        let told = text.replace("31415", "12");
        let mut out = BytesMut::new();
        copy_hidden(format!("${}\r\n{text}\r\n", text.len()).as_bytes(), 12, false, &mut out);
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
