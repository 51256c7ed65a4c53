//! Clients as users of the proxy's own, `[[users]]`: who they are on the nodes, and what is judged of a request before it goes
//! anywhere. Without any, clients are the nodes' users and all is theirs to judge.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use crate::backend::{Introduction, Login};
use crate::command::{Class, Keys, names_its_first_alone, names_its_keys};
use crate::error::Failure;
use crate::resp::{Request, RequestScanner, encode};
use crate::session::{Hello, Proof};
use crate::users::{self, Patterns, User};

use super::Control;
use super::client_command::Asked;
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;

const NOAUTH: &str = "NOAUTH Authentication required.";
const NOAUTH_EXEC: &str = "EXECABORT Transaction discarded because of: NOAUTH Authentication required.";
pub(super) const NOAUTH_HELLO: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
pub(super) const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
pub(super) const NO_KEY: Failure = Failure::Unauthorised { words: "NOPERM No permissions to access a key" };
const UNSEEN_KEY: Failure = Failure::Unauthorised {
    words: "NOPERM No permissions to access a key: Redhold can not tell which ones this command touches",
};
pub(super) const BACKEND_REFUSES: &str = "ERR the node refuses the user or the password that Redhold's configuration has for this one there; not executed";
const UNHEARD: &str =
    "AUTH and HELLO are refused by Redhold behind CLIENT REPLY OFF and SKIP where it has users of its own";
pub(super) const AUTH_WORDS: &str = "ERR wrong number of arguments for 'auth' command";
const QUEUED: &str = "AUTH and HELLO are refused by Redhold from MULTI to EXEC where it has users of its own";

/// Where a user stands in the list; each client remembers one, and [`users::USERS_MAX`] fit.
pub(super) type Place = u8;

/// What anybody may send.
const FOR_ALL: [&str; 4] = ["auth", "hello", "quit", "reset"];

/// What ends a transaction of which every part was judged.
const ENDS: [&str; 2] = ["exec", "discard"];

/// The users, as a worker knows them.
pub(super) struct Users {
    list: Arc<Vec<User>>,
    introductions: Vec<Option<Rc<Introduction>>>,
    keys: Vec<Option<Patterns>>,
}

impl Users {
    /// Of these; `control` knows the proxy's own.
    pub(super) fn new(list: Arc<Vec<User>>, control: &Control) -> Self {
        let own = control.identity().login;
        let introduction = |user: &User| {
            let words = user.acl_setuser()?;
            let mut request = BytesMut::new();
            encode::own_command(&mut request, &words.iter().map(Vec::as_slice).collect::<Vec<_>>());
            Some(Rc::new(Introduction { by: own.clone(), request: request.freeze() }))
        };
        Self {
            introductions: list.iter().map(introduction).collect(),
            keys: list.iter().map(User::key_rules).collect(),
            list,
        }
    }

    /// There are any: nobody else may come in.
    pub(super) fn any(&self) -> bool {
        !self.list.is_empty()
    }

    /// Whether not all that this one sends is for the nodes to judge; `None`: it has not said who it is.
    pub(super) fn judges(&self, user: Option<Place>) -> bool {
        let is_judged =
            |at: Place| self.keys[usize::from(at)].is_some() || self.list[usize::from(at)].rate.is_some();
        self.any() && user.is_none_or(is_judged)
    }

    /// The name of one.
    pub(super) fn name(&self, user: Place) -> &str {
        &self.list[usize::from(user)].name
    }

    /// Whether the nodes are given it.
    pub(super) fn is_given(&self, user: Place) -> bool {
        self.list[usize::from(user)].is_given()
    }

    /// Who a client is that was one in the process before: at the nodes, and of these, if it was one of them there. `None`: nobody is
    /// called so here.
    pub(super) fn taken_up(
        &self,
        user: Option<&[u8]>,
        at_nodes: Option<Vec<u8>>,
        secret: Zeroizing<Vec<u8>>,
    ) -> Option<(Rc<Login>, Option<Place>)> {
        if !self.any() {
            return Some((Rc::new(Login { user: at_nodes, secret, introduction: None }), None));
        }
        let (place, user) = users::named(&self.list, user?)?;
        Some((self.login(place, user, &secret), Place::try_from(place).ok()))
    }

