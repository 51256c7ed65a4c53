//! What a client's connection remembers, and the commands that change it.
//!
//! A pipeline has one identity for life, so a change of user, protocol or database is a change of pipeline: the
//! request itself travels on a connection that already has the identity asked for, and the server's answer is
//! the answer. Only when it is no error does the session become what was asked.

use bytes::BytesMut;

use crate::backend::Identity;
use crate::error::Failure;
use crate::resp::{Proto, RequestScanner, encode};
use crate::session::{self, Hello, Names};
use crate::topology::NodeId;

use super::admission::Admission;
use super::client::Special;
use super::client_command::{Asked, Local};
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::registry::Said;
use super::users::{AUTH_WORDS, BACKEND_REFUSES, NOAUTH_HELLO, Place, WRONGPASS, proof};

/// See the module's text.
pub(super) struct Session {
    pub(super) identity: Identity,
    /// Which of the proxy's own users it is, by place; `None`: none, or there are none.
    pub(super) user: Option<Place>,
    /// Name and library. User, dialect and database are those of `identity`.
    pub(super) said: Names,
    /// Epoch under which its last write was sent; 0: it wrote nothing.
    pub(super) wrote_in: u64,
    /// The replica that it last read from, and its generation then.
    pub(super) read_from: Option<(NodeId, u64)>,
    /// The server has answered this identity with something else than `-NOAUTH`.
    pub(super) admitted: bool,
    pub(super) pending: Option<Box<Pending>>,
}

/// What the one reply that is awaited decides about.
pub(super) struct Pending {
    /// Who the client is from then on.
    pub(super) identity: Identity,
    pub(super) effect: Effect,
    /// The request as the client wrote it; empty: the question was the proxy's own.
    pub(super) asked: bytes::Bytes,
}

impl Pending {
    /// Of a request that is written down when it is sent.
    pub(super) fn new(identity: Identity, effect: Effect) -> Self {
        Self { identity, effect, asked: bytes::Bytes::new() }
    }
}

