//! Fan-out: subscribers that must each see every message of their channel once, in order, with its bytes.
//!
//! Ten clients subscribe to a channel, one more publishes `pipeline` messages to it at once and the next ones when all
//! of these have arrived everywhere. What is counted is a message that arrived at one subscriber.

use std::time::Instant;

use crate::Args;
use crate::driver::{self, Load, Meter, Outcome};
use crate::fault::Fault;
use crate::payload::{Payload, must_begin, name};
use crate::wires::Wires;

/// Subscribers of one channel.
const FAN_OUT: usize = 10;

/// Loads the target; in the end every subscriber has left its channel.
///
/// # Errors
/// A message lost, repeated, out of order or of another channel, any other wrong reply, a lost connection, a stall.
pub(crate) fn run(args: &Args) -> Result<Outcome, Fault> {
    driver::drive(args, Channels::new(args))
}

/// All channels. Channel `n` has the connection `n` to be published to, the connections after these subscribe in turn.
struct Channels {
    payload: Payload,
    pipeline: u32,
    channels: Vec<Channel>,
    subscribers: Vec<Subscriber>,
}

struct Channel {
    subscribers: u32,
    /// How many of them have joined, or in the end left.
    confirmed: u32,
    is_leaving: bool,
    /// Number of the next message.
    next: u32,
    /// When the messages under way were due; they are published together.
    due: Instant,
    /// Messages under way, times the subscribers that have not seen them.
    undelivered: u32,
    /// PUBLISH without a reply.
    publishing: u32,
}

#[derive(Clone)]
struct Subscriber {
    standing: Standing,
    /// Number of the next message.
    next: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Joining,
    Joined,
    Leaving,
    Gone,
}

impl Channels {
    fn new(args: &Args) -> Self {
        let clients = args.clients as usize;
        let count = clients.div_ceil(FAN_OUT);
        let channel = |number: usize| Channel {
            subscribers: (clients - number).div_ceil(count) as u32,
            confirmed: 0,
            is_leaving: false,
            next: 0,
            due: Instant::now(),
            undelivered: 0,
            publishing: 0,
        };
        Self {
            payload: Payload::new(args.size),
            pipeline: args.pipeline,
            channels: (0..count).map(channel).collect(),
            subscribers: vec![Subscriber { standing: Standing::Joining, next: 0 }; clients],
        }
    }

    fn tell(&self, wires: &mut Wires, subscriber: usize, command: &str) -> Result<(), Fault> {
        let number = self.channels.len() + subscriber;
        let output = wires.output(number);
        output.extend_from_slice(format!("*2\r\n${}\r\n{command}\r\n$16\r\n", command.len()).as_bytes());
        output.extend_from_slice(&name(*b"chan", (subscriber % self.channels.len()) as u32));
        output.extend_from_slice(b"\r\n");
        wires.send(number)
    }

    /// Publishes the next messages when all have arrived; while draining lets the subscribers leave instead.
    fn go_on(&mut self, wires: &mut Wires, number: usize, is_draining: bool) -> Result<(), Fault> {
        let channel = &mut self.channels[number];
        let is_complete = channel.confirmed == channel.subscribers;
        if channel.is_leaving || !is_complete || channel.undelivered > 0 || channel.publishing > 0 {
            return Ok(());
        }
        if is_draining {
            (channel.is_leaving, channel.confirmed) = (true, 0);
            for subscriber in (number..self.subscribers.len()).step_by(self.channels.len()) {
                self.subscribers[subscriber].standing = Standing::Leaving;
                self.tell(wires, subscriber, "UNSUBSCRIBE")?;
            }
            return Ok(());
        }
        let output = wires.output(number);
        for _ in 0..self.pipeline {
            output.extend_from_slice(b"*3\r\n$7\r\nPUBLISH\r\n$16\r\n");
            output.extend_from_slice(&name(*b"chan", number as u32));
            output.extend_from_slice(b"\r\n");
            self.payload.append_value(number as u32, channel.next, output);
            channel.next += 1;
        }
        channel.due = Instant::now();
        channel.undelivered = self.pipeline * channel.subscribers;
        channel.publishing = self.pipeline;
        wires.send(number)
    }

