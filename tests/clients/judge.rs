//! What holds for every library: nothing reached the application but what the contract allows, and the nodes have what it was told.

use std::collections::BTreeMap;

use crate::libraries::Library;
use crate::program::Seen;
use crate::support::{Client, Group, Proxy, Value, row_field};

/// What six writers of four requests and one transaction can have on their way when the primary dies. Replication is asynchronous:
/// what was acknowledged in that instant may be known to nobody.
const ON_THEIR_WAY: usize = 6 * 4 + 1;

/// The name of the test's own connections.
const GUEST: &str = "guest";

/// A connection of the test's own.
#[track_caller]
pub fn guest(proxy: &Proxy) -> Client {
    let mut guest = proxy.client();
    assert_eq!(guest.cmd(&["CLIENT", "SETNAME", GUEST]), Value::ok());
    guest
}

/// The library's connections as the proxy's CLIENT LIST shows them, by id.
#[derive(Debug)]
pub struct Connections(BTreeMap<String, String>);

impl Connections {
    /// Those of now.
    #[track_caller]
    pub fn of(proxy: &Proxy) -> Self {
        let list = guest(proxy).call("CLIENT LIST").text().expect("a list of clients");
        let theirs = list.lines().filter(|row| row_field(row, "name").as_deref() != Some(GUEST));
        Self(theirs.map(|row| (row_field(row, "id").expect("a row has an id"), row.to_owned())).collect())
    }

    /// None of them ended, whoever ended it: a library that came back by itself has hidden something.
    #[track_caller]
    pub fn still_there(&self, proxy: &Proxy, seen: &Seen) {
        let now = Self::of(proxy);
        for (id, row) in &self.0 {
            assert!(now.0.contains_key(id), "{}: this connection ended: {row}", seen.client);
        }
    }
}

/// Judges a run that is over.
#[track_caller]
pub fn judge(library: &Library, seen: &Seen, connections: &Connections, proxy: &Proxy, group: &Group) {
    assert_eq!(seen.client, format!("{} {}", library.name, library.version), "the library that was meant");
    // A transaction is never sent twice; SET is sent again, since a second one does no harm.
    assert_eq!(seen.ambiguous(), 0, "SET is sent again");
    assert!(seen.ambiguous_transactions <= 1, "{} ambiguous", seen.ambiguous_transactions);
    assert!(seen.longest_pause.as_secs() < 10, "{:?}", seen.longest_pause);
    assert_eq!(seen.jobs, ["first", "last"], "each job once");
    assert_eq!(seen.scripts, ["7", "14"], "a script and its reply, on either primary");
    assert_eq!(proxy.status()["epoch"], 2, "exactly one failover");
    for row in connections.0.values() {
        assert_eq!(row_field(row, "resp"), Some(library.resp.to_string()), "its protocol: {row}");
        assert_eq!(
            row_field(row, "lib-name").unwrap_or_default(),
            library.says,
            "what it calls itself: {row}"
        );
    }
    assert!(connections.0.len() >= 3, "{connections:?}");
    let leader = group.primary();
    let follower = 3 - leader;
    group.wait_following(follower, leader);
    for node in [leader, follower] {
        data(seen, &mut Client::connect(group.nodes()[node].address()));
    }
}

/// The node has what the application was told.
#[track_caller]
fn data(seen: &Seen, node: &mut Client) {
    let (mut missing, mut others) = (0, 0);
    assert_eq!(seen.writers.len(), 6);
    for (writer, (sent, replies)) in &seen.writers {
        assert_eq!(*sent, replies.len(), "every request of writer {writer} was answered");
        let keys: Vec<String> = (0..*sent).map(|sequence| format!("w:{writer}:{sequence}")).collect();
        let request = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect::<Vec<_>>();
        let values = node.cmd(&request);
        assert_eq!(values.items().len(), *sent);
        for (sequence, (value, reply)) in values.items().iter().zip(replies.chars()).enumerate() {
            let there = *value == Value::bulk(sequence.to_string());
            missing += usize::from(reply == 'o' && !there);
            others += usize::from(!there && *value != Value::Nil);
        }
    }
    assert_eq!(others, 0, "a key has what nobody wrote there");
    assert!(missing <= ON_THEIR_WAY, "{missing} acknowledged writes are missing");
    let first = &seen.writers[&0];
    let scanned = seen.scanned.expect("it scanned");
    assert!(scanned <= first.0 && scanned + ON_THEIR_WAY >= first.0, "{scanned} of {} keys", first.0);
    let counter = node.call("GET counter").text().and_then(|text| text.parse().ok()).unwrap_or(0usize);
    let most = seen.transactions + seen.ambiguous_transactions;
    assert!(
        counter <= most && counter + 1 >= seen.transactions,
        "{counter}, {} acknowledged",
        seen.transactions
    );
    assert_eq!(node.call("GET script"), Value::bulk("14"));
    assert_eq!(node.call("LLEN jobs"), Value::Int(0));
}
