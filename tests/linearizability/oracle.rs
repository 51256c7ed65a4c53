//! The judge beside a search through all orders, on small random histories.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq};
use proptest::test_runner::{Config, TestRunner};
use stateright::semantics::register::{Register, RegisterOp, RegisterRet};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use crate::history::{Kind, Operation};
use crate::judge::judge;

/// Operations of a history, and clients that do them.
const OPERATIONS: usize = 7;
const CLIENTS: usize = 3;
/// Histories that are compared, and of these at least so many of each sort, or nothing is proven.
const HISTORIES: u32 = 10_000;
const LEAST: u32 = HISTORIES / 10;

/// Clients that call and return in turns, one operation each at a time; `rolls` decides.
fn played(rolls: &[u8]) -> Vec<(usize, Operation)> {
    let mut history: Vec<(usize, Operation)> = Vec::new();
    let mut open: Vec<Option<usize>> = vec![None; CLIENTS];
    // A client that never hears of its write is a client no more.
    let mut silent = [false; CLIENTS];
    let (mut now, mut written) = (0, 0);
    for roll in rolls {
        now += 1;
        let (client, roll) = (usize::from(*roll) % CLIENTS, u64::from(*roll) / CLIENTS as u64);
        if let Some(index) = open[client].take() {
            silent[client] = matches!(history[index].1.kind, Kind::Write(_)) && roll % 6 == 0;
            history[index].1.returned = (!silent[client]).then_some(now);
        } else if history.len() < OPERATIONS && !silent[client] {
            written += roll % 2;
            let read = Kind::Read(Some(roll / 2 % (written + 2)).filter(|value| *value > 0));
            let kind = if roll % 2 == 1 { Kind::Write(written) } else { read };
            open[client] = Some(history.len());
            history.push((client, Operation { key: 0, kind, called: now, returned: None }));
        }
    }
    // A read that never returned tells nothing.
    history.retain(|(_, operation)| operation.returned.is_some() || matches!(operation.kind, Kind::Write(_)));
    history
}

/// The search: every order that the calls and returns allow.
fn search(history: &[(usize, Operation)]) -> bool {
    let mut tester: LinearizabilityTester<usize, Register<u64>> = LinearizabilityTester::new(Register(0));
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (index, (_, operation)) in history.iter().enumerate() {
        events.push((operation.called, index, true));
        events.extend(operation.returned.map(|returned| (returned, index, false)));
    }
    events.sort_unstable();
    for (_, index, is_call) in events {
        let (client, operation) = &history[index];
        let (call, ret) = match operation.kind {
            Kind::Write(value) => (RegisterOp::Write(value), RegisterRet::WriteOk),
            Kind::Read(value) => (RegisterOp::Read, RegisterRet::ReadOk(value.unwrap_or(0))),
        };
        if is_call {
            tester.on_invoke(*client, call).expect("one at a time");
        } else {
            tester.on_return(*client, ret).expect("it was called");
        }
    }
    tester.is_consistent()
}

#[test]
fn the_judge_agrees_with_a_search_through_all_orders() {
    let mut runner = TestRunner::new(Config::with_cases(HISTORIES));
    let of_each = [Cell::new(0), Cell::new(0)];
    let done = runner.run(&vec(any::<u8>(), 24), |rolls| {
        let history = played(&rolls);
        let operations: Vec<Operation> = history.iter().map(|(_, operation)| *operation).collect();
        let verdict = judge(&operations);
        prop_assert_eq!(verdict.is_ok(), search(&history), "{:?}: {:#?}", verdict, operations);
        let count = &of_each[usize::from(verdict.is_ok())];
        count.set(count.get() + 1);
        Ok(())
    });
    done.unwrap_or_else(|fault| panic!("{fault}"));
    assert!(of_each.iter().all(|count| count.get() >= LEAST), "too few of one sort: {of_each:?}");
}
