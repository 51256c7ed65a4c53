//! PROXY: what the proxy says about itself over RESP, and orders of those who may give them.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::BytesMut;

use crate::command::classify;
use crate::resp::{Request, RequestScanner, encode};
use crate::topology::{NodeId, Order, Reread, Upgrade};

use super::client::Special;
use super::client_command::Local;
use super::connection::{Connection, Step};
use super::dispatch::Dispatched;
use super::proxy_look::Look;
use super::proxy_read;
use super::proxy_right::{Asker, may_order};
use super::shared::Ending;

/// Longest wait for the end of an order; the failover machine bounds its own work far below.
const PATIENCE: Duration = Duration::from_secs(60);

/// What somebody orders.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Group(Order),
    Drain,
    Reload,
    Upgrade,
    Pause,
    Resume,
    ReadOnly(bool),
}

/// Subcommands, and how many words such a request may have.
const SUBCOMMANDS: &[(&str, RangeInclusive<usize>)] = &[
    ("help", 2..=2),
    ("status", 2..=2),
    ("nodes", 2..=2),
    ("failovers", 2..=2),
    ("clients", 2..=2),
    ("route", 3..=usize::MAX),
    ("slowlog", 3..=4),
    ("hotkeys", 2..=3),
    ("bigkeys", 2..=3),
    ("switchover", 2..=3),
    ("failover", 2..=4),
    ("adopt", 3..=3),
    ("pause", 2..=2),
    ("resume", 2..=2),
    ("readonly", 3..=3),
    ("drain", 2..=2),
    ("reload", 2..=2),
    ("upgrade", 2..=2),
];

impl Connection {
    /// PROXY …
    pub(super) fn proxy_command(&mut self, dispatched: &Dispatched<'_>) -> Step {
        if !self.is_owed_nothing() {
            return Step::Wait;
        }
        let request = &dispatched.request;
        let word = request.arg(1).to_ascii_lowercase();
        let mut said = BytesMut::new();
        let known = SUBCOMMANDS.iter().find(|(name, _)| name.as_bytes() == word);
        match (known, word.as_slice()) {
            _ if request.len() < 2 => {
                encode::error(&mut said, "ERR wrong number of arguments for 'proxy' command")
            }
            (None, _) => {
                let word = String::from_utf8_lossy(request.arg(1));
                encode::error(&mut said, &format!("ERR unknown subcommand '{word}'. Try PROXY HELP."));
            }
            (Some((name, takes)), _) if !takes.contains(&request.len()) => {
                encode::error(
                    &mut said,
                    &format!("ERR wrong number of arguments for 'proxy|{name}' command"),
                );
            }
            (_, b"help") => {
                encode::array_header(&mut said, proxy_read::HELP.len());
                proxy_read::HELP.iter().for_each(|line| encode::simple(&mut said, line));
            }
            (_, b"status" | b"nodes" | b"failovers") => {
                let text = self.proxy_text(&word);
                encode::verbatim(&mut said, text.as_bytes(), self.session.identity.proto);
                return self.tell_of_nodes(dispatched, said);
            }
            (_, b"clients") => return self.look(dispatched, Look::Clients),
            (_, b"route") => {
                encode::bulk(&mut said, self.route(request).as_bytes());
                return self.tell_of_nodes(dispatched, said);
            }
            (_, b"slowlog" | b"hotkeys" | b"bigkeys") => match Look::of(request) {
                Ok(look) => return self.look(dispatched, look),
                Err(text) => encode::error(&mut said, &text),
            },
            _ => match self.wish(request) {
                Ok(wish) => return self.order(dispatched, wish),
                Err(text) => encode::error(&mut said, &text),
            },
        }
        self.admit(dispatched, Local::Say(said.freeze()))
    }

    /// To anybody who is let in, and without asking a node, since there may be none; unless clients are not to be told.
    fn tell_of_nodes(&mut self, dispatched: &Dispatched<'_>, said: BytesMut) -> Step {
        if self.worker.settings.hide_topology {
            return self.look(dispatched, Look::HiddenNodes(said.freeze()));
        }
        self.admit(dispatched, Local::Say(said.freeze()))
    }

    fn proxy_text(&self, word: &[u8]) -> String {
        let (worker, control) = (&self.worker, &self.worker.control);
        let status = control.status.load();
        let marks = &worker.shared.marks;
        match word {
            b"nodes" => proxy_read::nodes(&status, marks),
            b"failovers" => proxy_read::failovers(&status),
            _ => {
                use std::sync::atomic::Ordering::Relaxed;
                let clients = worker.shared.clients.load(Relaxed);
                let draining = worker.shared.ending() != Ending::NotYet;
                let restraint = control.restraints.now();
                let succeeded = worker.shared.heir.get().is_some();
                proxy_read::status(
                    &status,
                    &worker.current(),
                    marks,
                    (clients, draining, succeeded, restraint),
                )
            }
        }
    }

