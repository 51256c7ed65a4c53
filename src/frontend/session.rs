//! What a client's connection remembers, and the commands that change it.
//!
//! A pipeline has one identity for life, so a change of user, protocol or database is a change of pipeline: the
//! request itself travels on a connection that already has the identity asked for, and the server's answer is
//! the answer. Only when it is no error does the session become what was asked.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use crate::backend::{Identity, Login};
use crate::resp::{Limits, Proto, RequestScanner, encode};

use super::client::Special;
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;

/// See the module's text.
pub(super) struct Session {
    pub(super) peer: String,
    pub(super) identity: Identity,
    pub(super) name: Vec<u8>,
    pub(super) lib_name: Vec<u8>,
    pub(super) lib_ver: Vec<u8>,
    /// Epoch under which its last write was sent; 0: it wrote nothing.
    pub(super) wrote_in: u64,
    /// The server has answered this identity with something else than `-NOAUTH`.
    admitted: bool,
    pending: Option<Pending>,
}

/// What the one reply that is awaited decides about.
struct Pending {
    /// Who the client is from then on.
    identity: Identity,
    effect: Effect,
}

enum Effect {
    /// The reply is handed on.
    Become,
    /// As `Become`; the reply is HELLO's and speaks of the proxy's connection where it should of the client's.
    Hello { name: Option<Vec<u8>> },
    /// The server admits this client: the proxy's own answer is given instead of the reply.
    Local(Local),
}

/// A change that concerns the session alone.
#[derive(Clone)]
pub(super) enum Local {
    SetName(Vec<u8>),
    SetLibName(Vec<u8>),
    SetLibVer(Vec<u8>),
    /// Nothing changes; this is the answer.
    Say(Bytes),
}

impl Session {
    pub(super) fn new(peer: String, identity: Identity) -> Self {
        Self {
            peer,
            identity,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            wrote_in: 0,
            admitted: false,
            pending: None,
        }
    }

    /// As RESET leaves it.
    fn reset(&mut self) {
        self.identity = Identity::fresh();
        self.name.clear();
        self.admitted = false;
    }
}

impl Connection {
    /// HELLO, AUTH, SELECT, RESET, QUIT and the CLIENT subcommands that speak of the session.
    pub(super) fn session_command(&mut self, dispatched: &Dispatched<'_>) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let request = &dispatched.request;
        let identity = self.session.identity.clone();
        match request.name().to_ascii_lowercase().as_slice() {
            b"quit" => {
                encode::simple(&mut self.client.out.borrow_mut(), "OK");
                self.client.doom("QUIT");
                Step::Taken
            }
            b"reset" => {
                self.session.reset();
                self.identity_changed();
                self.answer(|out| encode::simple(out, "RESET"))
            }
            b"select" => {
                let number = std::str::from_utf8(request.arg(1)).ok().and_then(|text| text.parse().ok());
                let identity = Identity { db: number.unwrap_or(identity.db), ..identity };
                self.ask(dispatched, Pending { identity, effect: Effect::Become })
            }
            b"auth" => {
                let login = match request.len() {
                    2 => login(None, request.arg(1)),
                    _ => login(Some(request.arg(1)), request.arg(2)),
                };
                self.ask(
                    dispatched,
                    Pending { identity: Identity { login, ..identity }, effect: Effect::Become },
                )
            }
            b"hello" => self.hello(dispatched),
            _ => self.client_command(dispatched),
        }
    }

    /// `HELLO [version [AUTH user password] [SETNAME name]]`. What Redis would refuse goes to Redis as it is.
    fn hello(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let request = &dispatched.request;
        let mut identity = self.session.identity.clone();
        match request.arg(1) {
            b"2" => identity.proto = Proto::Resp2,
            b"3" => identity.proto = Proto::Resp3,
            _ => {}
        }
        let mut name = None;
        let mut at = 2;
        while at < request.len() {
            if request.arg(at).eq_ignore_ascii_case(b"auth") && at + 2 < request.len() {
                identity.login = login(Some(request.arg(at + 1)), request.arg(at + 2));
                at += 3;
            } else if request.arg(at).eq_ignore_ascii_case(b"setname") && at + 1 < request.len() {
                name = Some(request.arg(at + 1).to_vec());
                at += 2;
            } else {
                break;
            }
        }
        if at < request.len() {
            // A syntax error: the server refuses it and changes nothing.
            return self.send_shared(dispatched);
        }
        let words = request.args().take(if name.is_some() { at - 2 } else { at });
        let words: Vec<&[u8]> = words.collect();
        let mut bytes = BytesMut::new();
        encode::command(&mut bytes, &words);
        self.ask_with(&bytes, dispatched, Pending { identity, effect: Effect::Hello { name } })
    }

