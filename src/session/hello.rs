//! What HELLO and SELECT ask for, and what HELLO is answered.

use super::frame::{bulk, elements};
use super::misuse::Misuse;
use super::names::check_name;
use crate::resp::{Fed, Proto, ReplyScanner, encode, parse_integer};
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;
use zeroize::Zeroizing;

/// A user's name and password as HELLO gives them, the latter overwritten when dropped and never printed. The frontend makes
/// a `backend::Login` of it, which this folder can not name.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// The user.
    pub user: Bytes,
    /// The password.
    pub secret: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof({}:***)", String::from_utf8_lossy(&self.user))
    }
}

/// `HELLO [2|3 [AUTH user password] [SETNAME name]]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// `None`: the client only asks who is there.
    pub proto: Option<Proto>,
    /// AUTH
    pub login: Option<Proof>,
    /// SETNAME; an empty name takes the name away.
    pub name: Option<Bytes>,
}

impl Hello {
    /// From HELLO and its arguments. Refuses before anything is done, as Redis does since 7.2 (earlier ones have
    /// then done what stands before the fault).
    pub fn parse<'a>(args: impl Iterator<Item = &'a [u8]>) -> Result<Self, Misuse> {
        let mut hello = Self::default();
        let mut args = args.skip(1);
        let Some(version) = args.next() else { return Ok(hello) };
        hello.proto = match parse_integer(version) {
            Some(2) => Some(Proto::Resp2),
            Some(3) => Some(Proto::Resp3),
            Some(_) => return Err(Misuse::new("NOPROTO unsupported protocol version")),
            None => return Err(Misuse::new("ERR Protocol version is not an integer or out of range")),
        };
        while let Some(option) = args.next() {
            if option.eq_ignore_ascii_case(b"AUTH") {
                let (Some(user), Some(secret)) = (args.next(), args.next()) else {
                    return Err(syntax(option));
                };
                let secret = Zeroizing::new(secret.to_vec());
                hello.login = Some(Proof { user: Bytes::copy_from_slice(user), secret });
            } else if option.eq_ignore_ascii_case(b"SETNAME") {
                let name = args.next().ok_or_else(|| syntax(option))?;
                check_name(name)?;
                hello.name = Some(Bytes::copy_from_slice(name));
            } else {
                return Err(syntax(option));
            }
        }
        Ok(hello)
    }

    /// The words of the HELLO that asks for the same, overwritten when dropped.
    #[must_use]
    pub fn words(&self) -> Zeroizing<Vec<Vec<u8>>> {
        Zeroizing::new(self.slices().into_iter().map(<[u8]>::to_vec).collect())
    }

    /// Appends that HELLO.
    pub fn write(&self, out: &mut BytesMut) {
        encode::command(out, &self.slices());
    }

    fn slices(&self) -> Vec<&[u8]> {
        let mut words: Vec<&[u8]> = vec![b"HELLO"];
        match self.proto {
            Some(Proto::Resp2) => words.push(b"2"),
            Some(Proto::Resp3) => words.push(b"3"),
            None => {}
        }
        if let Some(login) = &self.login {
            words.extend([&b"AUTH"[..], &login.user[..], &login.secret[..]]);
        }
        if let Some(name) = &self.name {
            words.extend([b"SETNAME", &name[..]]);
        }
        words
    }
}

/// A node's whole reply to HELLO with the client's id of ours in it and the role of a primary; everything else, what
/// future versions add included, as the node said it. `None` when it is no such reply: an error, for example.
pub fn rewrite_hello(reply: &[u8], id: u64) -> Option<Bytes> {
    let whole = matches!(ReplyScanner::default().feed(reply), Ok(Fed::Frame { end }) if end == reply.len());
    if !whole || !matches!(reply.first(), Some(b'*' | b'%')) {
        return None;
    }
    let header = reply.iter().position(|&byte| byte == b'\n')? + 1;
    let mut out = BytesMut::with_capacity(reply.len() + 20);
    out.put_slice(&reply[..header]);
    let mut items = elements(reply);
    let mut found = 0;
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        out.put_slice(key);
        match bulk(key) {
            Some(b"id") => encode::integer(&mut out, i64::try_from(id).ok()?),
            Some(b"role") => encode::bulk(&mut out, b"master"),
            _ => {
                out.put_slice(value);
                continue;
            }
        }
        found += 1;
    }
    (found == 2).then(|| out.freeze())
}

fn syntax(option: &[u8]) -> Misuse {
    Misuse::quoting("ERR Syntax error in HELLO option '", option, "'")
}

/// The database that SELECT names; `None`: not one that any server has, so that the server may say it in its words.
pub fn parse_db(arg: &[u8]) -> Option<u32> {
    parse_integer(arg).and_then(|db| i32::try_from(db).ok()).and_then(|db| u32::try_from(db).ok())
}

#[cfg(test)]
mod tests;