/// What is done when the awaited reply has come.
pub(super) enum Effect {
    /// The reply is handed on.
    Become,
    /// As `Become`; the reply is HELLO's and speaks of the proxy's connection where it should of the client's.
    Hello { name: Option<bytes::Bytes> },
    /// Unless it is an error, the proxy does this in place of the server.
    Local(Local),
    /// The question was the proxy's own: see `admission.rs`.
    Admission(Admission),
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            identity: Identity::fresh(),
            user: None,
            said: Names::default(),
            wrote_in: 0,
            read_from: None,
            admitted: false,
            pending: None,
        }
    }

    /// As RESET leaves it.
    fn reset(&mut self) {
        self.identity = Identity::fresh();
        self.said.reset();
        self.admitted = false;
    }

    /// What the client table shows of it.
    pub(super) fn shown(&self) -> Said {
        let login = self.identity.login.as_ref();
        Said {
            name: self.said.name().to_vec(),
            lib_name: self.said.lib_name().to_vec(),
            lib_ver: self.said.lib_ver().to_vec(),
            user: login.and_then(|login| login.user.clone()),
            db: self.identity.db,
            proto: self.identity.proto,
        }
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
                self.ask(dispatched, Pending::new(identity, Effect::Become))
            }
            b"auth" => self.auth(dispatched, identity),
            b"hello" => self.hello(dispatched),
            _ => self.client_command(dispatched),
        }
    }

    fn auth(&mut self, dispatched: &Dispatched<'_>, identity: Identity) -> Step {
        let request = &dispatched.request;
        let login = match request.len() {
            2 => self.prove(None, request.arg(1)),
            3 => self.prove(Some(request.arg(1)), request.arg(2)),
            // Refused for its form, whoever is meant.
            _ if self.worker.users.any() => {
                return self.answer(|out| encode::error(out, AUTH_WORDS));
            }
            _ => return self.ask(dispatched, Pending::new(identity, Effect::Become)),
        };
        let Some(login) = login else { return self.refuse_proof() };
        let pending = Pending::new(Identity { login: Some(login), ..identity }, Effect::Become);
        match self.proof_asked(request) {
            Some(asked) => self.ask_with(&asked.bytes(), dispatched, pending),
            None => self.ask(dispatched, pending),
        }
    }

    fn refuse_proof(&mut self) -> Step {
        tracing::debug!(client = self.client.id, "no user of [[users]] with this password");
        self.answer_failure(&Failure::Unauthorised { words: WRONGPASS })
    }

    /// What Redis would refuse is refused here: earlier versions have then done what stands before the fault, which
    /// must not happen to a connection that others share.
    fn hello(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let mut hello = match Hello::parse(dispatched.request.args()) {
            Ok(hello) => hello,
            Err(refusal) => return self.answer(|out| refusal.write(out)),
        };
        let mut identity = self.session.identity.clone();
        identity.proto = hello.proto.unwrap_or(identity.proto);
        if let Some(given) = &hello.login {
            let Some(login) = self.prove(Some(&given.user), &given.secret) else {
                return self.refuse_proof();
            };
            if self.worker.users.any() {
                hello.login = Some(proof(&login));
            }
            identity.login = Some(login);
        } else if self.judged && self.session.user.is_none() {
            return self.answer_failure(&Failure::Unauthorised { words: NOAUTH_HELLO });
        }
        let name = hello.name.take();
        let mut bytes = BytesMut::new();
        hello.write(&mut bytes);
        self.ask_with(&bytes, dispatched, Pending::new(identity, Effect::Hello { name }))
    }

    /// A subcommand of CLIENT that the proxy answers, once the server has shown that it would.
    pub(super) fn client_command(&mut self, dispatched: &Dispatched<'_>) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let asked = self.client_asked(&dispatched.request);
        self.ask_locally(dispatched, asked)
    }

    /// Carries out what concerns the proxy alone, once the server has shown that it serves this client.
    pub(super) fn admit(&mut self, dispatched: &Dispatched<'_>, local: Local) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        if self.session.admitted || self.session.identity.login.is_some() {
            self.carry_out(local, b"");
            return Step::Taken;
        }
        let probe = vec![b"CLIENt".to_vec(), b"GETNAME".to_vec()];
        self.ask_locally(dispatched, Asked::new(probe, Some(local)))
    }

    /// Asks the server, and does what the proxy does in its place unless it refuses.
    pub(super) fn ask_locally(&mut self, dispatched: &Dispatched<'_>, asked: Asked) -> Step {
        let bytes = asked.bytes();
        let effect = asked.local.map_or(Effect::Become, Effect::Local);
        let identity = self.session.identity.clone();
        self.ask_with(&bytes, dispatched, Pending::new(identity, effect))
    }

    fn ask(&mut self, dispatched: &Dispatched<'_>, pending: Pending) -> Step {
        self.ask_with(&dispatched.request.to_multibulk(), dispatched, pending)
    }

    /// Sends `bytes` on a pipeline of the identity asked for and sets its reply apart.
    fn ask_with(&mut self, bytes: &[u8], dispatched: &Dispatched<'_>, pending: Pending) -> Step {
        let Some(scanner) = RequestScanner::of_kept(bytes) else {
            return self.answer_failure(&Failure::Unreadable);
        };
        let asked = Dispatched { request: scanner.request(bytes), ..*dispatched };
        let original = dispatched.request.to_multibulk();
        let present = std::mem::replace(&mut self.session.identity, pending.identity.clone());
        let primary = self.primary.take();
        let step = self.send_special(&asked, Special::Session(original.clone()));
        self.session.identity = present;
        self.primary = primary;
        if step == Step::Taken {
            self.await_reply(pending, original);
        }
        step
    }

    /// A session command was taken: its one reply decides about `pending`, on whichever connection it comes. False when
    /// nothing was sent.
    pub(super) fn await_reply(&mut self, mut pending: Pending, original: bytes::Bytes) -> bool {
        pending.asked = original.clone();
        if self.client.special.borrow().is_none() {
            // No pipeline was free, so that it went on a connection of its own.
            let Some(sent) = self.pinned.as_mut().and_then(|lane| lane.sent.back_mut()) else { return false };
            sent.request = original;
            sent.local = Some(Box::new(Local::Session));
        }
        self.session.pending = Some(Box::new(pending));
        true
    }

    /// The awaited reply came.
    pub(super) fn session_replied(&mut self, reply: &[u8]) {
        let Some(pending) = self.session.pending.take() else { return };
        let Pending { identity, effect, asked } = *pending;
        if let Effect::Admission(admission) = effect {
            return self.admission_replied(admission, reply);
        }
        let refused = reply.first() == Some(&b'-');
        if refused && self.worker.users.any() && reply.starts_with(b"-WRONGPASS ") {
            // The password was right.
            let user = self.user_after(&asked).map(|user| self.worker.users.name(user).to_owned());
            tracing::warn!(?user, "a node refuses who this user is to be there: see backend_password_file");
            return encode::error(&mut self.client.out.borrow_mut(), BACKEND_REFUSES);
        }
        if refused {
            let scanner = RequestScanner::of_kept(&asked);
            let words = scanner
                .and_then(|scanner| session::in_the_clients_words(reply, scanner.request(&asked).args()));
            self.client.out.borrow_mut().extend_from_slice(words.as_deref().unwrap_or(reply));
            return;
        }
        self.admitted();
        let user = self.user_after(&asked);
        if identity != self.session.identity || user != self.session.user {
            (self.session.identity, self.session.user) = (identity, user);
            self.identity_changed();
        }
        match effect {
            Effect::Become => self.client.out.borrow_mut().extend_from_slice(reply),
            Effect::Hello { name } => {
                if let Some(name) = name {
                    // Judged when the request was read.
                    let _ = self.session.said.set_name(&name);
                    self.register();
                }
                let rewritten = session::rewrite_hello(reply, self.client.id);
                self.client.out.borrow_mut().extend_from_slice(rewritten.as_deref().unwrap_or(reply));
            }
            Effect::Local(local) => self.carry_out(local, reply),
            Effect::Admission(_) => {}
        }
    }

    /// Tells the client table what it may show of this client.
    pub(super) fn register(&self) {
        self.worker.shared.registry.says(self.client.id, self.session.shown());
    }

    pub(super) fn identity_changed(&mut self) {
        if self.session.identity.proto == Proto::Resp2 {
            // There is no form in which it could be told.
            self.subscribe_notices(None);
        }
        if self.session.identity.login.is_none() {
            self.session.user = None;
        }
        self.judged = self.worker.users.judges(self.session.user);
        (self.primary, self.scripts) = (None, None);
        self.authenticated = self.session.admitted || self.session.identity.login.is_some();
        self.register();
    }

    /// The server has accepted AUTH or HELLO on a connection of the client's own: from now on this is who it is, on every
    /// connection to come.
    pub(super) fn proved_on_lane(&mut self, request: &[u8]) {
        self.session.user = self.user_after(request);
        if self.worker.users.any() && self.session.user.is_none() {
            return;
        }
        let Some(scanner) = RequestScanner::of_kept(request) else { return };
        let request = scanner.request(request);
        let mut identity = self.session.identity.clone();
        if request.name().eq_ignore_ascii_case(b"auth") {
            let user = (request.len() > 2).then(|| request.arg(1));
            identity.login = self.prove(user, request.arg(request.len() - 1));
        } else if let Ok(hello) = Hello::parse(request.args()) {
            identity.proto = hello.proto.unwrap_or(identity.proto);
            if let Some(given) = &hello.login {
                identity.login = self.prove(Some(&given.user), &given.secret);
            }
            if let Some(name) = hello.name {
                // The server has judged it.
                let _ = self.session.said.set_name(&name);
            }
        }
        self.session.admitted = true;
        self.session.identity = identity;
        self.identity_changed();
    }

    /// A node no longer accepts this client's proof: it has to authenticate again.
    pub(super) fn identity_was_refused(&mut self) {
        self.session.identity.login = None;
        self.session.admitted = false;
        self.identity_changed();
    }
}
