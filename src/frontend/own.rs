//! Commands that Redhold answers itself: the client table, what it owns, PROXY.

use bytes::BytesMut;

use crate::error::Failure;
use crate::resp::encode;

use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::registry::Entry;
use super::session::Local;

impl Connection {
    /// CLIENT ID, INFO, LIST, KILL, UNBLOCK.
    pub(super) fn clients_command(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let mut said = BytesMut::new();
        match dispatched.request.arg(1).to_ascii_lowercase().as_slice() {
            b"id" => encode::integer(&mut said, i64::try_from(self.client.id).unwrap_or(i64::MAX)),
            _ => return self.send_shared(dispatched),
        }
        self.admit(dispatched, Local::Say(said.freeze()))
    }

    /// What would change the group behind Redhold's back.
    pub(super) fn owned_command(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let command = String::from_utf8_lossy(dispatched.request.name()).to_ascii_uppercase();
        self.answer_failure(&Failure::Managed { command })
    }

    /// PROXY …
    pub(super) fn proxy_command(&mut self, dispatched: &Dispatched<'_>) -> Step {
        let _ = dispatched;
        self.answer(|out| encode::error(out, "ERR unknown PROXY subcommand. Try PROXY HELP."))
    }

    /// Tells the client table what it may show of this client.
    pub(super) fn register(&self) {
        let session = &self.session;
        let login = session.identity.login.as_ref();
        let user = login.and_then(|login| login.user.as_deref()).unwrap_or(b"default");
        self.worker.shared.registry.put(
            self.client.id,
            Entry {
                peer: session.peer.clone(),
                name: session.name.clone(),
                lib_name: session.lib_name.clone(),
                lib_ver: session.lib_ver.clone(),
                user: String::from_utf8_lossy(user).into_owned(),
                db: session.identity.db,
                resp: session.identity.proto.version(),
                connected: None,
            },
        );
    }
}