    fn route(&self, request: &Request<'_>) -> String {
        let words: Vec<&[u8]> = request.args().skip(2).collect();
        let mut bytes = BytesMut::new();
        encode::command(&mut bytes, &words);
        let Some(scanner) = RequestScanner::of_kept(&bytes) else {
            return "nowhere: it is no request".to_owned();
        };
        let class = classify(&scanner.request(&bytes));
        let worker = &self.worker;
        proxy_read::route(&class, &worker.current(), &worker.reads, worker.settings.pass_owned_commands)
    }

    fn wish(&self, request: &Request<'_>) -> Result<Wish, String> {
        let words: Vec<String> =
            request.args().skip(1).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let order = match words[..] {
            ["drain"] => return Ok(Wish::Drain),
            ["reload"] => return Ok(Wish::Reload),
            ["upgrade"] => return Ok(Wish::Upgrade),
            ["pause"] => return Ok(Wish::Pause),
            ["resume"] => return Ok(Wish::Resume),
            ["readonly", "on"] => return Ok(Wish::ReadOnly(true)),
            ["readonly", "off"] => return Ok(Wish::ReadOnly(false)),
            ["switchover"] => Order::Switchover { to: None },
            ["switchover", node] => Order::Switchover { to: Some(self.node(node)?) },
            ["failover", "force"] => Order::Failover { to: None },
            ["failover", "force", node] => Order::Failover { to: Some(self.node(node)?) },
            ["failover", ..] => {
                return Err(
                    "ERR a failover on order may lose writes of the last moments: say PROXY FAILOVER FORCE \
                            [host:port], or PROXY SWITCHOVER"
                        .to_owned(),
                );
            }
            ["adopt", node] => Order::Adopt { node: self.node(node)? },
            _ => return Err("ERR syntax error".to_owned()),
        };
        Ok(Wish::Group(order))
    }

    fn node(&self, name: &str) -> Result<NodeId, String> {
        let status = self.worker.control.status.load();
        let found = status.nodes.iter().find(|node| node.address.to_string().eq_ignore_ascii_case(name));
        found.map(|node| node.id).ok_or_else(|| {
            // Who asks may not be one who may know.
            if self.worker.settings.hide_topology {
                return format!("ERR there is no node `{name}`");
            }
            let names: Vec<_> = status.nodes.iter().map(|node| node.address.to_string()).collect();
            format!("ERR there is no node `{name}`; there are {}", names.join(", "))
        })
    }

    /// Carries the order out beside the client's task, which takes nothing else meanwhile. It goes on when the client
    /// leaves.
    fn order(&mut self, dispatched: &Dispatched<'_>, wish: Wish) -> Step {
        self.client.special.replace(Some(Special::Order));
        let (client, worker) = (self.client.clone(), self.worker.clone());
        let asker = Asker::new(&worker, &self.session);
        let subcommand = String::from_utf8_lossy(dispatched.request.arg(1)).to_ascii_uppercase();
        tokio::task::spawn_local(async move {
            let answer = match may_order(&asker, &subcommand).await {
                Err(refusal) => Err(refusal),
                Ok(user) => {
                    tracing::info!(client = client.id, user, ?wish, "order received");
                    let patience = if wish == Wish::Upgrade { Upgrade::WITHIN } else { PATIENCE };
                    let placed = carry_out(&worker.control, wish);
                    let answer = tokio::time::timeout(patience, placed).await.unwrap_or_else(|_| {
                        let patience = patience.as_secs();
                        Err(format!("no answer within {patience} s; the order may still be carried out"))
                    });
                    tracing::info!(client = client.id, ?answer, "order answered");
                    answer.map_err(|text| format!("ERR {text}"))
                }
            };
            match answer {
                Ok(text) => encode::bulk(&mut client.out.borrow_mut(), text.as_bytes()),
                Err(text) => encode::error(&mut client.out.borrow_mut(), &text),
            }
            client.special.replace(None);
            client.wake();
        });
        Step::Taken
    }
}

async fn carry_out(control: &super::Control, wish: Wish) -> Result<String, String> {
    match wish {
        Wish::Group(order) => control.orders.place(order).await,
        Wish::Pause => control.restraints.pause().await,
        Wish::Resume => control.restraints.resume().await,
        Wish::ReadOnly(on) => control.restraints.read_only(on).await,
        Wish::Reload => control.rereads.place(Reread).await,
        Wish::Upgrade => control.upgrades.place(Upgrade).await,
        Wish::Drain if (control.drain)() => Ok("draining".to_owned()),
        Wish::Drain => Ok("draining already".to_owned()),
    }
}
