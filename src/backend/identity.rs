//! Who a connection is, for life: user, protocol, database.

use std::fmt;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use crate::resp::{Proto, encode};

/// A user's proof, kept to open further connections of that user. What HELLO says is `session::Proof`: neither folder may
/// name the other, and only here the user may be unnamed.
#[derive(PartialEq, Eq)]
pub struct Login {
    /// `None`: the one-argument form of AUTH.
    pub user: Option<Vec<u8>>,
    /// The password.
    pub secret: Zeroizing<Vec<u8>>,
    /// What is done when a node does not know the user; `None`: nothing.
    pub introduction: Option<Rc<Introduction>>,
}

/// What gives a node a user that it does not know.
#[derive(PartialEq, Eq)]
pub struct Introduction {
    /// Who says it: the proxy's own user.
    pub by: Option<Rc<Login>>,
    /// ACL SETUSER in multibulk form; a secret.
    pub request: Bytes,
}

/// A user whom a node can be given.
pub(crate) struct Newcomer<'a> {
    pub(crate) user: &'a [u8],
    pub(crate) introduction: &'a Introduction,
}

impl fmt::Debug for Introduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Introduction(***)")
    }
}

impl Login {
    /// `None`: nothing is done when a node does not know the user.
    pub(crate) fn newcomer(&self) -> Option<Newcomer<'_>> {
        let (user, introduction) = (self.user.as_deref()?, self.introduction.as_deref()?);
        Some(Newcomer { user, introduction })
    }

    /// Appends AUTH.
    pub(crate) fn auth(&self, out: &mut BytesMut) {
        match &self.user {
            Some(user) => encode::own_command(out, &[b"AUTH", user, &self.secret]),
            None => encode::own_command(out, &[b"AUTH", &self.secret]),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_deref().unwrap_or(b"default");
        write!(f, "Login({}:***)", String::from_utf8_lossy(user))
    }
}

/// What a connection authenticates, negotiates and selects when it opens, and never again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `None`: nobody; Redis's default user, or `-NOAUTH`.
    pub login: Option<Rc<Login>>,
    /// Protocol of its replies.
    pub proto: Proto,
    /// Selected database.
    pub db: u32,
}

impl Identity {
    /// A connection as it is when a client has just connected.
    #[must_use]
    pub fn fresh() -> Self {
        Self { login: None, proto: Proto::Resp2, db: 0 }
    }

    /// The requests that bring a new connection here, and what a refusal of each means.
    pub(crate) fn greeting(&self) -> (BytesMut, Vec<Refusal>) {
        let mut out = BytesMut::new();
        let mut required = Vec::with_capacity(6);
        if self.login.is_some() && self.db != 0 {
            self.select(&mut out);
            required.push(Refusal::OfStranger);
        }
        if let Some(login) = &self.login {
            login.auth(&mut out);
            required.push(Refusal::Ends);
        }
        if self.proto == Proto::Resp3 {
            encode::own_command(&mut out, &[b"HELLO", b"3"]);
            required.push(Refusal::Ends);
        }
        if self.db != 0 {
            self.select(&mut out);
            required.push(Refusal::OfDatabase);
        }
        // The proxy's connections carry many clients' work: the server must not evict them for one client's
        // memory. Unknown before 7.0 and forbidden to some users: a refusal changes nothing.
        encode::own_command(&mut out, &[b"CLIENT", b"NO-EVICT", b"ON"]);
        required.push(Refusal::Nothing);
        encode::own_command(&mut out, &[b"CLIENT", b"ID"]);
        required.push(Refusal::OfId);
        (out, required)
    }

    fn select(&self, out: &mut BytesMut) {
        encode::own_command(out, &[b"SELECT", self.db.to_string().as_bytes()]);
    }
}

/// What it means for a connection that the node refuses a request of its greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The identity cannot be had.
    Ends,
    /// Nothing.
    Nothing,
    /// Of CLIENT ID: the connection has no id that could be told.
    OfId,
    /// Of SELECT before AUTH: nothing yet.
    OfStranger,
    /// Of SELECT: as `Ends`, unless this user alone may not select and somebody else did before; so a client that selected
    /// first and became this user afterwards stays in its database.
    OfDatabase,
}
