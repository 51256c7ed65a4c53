//! Clients that wait at lists: some push elements, others pop them with BLPOP.
//!
//! Two clients pop from a list, a third one pushes `pipeline` elements at once and the next ones when all of these were
//! popped. So at most that many can be popped at any time: each must be one of them, is struck off when it comes, and
//! a client that pops a lower one after a higher one has seen them out of order.

use std::time::Instant;

use crate::Args;
use crate::driver::{self, Load, Meter, Outcome};
use crate::fault::Fault;
use crate::keyspace::ask_in_turn;
use crate::payload::{Payload, name};
use crate::stream::Dial;
use crate::wires::Wires;

/// Clients that pop from one list.
const POPPERS: usize = 2;

/// Empties the lists, loads the target, and sees that they are empty again.
///
/// # Errors
/// An element lost, popped twice or out of order, any other wrong reply, a lost connection, a stall.
pub(crate) fn run(args: &Args) -> Result<Outcome, Fault> {
    let lists = Lists::new(args);
    let names: Vec<[u8; 16]> = (0..lists.lists.len() as u32).map(|list| name(*b"list", list)).collect();
    let (target, origin) = (Dial::target(args)?, Dial::origin(args));
    let ask = |dial, command: &str, may_be: &[&[u8]]| {
        let requests = names.iter().map(|name| {
            let mut request = format!("*2\r\n${}\r\n{command}\r\n$16\r\n", command.len()).into_bytes();
            request.extend_from_slice(name);
            request.extend_from_slice(b"\r\n");
            request
        });
        ask_in_turn(dial, requests, may_be)
    };
    ask(&target, "DEL", &[b":0\r\n", b":1\r\n"])?;
    ask(&origin, "LLEN", &[b":0\r\n"])?;
    let outcome = driver::drive(args, lists)?;
    ask(&origin, "LLEN", &[b":0\r\n"])?;
    Ok(outcome)
}

/// All lists. List `n` has the connection `n` to be pushed to, the connections after these pop from the lists in turn.
struct Lists {
    payload: Payload,
    pipeline: u32,
    lists: Vec<List>,
    poppers: Vec<Popper>,
}

struct List {
    /// The number of the next element.
    next: u32,
    /// Pushed and not popped, in order, and since when.
    unpopped: Vec<(u32, Instant)>,
    /// Pushes without a reply.
    pushing: u32,
    /// Clients that wait for an element.
    popping: usize,
}

#[derive(Clone, Default)]
struct Popper {
    is_waiting: bool,
    last: Option<u32>,
}

impl Lists {
    fn new(args: &Args) -> Self {
        let clients = args.clients as usize;
        let list = || List { next: 0, unpopped: Vec::new(), pushing: 0, popping: 0 };
        Self {
            payload: Payload::new(args.size),
            pipeline: args.pipeline,
            lists: std::iter::repeat_with(list).take(clients.div_ceil(POPPERS)).collect(),
            poppers: vec![Popper::default(); clients],
        }
    }

    fn pop(&mut self, wires: &mut Wires, popper: usize) -> Result<(), Fault> {
        let list = popper % self.lists.len();
        self.lists[list].popping += 1;
        self.poppers[popper].is_waiting = true;
        let number = self.lists.len() + popper;
        let output = wires.output(number);
        output.extend_from_slice(b"*3\r\n$5\r\nBLPOP\r\n$16\r\n");
        output.extend_from_slice(&name(*b"list", list as u32));
        output.extend_from_slice(b"\r\n$1\r\n0\r\n");
        wires.send(number)
    }

    /// Pushes the next elements when all are popped. While draining only as many as clients still wait for, so that in
    /// the end nobody waits and every list is empty.
    fn push(&mut self, wires: &mut Wires, number: usize, is_draining: bool) -> Result<(), Fault> {
        let list = &mut self.lists[number];
        if !list.unpopped.is_empty() || list.pushing > 0 {
            return Ok(());
        }
        let count = if is_draining { self.pipeline.min(list.popping as u32) } else { self.pipeline };
        let output = wires.output(number);
        let due = Instant::now();
        for _ in 0..count {
            output.extend_from_slice(b"*3\r\n$5\r\nRPUSH\r\n$16\r\n");
            output.extend_from_slice(&name(*b"list", number as u32));
            output.extend_from_slice(b"\r\n");
            self.payload.append_value(number as u32, list.next, output);
            list.unpopped.push((list.next, due));
            list.next += 1;
        }
        list.pushing += count;
        wires.send(number)
    }

