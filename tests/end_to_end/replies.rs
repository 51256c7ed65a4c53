//! A server, and the proxy in front of another, are sent the same random stream of everything that the command table
//! names: their replies are the same as far as those of two servers are.

use crate::support::{Proxy, V7_0, compare, seed};

/// Requests when nobody asks for more by `STREAM`.
const REQUESTS: usize = 6_000;

#[test]
fn the_proxy_answers_as_the_server_itself_does() {
    let (seed, requests) = seed(REQUESTS);
    let (direct, behind) = (V7_0.start(), V7_0.start());
    let proxy = Proxy::start(&[behind.address()]);
    let findings = compare(V7_0, direct.address(), proxy.address(), seed, requests);
    assert!(findings.faults.is_empty(), "{}", findings.faults.join("\n"));
}
