//! CLIENT MAINT_NOTIFICATIONS: who is told of holds and of the end of the process, and where in the stream of replies.
//!
//! A notice is put behind whole replies only, in the client's own turn; whoever makes one known sets a flag and wakes the
//! client. Requests cost nothing by it.

use std::rc::Rc;

use bytes::BytesMut;

use crate::resp::{Proto, Request};
use crate::session::{self, Notices};

use super::client::Client;
use super::client_command::{Asked, Local};
use super::connection::Connection;
use super::lane::Rest;
use super::notices::{Notice, What};
use super::shared::Ending;
use super::worker::Worker;

/// Clients that are woken before the other work of the thread gets its turn: what waits for a new primary comes first.
const WOKEN_AT_ONCE: usize = 64;

/// What a client is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscription {
    wanted: Notices,
    /// Number of the last notice that it got or was not meant to get.
    told: i64,
}

impl Subscription {
    pub(super) fn wanted(&self) -> Notices {
        self.wanted
    }
}

impl Connection {
    /// What the server is asked in place of CLIENT MAINT_NOTIFICATIONS, which it need not know; `None`: it is for the server to
    /// say that it does not. No server sends pushes to a client that has not said HELLO 3.
    pub(super) fn notices_asked(&self, request: &Request<'_>) -> Option<Asked> {
        if !self.worker.settings.maint_notifications || self.session.identity.proto != Proto::Resp3 {
            return None;
        }
        let args: Vec<&[u8]> = request.args().collect();
        let local = session::read_notices(&args).map_or_else(Local::Misuse, Local::Notices);
        Some(Asked::new(vec![b"CLIENt".to_vec(), b"GETNAME".to_vec()], Some(local)))
    }

    /// The client wants to be told this from now on; `None`: nothing.
    pub(super) fn subscribe_notices(&self, wanted: Option<Notices>) {
        let (client, worker) = (&self.client, &self.worker);
        let Some(wanted) = wanted else {
            if client.notices.take().is_some() {
                client.untold.set(false);
                worker.noticed.borrow_mut().remove(&client.id);
            }
            return;
        };
        let told = client.notices.get().map_or_else(|| worker.shared.notices.last(), |before| before.told);
        client.notices.set(Some(Subscription { wanted, told }));
        worker.noticed.borrow_mut().insert(client.id, client.clone());
    }

    /// Tells the client what it was not told yet, if this is the place for it; true when something was written.
    #[cold]
    pub(super) fn tell(&mut self) -> bool {
        let client = &self.client;
        let Some(mut subscription) = client.notices.get() else {
            client.untold.set(false);
            return false;
        };
        let lane = self.pinned.as_ref();
        let in_middle = lane.is_some_and(|lane| matches!(lane.middle, Some(Rest::Extra | Rest::Reply)));
        if in_middle || client.in_middle.get() || self.is_full() {
            return false;
        }
        let modes = lane.map(|lane| lane.standing.modes());
        let off = modes.is_some_and(|modes| modes.is_off());
        if !off && modes.is_some_and(|modes| !modes.is_loud()) {
            // CLIENT REPLY SKIP: the next reply is another's.
            return false;
        }
        client.untold.set(false);
        let before = client.out.borrow().len();
        for notice in self.worker.shared.notices.after(subscription.told) {
            subscription.told = notice.number;
            if !off {
                self.tell_one(subscription.wanted, &notice, &mut client.out.borrow_mut());
            }
        }
        client.notices.set(Some(subscription));
        client.out.borrow().len() > before
    }

    fn tell_one(&self, wanted: Notices, notice: &Notice, out: &mut BytesMut) {
        let settings = &self.worker.settings;
        let address = wanted.names_address.then_some(settings.announce.as_str());
        if matches!(notice.what, What::Moving { .. }) {
            // Who holds nothing is let go at once.
            let goes = self.worker.shared.ending() >= Ending::Draining && self.pinned.is_none();
            if goes || address == Some("") {
                return;
            }
        }
        notice.write(self.worker.now(), settings.hold, address, out);
    }
}

impl Client {
    /// A reply in pieces has come to its end: what had to wait for it may be told.
    pub(super) fn reply_ended(&self) {
        if self.untold.get() {
            self.wake();
        }
    }
}

/// Wakes who is to be told something, a few at a time.
pub(super) async fn keep_telling(worker: Rc<Worker>) {
    loop {
        worker.notices_due.notified().await;
        let clients: Vec<_> = worker.noticed.borrow().values().cloned().collect();
        for some in clients.chunks(WOKEN_AT_ONCE) {
            for client in some {
                client.untold.set(true);
                client.wake();
            }
            tokio::task::yield_now().await;
        }
    }
}