    fn client_command(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let request = &dispatched.request;
        let local = match request.arg(1).to_ascii_lowercase().as_slice() {
            b"setname" => Local::SetName(request.arg(2).to_vec()),
            b"getname" => {
                let mut said = BytesMut::new();
                match self.session.name.as_slice() {
                    [] => encode::null(&mut said, self.session.identity.proto),
                    name => encode::bulk(&mut said, name),
                }
                Local::Say(said.freeze())
            }
            b"setinfo" => match request.arg(2).to_ascii_lowercase().as_slice() {
                b"lib-name" => Local::SetLibName(request.arg(3).to_vec()),
                b"lib-ver" => Local::SetLibVer(request.arg(3).to_vec()),
                _ => return self.send_shared(dispatched),
            },
            _ => return self.send_shared(dispatched),
        };
        if let Local::SetName(text) | Local::SetLibName(text) | Local::SetLibVer(text) = &local
            && text.iter().any(|byte| !(b'!'..=b'~').contains(byte))
        {
            // The server refuses such a name and says why.
            return self.send_shared(dispatched);
        }
        self.admit(dispatched, local)
    }

    /// Carries out what concerns the proxy alone, once the server has shown that it serves this client.
    pub(super) fn admit(&mut self, dispatched: &Dispatched<'_>, local: Local) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        if self.session.admitted || self.session.identity.login.is_some() {
            self.carry_out(local);
            return Step::Taken;
        }
        let mut probe = BytesMut::new();
        encode::command(&mut probe, &[b"CLIENT", b"GETNAME"]);
        let identity = self.session.identity.clone();
        self.ask_with(&probe, dispatched, Pending { identity, effect: Effect::Local(local) })
    }

    fn carry_out(&mut self, local: Local) {
        let session = &mut self.session;
        let mut out = self.client.out.borrow_mut();
        match local {
            Local::Say(said) => return out.extend_from_slice(&said),
            Local::SetName(name) => session.name = name,
            Local::SetLibName(name) => session.lib_name = name,
            Local::SetLibVer(version) => session.lib_ver = version,
        }
        encode::simple(&mut out, "OK");
        drop(out);
        self.register();
    }

    fn ask(&mut self, dispatched: &Dispatched<'_>, pending: Pending) -> Step {
        let mut bytes = BytesMut::new();
        dispatched.request.write_multibulk(&mut bytes);
        self.ask_with(&bytes, dispatched, pending)
    }

    /// Sends `bytes` on a pipeline of the identity asked for and sets its reply apart.
    fn ask_with(&mut self, bytes: &[u8], dispatched: &Dispatched<'_>, pending: Pending) -> Step {
        let mut scanner = RequestScanner::default();
        let limits = Limits { authenticated: true, ..Limits::default() };
        if scanner.scan(bytes, &limits).is_err() {
            return Step::Taken;
        }
        let asked = Dispatched { request: scanner.request(bytes), ..*dispatched };
        let present = std::mem::replace(&mut self.session.identity, pending.identity.clone());
        let primary = self.primary.take();
        let step = self.send_special(&asked, Special::Session);
        self.session.identity = present;
        self.primary = primary;
        if step == Step::Taken && self.client.special.borrow().is_some() {
            self.session.pending = Some(pending);
        }
        step
    }

    /// The awaited reply came.
    pub(super) fn session_replied(&mut self, reply: &[u8]) {
        let Some(Pending { identity, effect }) = self.session.pending.take() else { return };
        let refused = reply.first() == Some(&b'-');
        if refused {
            self.client.out.borrow_mut().extend_from_slice(reply);
            return;
        }
        self.session.admitted = true;
        if identity != self.session.identity {
            self.session.identity = identity;
            self.identity_changed();
        }
        match effect {
            Effect::Become => self.client.out.borrow_mut().extend_from_slice(reply),
            Effect::Hello { name } => {
                if let Some(name) = name {
                    self.session.name = name;
                }
                let rewritten: Option<bytes::Bytes> = None;
                let said = rewritten.as_deref().unwrap_or(reply);
                self.client.out.borrow_mut().extend_from_slice(said);
            }
            Effect::Local(local) => self.carry_out(local),
        }
        self.register();
    }

    fn identity_changed(&mut self) {
        self.primary = None;
        self.limits.authenticated = true;
        self.register();
    }

    /// A node no longer accepts this client's proof: it has to authenticate again.
    pub(super) fn identity_was_refused(&mut self) {
        self.session.identity.login = None;
        self.session.admitted = false;
        self.primary = None;
    }
}

fn login(user: Option<&[u8]>, secret: &[u8]) -> Option<Rc<Login>> {
    Some(Rc::new(Login { user: user.map(<[u8]>::to_vec), secret: Zeroizing::new(secret.to_vec()) }))
}
