//! What a server says, word for word, when its role or state forbids it to execute anything.

use crate::support::{Client, LONG, Value, eventually, for_each_server};

#[test]
fn refusals_for_role_and_state_are_these_words() {
    for_each_server(|version, client| {
        let name = if version.name.starts_with("valkey") { "Valkey" } else { "Redis" };
        let said = |text: &str| Value::Error(text.to_owned());
        // Every 2 MiB a server that loads looks at its clients.
        client.call("DEBUG POPULATE 100 key 100000");
        assert_eq!(client.call("CONFIG SET rdbcompression no"), Value::ok());
        assert_eq!(client.call("CONFIG SET key-load-delay 10000"), Value::ok());
        let mut other = Client::connect(client.address());
        client.send(&["DEBUG", "RELOAD"]);
        let loading = said(&format!("LOADING {name} is loading the dataset in memory"));
        let mut last = Value::Nil;
        eventually(LONG, "it says that it loads", || {
            last = other.call("GET none");
            last != Value::Nil
        });
        assert_eq!(last, loading, "{}", version.name);
        assert_eq!(client.read(), Value::ok());

        assert_eq!(client.call("REPLICAOF 127.0.0.1 1"), Value::ok());
        let readonly = said("READONLY You can't write against a read only replica.");
        assert_eq!(client.call("SET k v"), readonly, "{}", version.name);
        assert_eq!(client.call("CONFIG SET replica-serve-stale-data no"), Value::ok());
        let down = said("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.");
        assert_eq!(client.call("GET k"), down, "{}", version.name);
    });
}
