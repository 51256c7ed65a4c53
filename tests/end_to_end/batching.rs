//! `proxy.batching`: a worker waits before it looks for replies, when many are to come.

use std::time::{Duration, Instant};

use crate::support::{Client, Group, ProxyOptions, Value};

/// Enough to be waited for.
const REQUESTS: usize = 64;

const WAIT: Duration = Duration::from_micros(400);

/// The shortest time in which requests that come at once are answered, of some tries.
fn shortest(batching: &str) -> Duration {
    let group = Group::plain(0);
    let options = ProxyOptions::new(&group.addresses()).set("proxy.batching", &format!("{batching:?}"));
    let proxy = options.start();
    let mut client: Client = proxy.client();
    let echo: [&str; REQUESTS] = ["ECHO x"; REQUESTS];
    let tries = (0..200).map(|_| {
        let start = Instant::now();
        assert_eq!(client.pipeline(&echo), vec![Value::bulk("x"); REQUESTS]);
        start.elapsed()
    });
    tries.min().expect("there are tries")
}

#[test]
fn a_fixed_wait_is_waited_however_fast_the_node_is() {
    let (none, waits) = (shortest("none"), shortest("400us"));
    println!("{REQUESTS} requests take {none:?} at least, with a wait {waits:?}");
    // Where the machine is busy either may take longer, but a wait never ends early.
    assert!(waits >= WAIT, "{waits:?}");
}