    /// PUBLISH answers with the number of subscribers.
    fn published(&mut self, wires: &mut Wires, number: usize) -> Result<(), Fault> {
        let channel = &mut self.channels[number];
        let input = wires.input(number);
        let expected = format!(":{}\r\n", channel.subscribers);
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            if channel.publishing == 0 {
                return Err(Fault::unasked(rest));
            }
            let judged = must_begin(rest, &[expected.as_bytes()]);
            let Some(length) = judged.map_err(|offset| Fault::wrong("PUBLISH", offset, rest))? else { break };
            channel.publishing -= 1;
            at += length;
        }
        wires.consume(number, at);
        Ok(())
    }

    fn heard(&mut self, wires: &mut Wires, heard: usize, meter: &mut Meter) -> Result<(), Fault> {
        let (number, channel) = (self.channels.len() + heard, heard % self.channels.len());
        let input = wires.input(number);
        let now = Instant::now();
        let mut at = 0;
        while at < input.len() {
            let Some(length) = self.judge(heard, &input[at..])? else { break };
            at += length;
            let subscriber = &mut self.subscribers[heard];
            let channel = &mut self.channels[channel];
            match subscriber.standing {
                Standing::Joined => {
                    subscriber.next += 1;
                    channel.undelivered -= 1;
                    meter.count(channel.due, now);
                }
                Standing::Joining => {
                    subscriber.standing = Standing::Joined;
                    channel.confirmed += 1;
                }
                Standing::Leaving | Standing::Gone => {
                    subscriber.standing = Standing::Gone;
                    channel.confirmed += 1;
                }
            }
        }
        wires.consume(number, at);
        self.go_on(wires, channel, meter.is_draining())
    }

    /// How many bytes are what `heard` must hear next; `None` while they are incomplete.
    fn judge(&self, heard: usize, input: &[u8]) -> Result<Option<usize>, Fault> {
        let Subscriber { standing, next } = self.subscribers[heard];
        let number = (heard % self.channels.len()) as u32;
        let confirmed = |command: &str, left: u8| {
            let head = format!("*3\r\n${}\r\n{command}\r\n$16\r\n", command.len());
            let parts = [head.as_bytes(), &name(*b"chan", number), b"\r\n:", &[left], b"\r\n"];
            must_begin(input, &parts).map_err(|at| Fault::wrong(command, at, input))
        };
        match standing {
            Standing::Joining => confirmed("subscribe", b'1'),
            Standing::Leaving => confirmed("unsubscribe", b'0'),
            Standing::Joined if next < self.channels[number as usize].next => {
                let mut head = *b"*3\r\n$7\r\nmessage\r\n$16\r\n................\r\n";
                head[22..38].copy_from_slice(&name(*b"chan", number));
                let judged = self.payload.must_be_value(input, &head, number, next, b"\r\n");
                judged.map_err(|at| Fault::wrong(format!("message {next} of channel {number}"), at, input))
            }
            Standing::Joined | Standing::Gone => Err(Fault::unasked(input)),
        }
    }
}

impl Load for Channels {
    fn connections(&self) -> usize {
        self.channels.len() + self.subscribers.len()
    }

    fn begin(&mut self, wires: &mut Wires) -> Result<(), Fault> {
        (0..self.subscribers.len()).try_for_each(|subscriber| self.tell(wires, subscriber, "SUBSCRIBE"))
    }

    fn received(&mut self, wires: &mut Wires, number: usize, meter: &mut Meter) -> Result<(), Fault> {
        if number >= self.channels.len() {
            return self.heard(wires, number - self.channels.len(), meter);
        }
        self.published(wires, number)?;
        self.go_on(wires, number, meter.is_draining())
    }

    fn waiting(&self) -> usize {
        self.subscribers.iter().filter(|subscriber| subscriber.standing != Standing::Gone).count()
    }
}
