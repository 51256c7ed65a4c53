//! `proxy.hide_topology`: INFO and ROLE tell no client where replicas are.

use bytes::{BufMut, Bytes, BytesMut};

use crate::backend::first_len;
use crate::command::Class;
use crate::error::Failure;
use crate::resp::Request;

use super::client::Special;
use super::client_command::{Asked, Local};
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;

impl Connection {
    /// Whether the reply would tell what the configuration hides.
    pub(super) fn hides(&self, class: &Class) -> bool {
        self.worker.settings.hide_topology && matches!(class.row.spec().name, "info" | "role")
    }

    /// INFO or ROLE on a shared connection.
    pub(super) fn hidden_command(&mut self, dispatched: &Dispatched<'_>) -> Step {
        self.send_special(dispatched, Special::Hidden(Vec::new()))
    }

    /// INFO or ROLE on a connection of the client's own. In a transaction its reply would come within EXEC's: there it
    /// is refused, as a request that every server refuses, so that the transaction is refused too.
    pub(super) fn hidden_asked(&self, dispatched: &Dispatched<'_>, queueing: bool) -> Option<Asked> {
        if !self.hides(&dispatched.class) {
            return None;
        }
        let command = dispatched.class.row.spec().name.to_ascii_uppercase();
        Some(match queueing {
            true => Asked::new(vec![b"REPLICAOF".to_vec()], Some(Local::Owned(Failure::Hidden { command }))),
            false => as_it_is(&dispatched.request),
        })
    }
}

fn as_it_is(request: &Request<'_>) -> Asked {
    Asked::new(request.args().map(<[u8]>::to_vec).collect(), Some(Local::Hidden(Vec::new())))
}

/// Appends a reply to INFO or ROLE without replicas' addresses; what is neither is copied.
pub(super) fn copy_hidden(reply: &[u8], out: &mut BytesMut) {
    let hidden = match reply.first() {
        Some(b'$' | b'=') => info(reply),
        Some(b'*') => role(reply),
        _ => None,
    };
    out.extend_from_slice(hidden.as_deref().unwrap_or(reply));
}

/// A bulk or verbatim string without its lines `slave0:ip=10.0.0.7,port=6379,…`.
fn info(reply: &[u8]) -> Option<Bytes> {
    let start = reply.iter().position(|byte| *byte == b'\n')? + 1;
    let text = reply.get(start..)?.strip_suffix(b"\r\n")?;
    let kept: Vec<u8> = text
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !is_replica(line))
        .flatten()
        .copied()
        .collect();
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
        copy_hidden(reply.as_bytes(), &mut out);
        String::from_utf8(out.to_vec()).unwrap()
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