    /// RPUSH answers with the length of the list, in which the elements under way are at most.
    fn pushed(&mut self, wires: &mut Wires, number: usize) -> Result<(), Fault> {
        let list = &mut self.lists[number];
        let input = wires.input(number);
        let mut at = 0;
        while let Some(length) = input[at..].iter().position(|byte| *byte == b'\n') {
            let line = &input[at..=at + length];
            if list.pushing == 0 {
                return Err(Fault::unasked(line));
            }
            let text = line.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b"\r\n"));
            let count = text.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            if !count.is_some_and(|count: u32| (1..=self.pipeline).contains(&count)) {
                return Err(Fault::wrong("RPUSH", 0, line));
            }
            list.pushing -= 1;
            at += length + 1;
        }
        wires.consume(number, at);
        Ok(())
    }

    /// Which element arrived, as its place among those that can be popped, and how many bytes it takes; `None` while it
    /// is incomplete.
    fn find(&self, number: usize, input: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
        let list = &self.lists[number];
        let mut head = *b"*2\r\n$16\r\n................\r\n";
        head[9..25].copy_from_slice(&name(*b"list", number as u32));
        let mut is_incomplete = false;
        for (place, (element, _)) in list.unpopped.iter().enumerate() {
            match self.payload.must_be_value(input, &head, number as u32, *element, b"\r\n") {
                Ok(Some(length)) => return Ok(Some((place, length))),
                Ok(None) => is_incomplete = true,
                Err(_) => {}
            }
        }
        if is_incomplete {
            return Ok(None);
        }
        let elements: Vec<u32> = list.unpopped.iter().map(|(element, _)| *element).collect();
        Err(Fault::wrong(format!("BLPOP of list {number}, which holds {elements:?}"), 0, input))
    }

    fn popped(&mut self, wires: &mut Wires, popper: usize, meter: &mut Meter) -> Result<(), Fault> {
        let (number, list) = (self.lists.len() + popper, popper % self.lists.len());
        let input = wires.input(number);
        if !self.poppers[popper].is_waiting {
            return Err(Fault::unasked(input));
        }
        let Some((place, length)) = self.find(list, input)? else { return Ok(()) };
        if input.len() > length {
            return Err(Fault::unasked(&input[length..]));
        }
        let (element, due) = self.lists[list].unpopped.remove(place);
        if self.poppers[popper].last.is_some_and(|last| last > element) {
            return Err(Fault::wrong(format!("BLPOP of list {list}: OUT OF ORDER"), 0, input));
        }
        self.poppers[popper] = Popper { is_waiting: false, last: Some(element) };
        self.lists[list].popping -= 1;
        meter.count(due, Instant::now());
        wires.consume(number, length);
        if !meter.is_draining() || self.lists[list].unpopped.len() > self.lists[list].popping {
            self.pop(wires, popper)?;
        }
        self.push(wires, list, meter.is_draining())
    }
}

impl Load for Lists {
    fn connections(&self) -> usize {
        self.lists.len() + self.poppers.len()
    }

    fn begin(&mut self, wires: &mut Wires) -> Result<(), Fault> {
        for popper in 0..self.poppers.len() {
            self.pop(wires, popper)?;
        }
        for list in 0..self.lists.len() {
            self.push(wires, list, false)?;
        }
        Ok(())
    }

    fn received(&mut self, wires: &mut Wires, number: usize, meter: &mut Meter) -> Result<(), Fault> {
        if number >= self.lists.len() {
            return self.popped(wires, number - self.lists.len(), meter);
        }
        self.pushed(wires, number)?;
        self.push(wires, number, meter.is_draining())
    }

    fn waiting(&self) -> usize {
        self.lists.iter().map(|list| list.pushing as usize + list.unpopped.len() + list.popping).sum()
    }
}
