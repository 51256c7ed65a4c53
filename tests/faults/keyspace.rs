//! `KEYS *` over millions of keys.

use crate::support::{Bystander, Group, Memory, ProxyOptions, ServerOptions, Value};

const KEYS: usize = 2_000_000;
/// Least bytes of a reply of that many keys.
const REPLY: u64 = 30_000_000;

#[test]
fn keys_over_two_million_keys_pass_in_pieces() {
    let group = Group::plain_with(1, &ServerOptions::default().set("enable-debug-command", "yes"));
    assert_eq!(group.nodes()[0].call(&format!("DEBUG POPULATE {KEYS}")), Value::ok());
    // A slow machine under load may need more than the ten seconds of the default.
    let proxy = ProxyOptions::new(&group.addresses())
        .noticing_silence()
        .set("health.busy_timeout", "\"120s\"")
        .start();
    let bystander = Bystander::start(proxy.address(), group.addresses()[0]);
    let memory = Memory::watch(proxy.pid());
    let mut client = proxy.client();
    client.set_read_timeout(std::time::Duration::from_secs(120));
    for _ in 0..2 {
        client.send_raw(b"*2\r\n$4\r\nKEYS\r\n$1\r\n*\r\n");
        let keys = client.read();
        let populated =
            keys.items().iter().filter(|key| key.text().is_some_and(|key| key.starts_with("key:")));
        assert_eq!(populated.count(), KEYS);
    }
    bystander.finish_undisturbed();
    assert_eq!(proxy.status()["epoch"], 1, "a silence that a request explains is no failure");
    memory.assert_grown_less(
        2 * REPLY,
        "one reply that its reader takes slower than the server sends it, and the room to grow (limits.client_output is the \
         bound)",
    );
}
