//! What Redhold owns: commands and settings that would change the group behind its back.

use crate::command::{Class, Lane, Rule, is_sentinels};
use crate::error::Failure;
use crate::resp::Request;

use super::client_command::{Asked, Local};
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;

/// What servers since 7.0 say in MULTI of what would end or replace the connection.
const NOT_IN_TRANSACTION: &str = "ERR Command not allowed inside a transaction";

impl Connection {
    /// What would change the group behind Redhold's back is refused, or passed on a connection of its own where the
    /// configuration says so.
    pub(super) fn owned_command(&mut self, dispatched: &Dispatched<'_>) -> Step {
        if self.passes_owned(&dispatched.class) {
            return self.pin(dispatched);
        }
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let refusal = refusal(&dispatched.class, &dispatched.request);
        match asked_settings(dispatched) {
            Some(words) => {
                let local = Local::Settings(dispatched.request.arg(3).to_vec(), Box::new(refusal));
                self.ask_locally(dispatched, Asked::new(words, Some(local)))
            }
            None => self.admit(dispatched, Local::Owned(refusal)),
        }
    }

    /// In place of a command that Redhold owns, on a connection of the client's own: a request that every server
    /// refuses, so that a transaction that it stands in is refused too.
    pub(super) fn owned_asked(&self, dispatched: &Dispatched<'_>, queueing: bool) -> Option<Asked> {
        let Dispatched { request, class, .. } = dispatched;
        if class.lane != Lane::Owned || self.passes_owned(class) {
            return None;
        }
        let local = match class.row.spec().name {
            "shutdown" | "sync" | "psync" if queueing => Local::Refused(NOT_IN_TRANSACTION),
            _ => Local::Owned(refusal(class, request)),
        };
        Some(Asked::new(vec![b"REPLICAOF".to_vec()], Some(local)))
    }

    /// What reaches into Redhold's own channels passes in no case.
    pub(super) fn passes_owned(&self, class: &Class) -> bool {
        let never = class.row.spec().rule == Rule::Reserved;
        self.worker.settings.pass_owned_commands && !never
    }
}

/// What a client is told of a request that Redhold owns.
pub(super) fn refusal(class: &Class, request: &Request<'_>) -> Failure {
    let upper = |index: usize| String::from_utf8_lossy(request.arg(index)).to_ascii_uppercase();
    let name = upper(0);
    if class.row.spec().rule == Rule::Reserved {
        let forged = request.len() > 1 && is_sentinels(request.arg(1));
        return if forged { Failure::Forged { command: name } } else { Failure::Reserved { command: name } };
    }
    if name != "CONFIG" {
        return Failure::Managed { command: name };
    }
    let setting = if request.len() > 2 { request.arg(2).to_ascii_lowercase() } else { Vec::new() };
    let what = format!("CONFIG {} {}", upper(1), String::from_utf8_lossy(&setting));
    Failure::ManagedSetting { what: what.trim_end().to_owned() }
}

/// CONFIG SET of one setting to its present value changes nothing and is granted: this asks for the present value.
fn asked_settings(dispatched: &Dispatched<'_>) -> Option<Vec<Vec<u8>>> {
    let Dispatched { request, class, .. } = dispatched;
    let sets = request.len() == 4 && class.row.spec().rule == Rule::Settings;
    sets.then(|| vec![b"CONFIG".to_vec(), b"GET".to_vec(), request.arg(2).to_vec()])
}