    /// Who a client is that says so, at the nodes; `None`: it is not.
    fn prove(&self, name: &[u8], secret: &[u8]) -> Option<Rc<Login>> {
        let (place, user) = users::prove(&self.list, name, secret)?;
        Some(self.login(place, user, secret))
    }

    fn login(&self, place: usize, user: &User, secret: &[u8]) -> Rc<Login> {
        let (name, secret) = user.at_nodes(secret);
        let introduction = self.introductions[place].clone();
        Rc::new(Login { user: Some(name.into_bytes()), secret, introduction })
    }
}

impl Connection {
    /// Who a client is that says so, as far as it is known here; `None`: it is not.
    pub(super) fn prove(&self, user: Option<&[u8]>, secret: &[u8]) -> Option<Rc<Login>> {
        if self.worker.users.any() {
            return self.worker.users.prove(user.unwrap_or(b"default"), secret);
        }
        let secret = Zeroizing::new(secret.to_vec());
        Some(Rc::new(Login { user: user.map(<[u8]>::to_vec), secret, introduction: None }))
    }

    /// The user that the client is once the nodes accept this request of the session.
    pub(super) fn user_after(&self, request: &[u8]) -> Option<Place> {
        let present = self.session.user;
        let Some(scanner) = RequestScanner::of_kept(request) else { return present };
        let request = scanner.request(request);
        let Some((name, _)) = said(&request) else { return present };
        let (place, _) = users::named(&self.worker.users.list, &name)?;
        Place::try_from(place).ok()
    }

    /// What becomes of a request that is judged here; `None`: it may go.
    #[cold]
    pub(super) fn judge(&mut self, dispatched: &Dispatched<'_>) -> Option<Step> {
        let failure = self.objection(dispatched)?;
        Some(self.object(dispatched, &failure))
    }

    fn object(&mut self, dispatched: &Dispatched<'_>, failure: &Failure) -> Step {
        match self.pinned {
            Some(_) => self.refuse_pinned(dispatched, failure),
            None => self.answer_failure(failure),
        }
    }

    fn objection(&mut self, dispatched: &Dispatched<'_>) -> Option<Failure> {
        let Dispatched { class, request, since, .. } = dispatched;
        let name = class.row.spec().name;
        if FOR_ALL.contains(&name) {
            // Ill-formed it would be the node's to refuse, on a connection of nobody.
            let words = misformed(name).filter(|_| self.session.user.is_none() && !class.arity_ok);
            return words.map(|words| Failure::Unauthorised { words });
        }
        let Some(user) = self.session.user else {
            let words = if name == "exec" { NOAUTH_EXEC } else { NOAUTH };
            return Some(Failure::Unauthorised { words });
        };
        if ENDS.contains(&name) {
            return None;
        }
        let worker = &self.worker;
        if let Some(rules) = &worker.users.keys[usize::from(user)] {
            let mut keys = worker.keys.borrow_mut();
            if !names_its_keys(class.row, request, &mut keys) {
                return Some(UNSEEN_KEY);
            }
            if !keys.iter().all(|at| rules.fit(request.arg(usize::from(*at)))) {
                return Some(NO_KEY);
            }
        }
        if since.is_some() { None } else { self.over_rate(user) }
    }

    /// What is said to a request that comes too early. Each counts once, however often it had to wait.
    fn over_rate(&mut self, user: Place) -> Option<Failure> {
        let worker = &self.worker;
        let meter = worker.shared.meters[usize::from(user)].as_ref().filter(|_| !self.metered)?;
        self.metered = meter.take(worker.now());
        let (user, rate) = (worker.users.name(user).to_owned(), meter.rate().to_string());
        (!self.metered).then_some(Failure::RateLimited { user, rate })
    }

    /// What becomes of a large request, of which `request` is here.
    pub(super) fn judge_large(&mut self, class: &Class, request: &Request<'_>) -> Large {
        let Some(user) = self.session.user else {
            // The node may have taken its user away while this waited.
            let stranger = self.worker.users.any();
            return if stranger {
                Large::Refused(Failure::Unauthorised { words: NOAUTH })
            } else {
                Large::Goes
            };
        };
        if let Some(rules) = &self.worker.users.keys[usize::from(user)] {
            // Its one key stands before what is large.
            if names_its_first_alone(class.row) {
                if request.len() < 2 {
                    return Large::Waits;
                }
                if !rules.fit(request.arg(1)) {
                    return Large::Refused(NO_KEY);
                }
            } else if class.row.spec().keys != Keys::None
                || !names_its_keys(class.row, request, &mut Vec::new())
            {
                return Large::Refused(UNSEEN_KEY);
            }
        }
        self.over_rate(user).map_or(Large::Goes, Large::Refused)
    }

