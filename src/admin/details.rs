//! The part of `/api/status` that shows what clients ask for: their keys, words and addresses, for whom the guard lets see them.

use serde::{Deserialize, Serialize};

use crate::telemetry::{BigKey, BigKeys, BusyClient, HotKeys, SlowRequest, Traffic};

use super::time::{micros, millis, rfc3339};

/// What clients do. Texts that they wrote are cut, and what is not printable in them is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailsBody {
    /// Requests that took `log.slowlog` or longer, the newest first.
    pub slow: Vec<SlowBody>,
    /// Keys that are asked for most.
    pub hot_keys: HotKeysBody,
    /// Keys with the largest requests and replies; of a proxy that does not tell them none.
    #[serde(default)]
    pub big_keys: BigKeysBody,
    /// Clients: first those who ask for most, then those who hold most memory.
    pub clients: Vec<ClientBody>,
}

/// A request that took long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowBody {
    /// When it was answered.
    pub at: String,
    /// What it took, microseconds.
    pub took_us: u64,
    /// Its words, without secrets.
    pub request: String,
    /// The client's address.
    pub client: String,
    /// The client's name; empty: none.
    pub client_name: String,
    /// The node where the time passed; `None`: the proxy held it.
    pub node: Option<String>,
    /// For how long the proxy held it before it was sent, microseconds; not in `took_us`, if there is a node.
    pub held_us: u64,
    /// What of `took_us` the node itself worked on it; `None`: its slow log knows nothing of it.
    pub server_us: Option<u64>,
}

/// Keys that are asked for most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotKeysBody {
    /// How far back the sample goes.
    pub seconds: u64,
    /// One of so many requests is sampled; 0: none is.
    pub one_in: u32,
    /// Keys that were sampled, each as often as it was.
    pub sampled: u64,
    /// The hottest first.
    pub keys: Vec<HotKeyBody>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotKeyBody {
    /// The key.
    pub key: String,
    /// Its database.
    pub db: u32,
    /// How often it was sampled at least.
    pub at_least: u64,
    /// How often it was sampled at most.
    pub at_most: u64,
}

/// Keys with the largest requests and replies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BigKeysBody {
    /// How far back they go.
    pub seconds: u64,
    /// Bytes from which on one is remembered; `None`: none is.
    pub min_bytes: Option<u64>,
    /// Keys with the largest requests, the largest first.
    pub requests: Vec<BigKeyBody>,
    /// Keys with the largest replies, the largest first.
    pub replies: Vec<BigKeyBody>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BigKeyBody {
    /// The first key that the request names; empty: it names none, or it was not kept.
    pub key: String,
    /// How many it names.
    pub keys: u32,
    /// Its database.
    pub db: u32,
    /// The command.
    pub command: String,
    /// Bytes of the largest.
    pub bytes: u64,
    /// How often one was big, since the key is among the largest.
    pub times: u64,
    /// When the largest passed.
    pub at: String,
    /// The node that it went to or came from.
    pub node: String,
    /// The client's address.
    pub client: String,
    /// The client's name; empty: none.
    pub client_name: String,
    /// As whom the client is authenticated.
    pub user: String,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientBody {
    /// As CLIENT ID tells it.
    pub id: u64,
    /// Its address.
    pub address: String,
    /// Its name; empty: none.
    pub name: String,
    /// As whom it is authenticated.
    pub user: String,
    /// Its last command; empty: it sent none.
    pub command: String,
    /// Requests a second in the last seconds.
    pub requests_per_second: u64,
    /// Requests since it connected.
    pub requests: u64,
    /// Bytes of requests that are not served yet and of replies that it has not read.
    pub memory_bytes: u64,
    /// Since it connected.
    pub connected_for_ms: u64,
}

impl From<Traffic> for DetailsBody {
    fn from(traffic: Traffic) -> Self {
        Self {
            slow: traffic.slow.into_iter().map(Into::into).collect(),
            hot_keys: traffic.hot_keys.into(),
            big_keys: traffic.big_keys.into(),
            clients: traffic.clients.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<SlowRequest> for SlowBody {
    fn from(slow: SlowRequest) -> Self {
        Self {
            at: rfc3339(slow.at),
            took_us: micros(slow.took),
            request: slow.request,
            client: slow.client,
            client_name: slow.client_name,
            node: slow.node,
            held_us: micros(slow.held),
            server_us: slow.server.map(micros),
        }
    }
}

impl From<HotKeys> for HotKeysBody {
    fn from(hot: HotKeys) -> Self {
        let keys = hot.keys.into_iter().map(|key| HotKeyBody {
            key: key.key,
            db: key.db,
            at_least: key.least,
            at_most: key.most,
        });
        Self { seconds: hot.span.as_secs(), one_in: hot.one_in, sampled: hot.sampled, keys: keys.collect() }
    }
}

impl From<BigKeys> for BigKeysBody {
    fn from(big: BigKeys) -> Self {
        let told = |keys: Vec<BigKey>| keys.into_iter().map(Into::into).collect();
        Self {
            seconds: big.span.as_secs(),
            min_bytes: big.min_bytes,
            requests: told(big.requests),
            replies: told(big.replies),
        }
    }
}

impl From<BigKey> for BigKeyBody {
    fn from(big: BigKey) -> Self {
        Self {
            key: big.key,
            keys: big.keys,
            db: big.db,
            command: big.command,
            bytes: big.bytes,
            times: big.times,
            at: rfc3339(big.at),
            node: big.node,
            client: big.client,
            client_name: big.client_name,
            user: big.user,
        }
    }
}

impl From<BusyClient> for ClientBody {
    fn from(client: BusyClient) -> Self {
        Self {
            id: client.id,
            address: client.address,
            name: client.name,
            user: client.user,
            command: client.command,
            requests_per_second: client.per_second,
            requests: client.requests,
            memory_bytes: client.memory_bytes,
            connected_for_ms: millis(client.age),
        }
    }
}
