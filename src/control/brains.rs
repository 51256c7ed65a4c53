//! Are we alone? Sentinels and other proxies that decide about the same nodes are listened for on every node, and
//! our own presence is announced.
//!
//! Sentinel publishes on `__sentinel__:hello` every two seconds, this proxy on `__redhold:hello`; both keep
//! connections with telling names. The announcement goes to replicas, where a message stays local and moves no
//! offset, and to a primary only while it has no replica: a message published on a primary that is about to be
//! replaced would make its history diverge and cost it a full resynchronisation.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::resp::Value;
use crate::topology::NodeId;

use super::link::{CLIENT_NAME, Dial, Fault, Link, within};
use super::monitor::Heard;

/// Where Sentinels greet one another.
const SENTINEL_HELLO: &str = "__sentinel__:hello";

/// Where proxies do.
const OUR_HELLO: &str = "__redhold:hello";

/// Both, and nothing else that anybody is likely to name. A pattern is neither in PUBSUB CHANNELS nor in NUMSUB, and
/// NUMPAT counts one that several proxies subscribe to once.
const HELLOS: &str = "__[rs]e[dn]*:hello";

/// Our greeting's beat; Sentinel's own is the same.
const HELLO_BEAT: Duration = Duration::from_secs(2);

/// A connection that was idle for longer may be a dead brain's, kept by a half-open TCP connection.
const LIVELY_SECONDS: u64 = 3;

/// Wait before a lost listener is dialled again, and for each answer of the node.
const PATIENCE: Duration = Duration::from_secs(1);

/// On whom our greeting to other brains is to be published.
pub(super) type Greeted = Arc<BTreeSet<NodeId>>;

/// Who we are among brains.
#[derive(Clone, Debug)]
pub struct Identity {
    /// 16 hex digits, new at each start.
    pub instance: Arc<str>,
}

impl Identity {
    /// The one called `instance`, or a new one.
    pub(super) fn of(instance: Option<Arc<str>>) -> Self {
        instance.map_or_else(|| Self::new(&mut super::dice::Dice::new()), |instance| Self { instance })
    }

    pub(super) fn new(dice: &mut super::dice::Dice) -> Self {
        Self { instance: format!("{:016x}", dice.next()).into() }
    }

    /// The name of our connections in CLIENT LIST.
    pub(super) fn client_name(&self) -> String {
        format!("{CLIENT_NAME}:{}", self.instance)
    }

    /// The other brains among the connections of CLIENT LIST.
    pub fn others_connected(&self, client_list: &str) -> Vec<String> {
        let mut found: Vec<String> =
            client_list.lines().filter_map(|line| self.other_connection(line)).collect();
        found.sort();
        found.dedup();
        found
    }

    fn other_connection(&self, line: &str) -> Option<String> {
        let part =
            |wanted: &str| line.split(' ').find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='));
        let name = part("name")?;
        if part("idle")?.parse::<u64>().ok()? > LIVELY_SECONDS {
            return None;
        }
        if let Some(sentinel) = name.strip_prefix("sentinel-") {
            return sentinel_called(sentinel);
        }
        self.proxy_called(name.strip_prefix(CLIENT_NAME)?.strip_prefix(':')?)
    }

    /// The other brain that published `payload` on `channel`, if it is one.
    pub fn other_speaker(&self, channel: &str, payload: &str) -> Option<String> {
        if channel == SENTINEL_HELLO {
            // ip, port, run id, epoch, name of the group, …
            return sentinel_called(payload.split(',').nth(2)?);
        }
        if channel == OUR_HELLO { self.proxy_called(payload) } else { None }
    }

    fn proxy_called(&self, instance: &str) -> Option<String> {
        let is_another = instance.len() == 16 && is_hex(instance) && instance != &*self.instance;
        is_another.then(|| format!("Redhold {instance}"))
    }
}

/// Both the connections' names and the greetings carry at least eight digits of the run id. Whoever may publish can say anything,
/// and what is none is not passed on to people.
fn sentinel_called(run_id: &str) -> Option<String> {
    let digits = run_id.get(..8).filter(|digits| is_hex(digits))?;
    Some(format!("Sentinel {digits}"))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Listens on one node, and greets there while `greets` is true for it, until the driver is gone.
pub(super) async fn listen(
    dial: Dial,
    identity: Identity,
    greets: watch::Receiver<Greeted>,
    sink: mpsc::Sender<Heard>,
) {
    while !sink.is_closed() {
        if let Ok((link, by_pattern)) = subscribe(&dial).await {
            let stands = &dial.marks.of(dial.node).pattern_stands;
            stands.store(by_pattern, Ordering::Relaxed);
            let _ = attend(&dial, &identity, &greets, &sink, link).await;
            stands.store(false, Ordering::Relaxed);
        }
        tokio::select! {
            () = sink.closed() => {}
            () = tokio::time::sleep(PATIENCE) => {}
        }
    }
}

/// Subscribes to both kinds of channels: sharded ones exist from 7.0 and are heard by sharded subscribers only. Whether
/// by pattern: a user with rights to single channels may not have it.
async fn subscribe(dial: &Dial) -> Result<(Link, bool), Fault> {
    let mut link = dial.open(within(PATIENCE)).await?;
    let by_pattern = link.call(&[&["PSUBSCRIBE", HELLOS]], within(PATIENCE)).await?[0].as_error().is_none();
    let by_name: [&[&str]; 2] = [&["SSUBSCRIBE", OUR_HELLO], &["SUBSCRIBE", SENTINEL_HELLO, OUR_HELLO]];
    link.send(&by_name[..2 - usize::from(by_pattern)], within(PATIENCE)).await?;
    Ok((link, by_pattern))
}

async fn attend(
    dial: &Dial,
    identity: &Identity,
    greets: &watch::Receiver<Greeted>,
    sink: &mpsc::Sender<Heard>,
    mut link: Link,
) -> Result<(), Fault> {
    let mut next_hello = Instant::now();
    loop {
        match link.receive(next_hello).await {
            Ok(message) => {
                if let Some(brain) =
                    message_of(&message).and_then(|(on, said)| identity.other_speaker(on, said))
                {
                    let _ = sink.send(Heard::OtherBrain(brain)).await;
                }
            }
            Err(Fault::Silent) if !sink.is_closed() => {
                let here = greets.borrow().contains(&dial.node);
                if here {
                    let _ = greet(dial, identity).await;
                }
                next_hello = Instant::now() + HELLO_BEAT;
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// Channel and payload of a published message; `None` for confirmations and refusals.
fn message_of(value: &Value) -> Option<(&str, &str)> {
    match value.as_array()? {
        [kind, channel, payload] if matches!(kind.as_str(), Some("message" | "smessage")) => {
            Some((channel.as_str()?, payload.as_str()?))
        }
        [kind, _, channel, payload] if kind.as_str() == Some("pmessage") => {
            Some((channel.as_str()?, payload.as_str()?))
        }
        _ => None,
    }
}

/// Says that we are here, by a sharded message where the server has them: pattern subscribers never see those.
async fn greet(dial: &Dial, identity: &Identity) -> Result<(), Fault> {
    let mut link = dial.open(within(PATIENCE)).await?;
    for verb in ["SPUBLISH", "PUBLISH"] {
        let reply = link.call(&[&[verb, OUR_HELLO, &identity.instance]], within(PATIENCE)).await?;
        if reply[0].as_error().is_none_or(|text| !text.starts_with("ERR unknown command")) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
