//! A script is said to two sides at once, until they differ.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use redhold::command::classify;

use crate::connection::{Connection, Reply};
use crate::judge::{Invalidations, Judge};
use crate::script::{Request, Step};

/// A difference.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// The step at which it showed.
    pub(crate) step: usize,
    /// The request, or the bytes that are none.
    pub(crate) request: String,
    /// What both sides answered.
    pub(crate) answers: [String; 2],
}

/// How it went.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// Requests whose replies were compared.
    pub(crate) requests: usize,
    /// What tracking clients were told beside the replies.
    pub(crate) invalidations: usize,
    /// How often each row was said, and how often it was not refused.
    pub(crate) rows: BTreeMap<&'static str, (usize, usize)>,
    pub(crate) difference: Option<Difference>,
}

/// One client, as the two sides know it.
struct Client {
    sides: [Connection; 2],
    judge: Judge,
    /// What was begun and is to be finished, and how much of it was sent.
    begun: Option<(Request, usize)>,
}

struct Player {
    addresses: [SocketAddr; 2],
    patience: Duration,
    invalidations: Invalidations,
    clients: BTreeMap<usize, Client>,
    played: Played,
}

/// Says the steps to both. A reply that does not come within `patience` is a difference.
pub(crate) fn play(
    steps: &[Step],
    addresses: [SocketAddr; 2],
    patience: Duration,
    invalidations: Invalidations,
) -> Played {
    let (clients, played) = (BTreeMap::new(), Played::default());
    let mut player = Player { addresses, patience, invalidations, clients, played };
    for (number, step) in steps.iter().enumerate() {
        if let Some(difference) = player.step(step) {
            player.played.difference = Some(Difference { step: number, ..difference });
            break;
        }
    }
    player.played
}

impl Player {
    fn step(&mut self, step: &Step) -> Option<Difference> {
        match step {
            Step::Say { client, requests } => {
                let begun = self.finish(*client);
                if begun.is_some() {
                    return begun;
                }
                let bytes: Vec<u8> = requests.iter().flat_map(Request::bytes).collect();
                self.send(*client, &bytes).or_else(|| self.hear(*client, requests))
            }
            Step::Begin { client, request, sent } => {
                let begun = self.finish(*client);
                if begun.is_some() {
                    return begun;
                }
                let fault = self.send(*client, &request.bytes()[..*sent]);
                self.client(*client).begun = Some((request.clone(), *sent));
                fault
            }
            Step::Garble { client, bytes } => self.finish(*client).or_else(|| self.garble(*client, bytes)),
        }
    }

    fn finish(&mut self, client: usize) -> Option<Difference> {
        let (request, sent) = self.client(client).begun.take()?;
        self.send(client, &request.bytes()[sent..]).or_else(|| self.hear(client, &[request]))
    }

    fn client(&mut self, client: usize) -> &mut Client {
        let (addresses, patience, invalidations) = (self.addresses, self.patience, self.invalidations);
        self.clients.entry(client).or_insert_with(|| {
            let open = |address| {
                Connection::open(address, patience).unwrap_or_else(|fault| panic!("{address}: {fault}"))
            };
            Client { sides: addresses.map(open), judge: Judge::new(invalidations), begun: None }
        })
    }

    fn send(&mut self, client: usize, bytes: &[u8]) -> Option<Difference> {
        let outcomes = self.client(client).sides.each_mut().map(|side| side.send(bytes));
        if outcomes.iter().all(Result::is_ok) {
            return None;
        }
        let [left, right] = outcomes.map(|outcome| format!("{outcome:?}"));
        let request = format!("sending {} bytes", bytes.len());
        Some(Difference { step: 0, request, answers: [left, right] })
    }

    fn hear(&mut self, client: usize, requests: &[Request]) -> Option<Difference> {
        for request in requests {
            let speaker = self.client(client);
            let [left, right] = speaker.sides.each_mut().map(|side| side.replies(request));
            let same = match (&left, &right) {
                (Ok(left), Ok(right)) => speaker.judge.agree(&request.words, left, right),
                _ => false,
            };
            if !same {
                let request = format!("client {client}: {}", request.shown());
                return Some(Difference { step: 0, request, answers: [shown(&left), shown(&right)] });
            }
            self.count(request, &left.unwrap_or_default());
        }
        None
    }

    fn garble(&mut self, client: usize, bytes: &[u8]) -> Option<Difference> {
        let fault = self.send(client, bytes);
        if fault.is_some() {
            return fault;
        }
        let rests =
            self.client(client).sides.each_mut().map(|side| side.rest().map_err(|fault| fault.to_string()));
        self.clients.remove(&client);
        if rests[0].is_ok() && rests[0] == rests[1] {
            return None;
        }
        let request = format!("client {client}: {}", bytes.escape_ascii());
        let answers = rests.map(|rest| format!("{:?}", rest.map(|bytes| bytes.escape_ascii().to_string())));
        Some(Difference { step: 0, request, answers })
    }

    fn count(&mut self, request: &Request, replies: &[Reply]) {
        self.played.requests += 1;
        self.played.invalidations += replies.iter().filter(|reply| reply.is_invalidation()).count();
        if !request.words.is_empty() {
            let counts = self.played.rows.entry(classify(&request.words).row.spec().name).or_default();
            counts.0 += 1;
            counts.1 += usize::from(replies.last().is_none_or(|reply| reply.value.error().is_none()));
        }
    }
}

fn shown(replies: &io::Result<Vec<Reply>>) -> String {
    match replies {
        Ok(replies) => {
            let replies: Vec<String> = replies
                .iter()
                .map(|reply| match reply.bytes.len() {
                    0..=2_000 => reply.bytes.escape_ascii().to_string(),
                    length => format!("{} … ({length} bytes)", reply.bytes[..500].escape_ascii()),
                })
                .collect();
            format!("{} {}", replies.len(), replies.join(" | "))
        }
        Err(fault) => format!("no reply: {fault}"),
    }
}
