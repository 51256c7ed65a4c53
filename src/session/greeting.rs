//! What a client has said about itself with HELLO, AUTH, SELECT and CLIENT SETNAME/SETINFO, and how a connection to
//! a node is brought to the same state.

mod hello;

use super::refusal::Refusal;
use crate::resp::{Proto, encode, parse_integer};
use bytes::{Bytes, BytesMut};
use std::fmt;
use zeroize::Zeroizing;

pub use hello::{Hello, rewrite_hello};

/// A password. Overwritten when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Keeps a copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// For the wire only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who a client says it is. Only the server can tell whether it is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// `None`: `AUTH <password>`, the default user, which Redis refuses when that user has no password.
    pub user: Option<Bytes>,
    /// The password.
    pub secret: Secret,
}

impl Login {
    /// From AUTH and its arguments.
    pub fn parse<'a>(args: impl Iterator<Item = &'a [u8]>) -> Result<Self, Refusal> {
        let args: Vec<_> = args.take(4).collect();
        match args[..] {
            [_, secret] => Ok(Self { user: None, secret: Secret::new(secret) }),
            [_, user, secret] => Ok(Self::named(user, secret)),
            [_, _, _, ..] => Err(Refusal::syntax()),
            _ => Err(Refusal::arity("auth")),
        }
    }

    /// As after `AUTH user secret`.
    pub fn named(user: &[u8], secret: &[u8]) -> Self {
        Self { user: Some(Bytes::copy_from_slice(user)), secret: Secret::new(secret) }
    }

    /// The user's name.
    pub fn user_name(&self) -> &[u8] {
        self.user.as_deref().unwrap_or(b"default")
    }

    /// Appends the AUTH that says the same.
    pub fn write(&self, out: &mut BytesMut) {
        match &self.user {
            Some(user) => encode::command(out, &[b"AUTH", user, self.secret.expose()]),
            None => encode::command(out, &[b"AUTH", self.secret.expose()]),
        }
    }
}

/// The state of a client's connection that the proxy keeps and can give to another connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// The dialect of replies.
    pub proto: Proto,
    /// The database selected.
    pub db: u32,
    /// As whom it has authenticated; `None`: the default user, as every new connection.
    pub login: Option<Login>,
    name: Bytes,
    lib_name: Bytes,
    lib_ver: Bytes,
}

/// One request of a replay and what its reply means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// AUTH. When it is refused, the client is unauthenticated again.
    Auth,
    /// HELLO 3.
    Hello,
    /// SELECT.
    Select,
    /// CLIENT SETNAME.
    SetName,
    /// CLIENT SETINFO, unknown before Redis 7.2.
    SetInfo,
}

impl Replayed {
    /// When it is refused, the connection is of no use to this client. Names serve people only.
    pub fn is_essential(self) -> bool {
        match self {
            Self::Auth | Self::Hello | Self::Select => true,
            Self::SetName | Self::SetInfo => false,
        }
    }
}

impl Greeting {
    /// As CLIENT SETNAME does; an empty name takes the name away.
    pub fn set_name(&mut self, name: &[u8]) -> Result<(), Refusal> {
        check_name(name)?;
        self.name = Bytes::copy_from_slice(name);
        Ok(())
    }

    /// Empty when there is none.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The reply to CLIENT GETNAME.
    pub fn write_name(&self, out: &mut BytesMut) {
        if self.name.is_empty() {
            encode::null(out, self.proto);
        } else {
            encode::bulk(out, &self.name);
        }
    }

    /// As CLIENT SETINFO does since Redis 7.2, for servers that do not know it as well.
    pub fn set_info(&mut self, option: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let field = if option.eq_ignore_ascii_case(b"lib-name") {
            &mut self.lib_name
        } else if option.eq_ignore_ascii_case(b"lib-ver") {
            &mut self.lib_ver
        } else {
            return Err(Refusal::quoting("ERR Unrecognized option '", option, "'"));
        };
        if !is_plain(value) {
            return Err(Refusal::quoting(
                "ERR ",
                option,
                " cannot contain spaces, newlines or special characters.",
            ));
        }
        *field = Bytes::copy_from_slice(value);
        Ok(())
    }

    /// The client's library, empty when it did not say.
    pub fn lib_name(&self) -> &[u8] {
        &self.lib_name
    }

    /// The library's version, empty when it did not say.
    pub fn lib_ver(&self) -> &[u8] {
        &self.lib_ver
    }

    /// Takes over what a HELLO has asked for, once the server has agreed.
    pub fn greet(&mut self, hello: Hello) {
        self.proto = hello.proto.unwrap_or(self.proto);
        if hello.login.is_some() {
            self.login = hello.login;
        }
        if let Some(name) = hello.name {
            self.name = name;
        }
    }

    /// As RESET does: the library is still the same one.
    pub fn reset(&mut self) {
        *self = Self {
            lib_name: std::mem::take(&mut self.lib_name),
            lib_ver: std::mem::take(&mut self.lib_ver),
            ..Self::default()
        };
    }

    /// Appends the requests that bring a fresh connection to this state. As many replies come back, in this order.
    pub fn replay(&self, out: &mut BytesMut) -> Vec<Replayed> {
        let mut requests = Vec::new();
        if let Some(login) = &self.login {
            login.write(out);
            requests.push(Replayed::Auth);
        }
        if self.proto == Proto::Resp3 {
            encode::command(out, &[b"HELLO", b"3"]);
            requests.push(Replayed::Hello);
        }
        if self.db != 0 {
            encode::command(out, &[b"SELECT", self.db.to_string().as_bytes()]);
            requests.push(Replayed::Select);
        }
        self.replay_names(out, &mut requests);
        requests
    }

    /// As [`Greeting::replay`] for a connection that already has this user, dialect and database.
    pub fn replay_names(&self, out: &mut BytesMut, requests: &mut Vec<Replayed>) {
        if !self.name.is_empty() {
            encode::command(out, &[b"CLIENT", b"SETNAME", &self.name]);
            requests.push(Replayed::SetName);
        }
        for (option, value) in [(&b"lib-name"[..], &self.lib_name), (b"lib-ver", &self.lib_ver)] {
            if !value.is_empty() {
                encode::command(out, &[b"CLIENT", b"SETINFO", option, value]);
                requests.push(Replayed::SetInfo);
            }
        }
    }
}

/// The database that SELECT names; `None`: not one that any server has, so that the server may say it in its words.
pub fn parse_db(arg: &[u8]) -> Option<u32> {
    parse_integer(arg).and_then(|db| i32::try_from(db).ok()).and_then(|db| u32::try_from(db).ok())
}

fn check_name(name: &[u8]) -> Result<(), Refusal> {
    if is_plain(name) {
        Ok(())
    } else {
        Err(Refusal::new("ERR Client names cannot contain spaces, newlines or special characters."))
    }
}

/// Nothing in it breaks the format of CLIENT LIST.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

#[cfg(test)]
mod tests;
