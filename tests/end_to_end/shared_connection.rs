//! The shared-connection rule: whatever one client sends can not close, block, desynchronise or re-identify a
//! connection that it shares.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use redhold::command::{Keys, Lane, Spec, rows};

use crate::support::{
    Bystander, Client, Group, Proxy, ProxyOptions, ServerOptions, Value, applies, chosen, encode,
};

/// How long a request may take to show that it parks its client.
const PATIENCE: Duration = Duration::from_millis(150);

/// One pipeline for all, so that whoever shares at all shares with everybody.
fn one_pipeline(group: &Group) -> ProxyOptions {
    ProxyOptions::new(&group.addresses()).set("proxy.workers", "1").set("backend.pipelines_max", "1")
}

#[track_caller]
fn two_bystanders(group: &Group, proxy: &Proxy) -> [Bystander; 2] {
    [(); 2].map(|()| Bystander::start(proxy.address(), group.addresses()[0]))
}

/// Ends them. All that they may have met with is a database that somebody emptied between a write and the read of it.
#[track_caller]
fn were_left_alone(bystanders: [Bystander; 2]) {
    for bystander in bystanders {
        let (seen, _) = bystander.finish();
        assert!(seen.refused.iter().all(|told| told == "nil"), "{:?}", seen.refused);
    }
}

#[test]
fn every_row_with_good_and_bad_arguments_leaves_the_second_client_alone() {
    let options =
        ServerOptions::default().set("enable-debug-command", "yes").set("enable-module-command", "yes");
    let group = Group::plain_with(0, &options);
    let proxy = one_pipeline(&group).start();
    let bystanders = two_bystanders(&group, &proxy);
    let work = Mutex::new(rows().iter());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = work.lock().expect("no holder panics").next();
                    let Some(spec) = next else { break };
                    try_row(proxy.address(), spec);
                }
            });
        }
    });
    bystanders.iter().for_each(|bystander| bystander.wait_for(25));
    were_left_alone(bystanders);
    assert_eq!(proxy.status()["epoch"], 1, "no request made the proxy change the primary");
}

fn try_row(address: SocketAddr, spec: &Spec) {
    let name: Vec<&str> = spec.name.split('|').collect();
    let least = usize::from(spec.arity.unsigned_abs());
    let mut requests = vec![name.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()];
    for count in [least, least + 1, least + 4] {
        requests.push(plausible(&name, spec, count));
    }
    for request in requests.into_iter().filter(|request| !ends_the_test(request)) {
        converse(address, spec, &request);
    }
}

/// Arguments of the right number, with keys, counts and words where the row says that they stand.
fn plausible(name: &[&str], spec: &Spec, count: usize) -> Vec<String> {
    let mut request: Vec<String> = name.iter().map(|&word| word.to_owned()).collect();
    while request.len() < count {
        let at = request.len() as i64;
        let is_key = match spec.keys {
            Keys::Range(first, last, _) => at >= i64::from(first) && (last < 0 || at <= i64::from(last)),
            Keys::None
            | Keys::Counted { .. }
            | Keys::Streams
            | Keys::Sort
            | Keys::Geo
            | Keys::Migrate
            | Keys::Opaque => false,
        };
        request.push(if is_key { format!("key:{at}") } else { "1".to_owned() });
    }
    request
}

/// Those that do to the whole server what they are for, and with it to the second client.
fn ends_the_test(request: &[String]) -> bool {
    let words: Vec<String> = request.iter().map(|word| word.to_lowercase()).collect();
    let starts =
        |with: &[&str]| words.iter().zip(with).all(|(word, with)| word == with) && words.len() >= with.len();
    starts(&["client", "pause"]) || starts(&["client", "kill"]) || starts(&["shutdown"])
}

/// Sends the request and then one whose reply is known, and reads what comes: the client may be parked, turned into a
/// subscriber, or closed, but what it gets begins with RESP.
fn converse(address: SocketAddr, spec: &Spec, request: &[String]) {
    let mut client = Client::connect(address);
    client.set_read_timeout(PATIENCE);
    let mut bytes = encode(request);
    bytes.extend(encode(&["ECHO", "marker"]));
    client.send_raw(&bytes);
    let mut replies = 0;
    loop {
        match client.try_read() {
            Ok(reply) if reply == Value::bulk("marker") => break,
            Ok(_) => replies += 1,
            Err(fault) => {
                assert!(fault.kind() != std::io::ErrorKind::InvalidData, "{request:?}: {fault}");
                return;
            }
        }
    }
    if spec.lane == Lane::Shared {
        assert_eq!(replies, 1, "{request:?} has exactly one reply");
    }
}

#[test]
fn good_requests_that_leave_state_behind_leave_it_with_their_client() {
    let group = Group::plain_with(0, &ServerOptions::default().set("enable-debug-command", "yes"));
    let proxy = one_pipeline(&group).start();
    let bystanders = two_bystanders(&group, &proxy);
    let debugs = applies(!chosen().valkey, "a client that debugs scripts and leaves is survived");
    let mut kept = Vec::new();
    for requests in [
        &["SELECT 3"][..],
        &["MULTI", "SET k v"],
        &["WATCH k"],
        &["SUBSCRIBE c"],
        &["PSUBSCRIBE *"],
        &["SSUBSCRIBE c"],
        &["MONITOR"],
        &["HELLO 3"],
        &["HELLO 3", "CLIENT TRACKING ON BCAST"],
        &["CLIENT REPLY OFF"],
        &["CLIENT REPLY SKIP"],
        &["CLIENT SETNAME mine"],
        &["CLIENT NO-EVICT ON"],
        &["BLPOP none 0"],
        &["XREAD BLOCK 0 STREAMS none $"],
        &["WAIT 3 0"],
        &["DEBUG SLEEP 0.05"],
        &["ASKING"],
        &["READONLY"],
        &["AUTH nobody nothing"],
        &["RESET"],
        &["CLIENT CACHING YES"],
        if debugs { &["SCRIPT DEBUG YES"] } else { &[] },
        &["EVAL return 0"],
        &["FLUSHALL"],
        &["SWAPDB 0 1"],
        &["CONFIG RESETSTAT"],
        &["DEBUG RELOAD NOSAVE"],
        &["SORT_RO none BY nosort"],
        &["PSYNC ? -1"],
        &["SYNC"],
        &["REPLCONF ACK 0"],
        &["REPLICAOF NO ONE"],
        &["SLAVEOF 127.0.0.1 1"],
        &["SHUTDOWN NOSAVE"],
        &["FAILOVER ABORT"],
        &["RESTORE-ASKING k 0 x"],
        &["QUIT"],
    ] {
        let mut client = Client::connect(proxy.address());
        for request in requests {
            client.send(&request.split(' ').collect::<Vec<_>>());
        }
        kept.push(client);
        bystanders.iter().for_each(|bystander| bystander.wait_for(5));
    }
    let mut fresh = Client::connect(proxy.address());
    assert_eq!(fresh.pipeline(&["SET zero 0", "GET zero"])[1], Value::bulk("0"));
    assert_eq!(fresh.call("CLIENT GETNAME"), Value::Nil);
    were_left_alone(bystanders);
    drop(kept);
    let mut node = group.nodes()[0].client();
    assert_eq!(node.call("ROLE").items()[0], Value::bulk("master"), "nobody made it follow another");
}