    /// AUTH or HELLO on a connection of the client's own; `None`: it may go. What is not understood here must not reach the node: it
    /// may carry out what stands before the fault.
    pub(super) fn judge_proof(&mut self, dispatched: &Dispatched<'_>) -> Option<Step> {
        let request = &dispatched.request;
        let standing = &self.pinned.as_ref()?.standing;
        let failure = if standing.transaction().is_queueing() {
            Failure::Uncounted { refused: QUEUED }
        } else if !standing.modes().is_loud() {
            // Nobody would know who the client is then.
            Failure::Uncounted { refused: UNHEARD }
        } else if request.name().eq_ignore_ascii_case(b"hello") {
            match Hello::parse(request.args()) {
                Err(misuse) => return Some(self.answer(|out| misuse.write(out))),
                Ok(Hello { login: None, .. }) if self.session.user.is_some() => return None,
                Ok(Hello { login: None, .. }) => Failure::Unauthorised { words: NOAUTH_HELLO },
                Ok(Hello { login: Some(proof), .. }) => self.wrong(&proof.user, &proof.secret)?,
            }
        } else {
            match said(request) {
                None => Failure::Unauthorised { words: AUTH_WORDS },
                Some((name, secret)) => self.wrong(&name, &secret)?,
            }
        };
        Some(self.object(dispatched, &failure))
    }

    /// The refusal of a proof that proves nothing.
    fn wrong(&self, name: &[u8], secret: &[u8]) -> Option<Failure> {
        let proved = self.prove(Some(name), secret).is_some();
        (!proved).then_some(Failure::Unauthorised { words: WRONGPASS })
    }

    /// What goes to the node in place of AUTH or HELLO: who the client is there.
    pub(super) fn proof_asked(&self, request: &Request<'_>) -> Option<Asked> {
        if !self.worker.users.any() {
            return None;
        }
        let (name, secret) = said(request)?;
        let login = self.prove(Some(&name), &secret)?;
        let words = match Hello::parse(request.args()) {
            Ok(hello) if request.name().eq_ignore_ascii_case(b"hello") => {
                Hello { login: Some(proof(&login)), ..hello }.words()
            }
            _ => {
                let name = login.user.clone().unwrap_or_default();
                Zeroizing::new(vec![b"AUTH".to_vec(), name, login.secret.to_vec()])
            }
        };
        Some(Asked::new(words, None))
    }
}

/// Who a client is on the nodes, as HELLO says it.
pub(super) fn proof(login: &Login) -> Proof {
    let user = Bytes::from(login.user.clone().unwrap_or_default());
    Proof { user, secret: login.secret.clone() }
}

/// The words for one of [`FOR_ALL`] that has too few arguments, or too many.
fn misformed(name: &str) -> Option<&'static str> {
    match name {
        "auth" => Some(AUTH_WORDS),
        "hello" => Some("ERR wrong number of arguments for 'hello' command"),
        "reset" => Some("ERR wrong number of arguments for 'reset' command"),
        _ => None,
    }
}

/// What becomes of a large request that has begun.
pub(super) enum Large {
    Goes,
    /// More of it has to be here.
    Waits,
    Refused(Failure),
}

/// The user and the password that AUTH or HELLO says.
fn said(request: &Request<'_>) -> Option<(Vec<u8>, Zeroizing<Vec<u8>>)> {
    let secret = |at: usize| Zeroizing::new(request.arg(at).to_vec());
    if request.name().eq_ignore_ascii_case(b"hello") {
        let proof = Hello::parse(request.args()).ok()?.login?;
        return Some((proof.user.to_vec(), proof.secret));
    }
    match request.len() {
        2 if request.name().eq_ignore_ascii_case(b"auth") => Some((b"default".to_vec(), secret(1))),
        3 if request.name().eq_ignore_ascii_case(b"auth") => Some((request.arg(1).to_vec(), secret(2))),
        _ => None,
    }
}
