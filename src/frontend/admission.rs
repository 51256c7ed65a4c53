//! What a client may send before the node is known to serve it.
//!
//! A server that wants a password closes the connection of a client that sends it more than ten arguments or a long one
//! before AUTH; on a shared pipeline that would hit everybody. So such a request stays where it is, unread beyond its
//! header, until the node has answered a question of ours: unless it says `-NOAUTH`, the request goes on, otherwise
//! the client is told and closed as Redis does. Ordinary requests are neither asked for nor delayed.

use bytes::{Bytes, BytesMut};

use crate::backend::Pipeline;
use crate::command::classify;
use crate::durability::Demand;
use crate::resp::{Limits, ProtocolError, Request, RequestScanner, encode};

use super::client::{ClientRef, Special};
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::lane::Line;
use super::redo::Redo;
use super::session::{Effect, Pending};

/// What is done when the node will not serve the client, or else with its request.
pub(super) enum Admission {
    /// This is said and the client is closed; else its request is read on.
    OrClose(ProtocolError),
    /// The node's words are the answer; else this request is dispatched.
    OrAnswer(Bytes),
}

impl Connection {
    /// What makes the request one that a pipeline of nobody may not carry while it is unknown whether the node serves it.
    #[inline]
    pub(super) fn beyond_admission(
        &self,
        pipeline: &Pipeline<ClientRef>,
        request: &Request<'_>,
    ) -> Option<ProtocolError> {
        if self.session.identity.login.is_some() {
            return None;
        }
        request.beyond_unauthenticated().filter(|_| !pipeline.is_admitted())
    }

    /// A whole request that the pipeline may not carry yet.
    pub(super) fn ask_first(&mut self, dispatched: &Dispatched<'_>, error: ProtocolError) -> Step {
        if !dispatched.request.is_inline() {
            return self.ask_admission(error);
        }
        // Redis takes as many words as a line holds.
        self.ask_node(Admission::OrAnswer(dispatched.request.to_multibulk()))
    }

    /// The request at hand is beyond what strangers may send. It waits in any case.
    pub(super) fn ask_admission(&mut self, error: ProtocolError) -> Step {
        if self.worker.users.any() {
            self.protocol_error(error);
            return Step::Wait;
        }
        if let Some(lane) = &self.pinned {
            match &lane.line {
                Line::Open(pinned) if pinned.is_admitted() => {
                    self.admitted();
                    self.client.wake();
                }
                Line::Open(_) => self.protocol_error(error),
                Line::Opening(..) | Line::Waiting(_) => {}
            }
            return Step::Wait;
        }
        self.ask_node(Admission::OrClose(error));
        Step::Wait
    }

    /// Sends the question; `Taken` when it is on its way.
    fn ask_node(&mut self, admission: Admission) -> Step {
        if !self.is_owed_nothing()
            || self.client.special.borrow().is_some()
            || self.client.session_reply.borrow().is_some()
        {
            return Step::Wait;
        }
        let mut question = BytesMut::new();
        encode::own_command(&mut question, &[b"CLIENT", b"GETNAME"]);
        let mut scanner = RequestScanner::default();
        if scanner.scan(&question, &Limits::default()).is_err() {
            return Step::Wait;
        }
        let request = scanner.request(&question);
        let class = classify(&request);
        let asked = Dispatched { request, class, demand: Demand::NONE, resent: false, since: None };
        let original = match &admission {
            Admission::OrClose(_) => Bytes::new(),
            Admission::OrAnswer(request) => request.clone(),
        };
        let closes = original.is_empty();
        let step = self.send_special(&asked, Special::Session(original.clone()));
        let identity = self.session.identity.clone();
        let pending = Pending::new(identity, Effect::Admission(admission));
        if step == Step::Taken && !self.await_reply(pending, original) && closes {
            // Answered with an error of the proxy's own, while the request is not read.
            self.client.doom("no node could be asked");
        }
        step
    }

    /// The node's answer to the question.
    pub(super) fn admission_replied(&mut self, admission: Admission, reply: &[u8]) {
        if reply.starts_with(b"-NOAUTH ") {
            match admission {
                Admission::OrClose(error) => self.protocol_error(error),
                Admission::OrAnswer(_) => self.client.out.borrow_mut().extend_from_slice(reply),
            }
            return;
        }
        self.admitted();
        if let Some(asked) = &self.primary {
            asked.note_admitted();
        }
        if let Admission::OrAnswer(request) = admission {
            self.client.redo.borrow_mut().lost(Redo::again(&request, false, self.worker.now()));
        }
    }

    /// The node serves this client as who it is now.
    pub(super) fn admitted(&mut self) {
        self.session.admitted = true;
        self.authenticated = true;
    }
}
