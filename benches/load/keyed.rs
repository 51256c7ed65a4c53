//! Clients that read and write keys of their own, alone or in transactions.

use std::collections::VecDeque;
use std::time::Instant;

use crate::driver::{Load, Meter};
use crate::fault::Fault;
use crate::keyspace::Keyspace;
use crate::payload::Call;
use crate::wires::Wires;
use crate::{Args, Mix};

/// All clients; client `number` has the connection of that number.
pub(crate) struct Keyed<'a> {
    mix: Mix,
    pipeline: u32,
    /// Closed loop: a client sends the next requests when all are answered. Otherwise a schedule decides.
    is_closed: bool,
    keyspace: &'a mut Keyspace,
    clients: Vec<Client>,
}

/// A client. Its requests are answered in order, so what it waits for is a queue.
struct Client {
    /// The keys of this client: its number, and every `stride`th after it.
    first_key: u32,
    own_keys: u32,
    stride: u32,
    dice: u64,
    /// Requests without a reply, and when they were due: sent, or to be sent if the schedule had been kept.
    owed: VecDeque<(Call, Instant)>,
}

impl<'a> Keyed<'a> {
    pub(crate) fn new(args: &Args, keyspace: &'a mut Keyspace) -> Self {
        let client = |number| Client {
            first_key: number,
            own_keys: (keyspace.keys() - number).div_ceil(args.clients),
            stride: args.clients,
            dice: u64::from(number) << 1 | 1,
            owed: VecDeque::new(),
        };
        let clients = (0..args.clients).map(client).collect();
        let is_closed = args.rate.is_none();
        Self { mix: args.mix, pipeline: args.pipeline, is_closed, keyspace, clients }
    }

    /// Sends `count` requests that were due at `due`.
    fn ask(&mut self, wires: &mut Wires, number: usize, count: u32, due: Instant) -> Result<(), Fault> {
        let client = &mut self.clients[number];
        let output = wires.output(number);
        for _ in 0..count {
            let call = client.next_call(self.mix, self.keyspace);
            self.keyspace.payload().encode(call, output);
            client.owed.push_back((call, due));
        }
        wires.send(number)
    }
}

impl Load for Keyed<'_> {
    fn connections(&self) -> usize {
        self.clients.len()
    }

    fn begin(&mut self, wires: &mut Wires) -> Result<(), Fault> {
        if self.is_closed {
            for number in 0..self.clients.len() {
                self.ask(wires, number, self.pipeline, Instant::now())?;
            }
        }
        Ok(())
    }

    fn one_more(&mut self, wires: &mut Wires, turn: usize, due: Instant) -> Result<(), Fault> {
        self.ask(wires, turn % self.clients.len(), 1, due)
    }

    fn received(&mut self, wires: &mut Wires, number: usize, meter: &mut Meter) -> Result<(), Fault> {
        let client = &mut self.clients[number];
        let input = wires.input(number);
        let now = Instant::now();
        let mut at = 0;
        while at < input.len() {
            let Some((call, due)) = client.owed.front() else { return Err(Fault::unasked(&input[at..])) };
            let Some(length) = self.keyspace.payload().judge(*call, &input[at..])? else { break };
            meter.count(*due, now);
            at += length;
            client.owed.pop_front();
        }
        wires.consume(number, at);
        if self.is_closed && !meter.is_draining() && self.clients[number].owed.is_empty() {
            self.ask(wires, number, self.pipeline, Instant::now())?;
        }
        Ok(())
    }

    fn waiting(&self) -> usize {
        self.clients.iter().filter(|client| !client.owed.is_empty()).count()
    }
}

impl Client {
    fn next_call(&mut self, mix: Mix, keyspace: &mut Keyspace) -> Call {
        let roll = self.roll();
        let key = self.first_key + roll as u32 % self.own_keys * self.stride;
        match mix {
            Mix::Multi => Call::Transaction { key, version: keyspace.next_version(key) },
            Mix::Mix20 if (roll >> 32).is_multiple_of(5) => {
                Call::Set { key, version: keyspace.next_version(key) }
            }
            Mix::Set => Call::Set { key, version: keyspace.next_version(key) },
            // The others do not come here.
            Mix::Get | Mix::Mix20 | Mix::Blpop | Mix::Pubsub | Mix::Churn | Mix::Idle => {
                Call::Get { key, version: keyspace.version(key) }
            }
        }
    }

    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.dice >> 20 ^ self.dice << 13
    }
}
