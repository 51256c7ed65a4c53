//! What is known of single requests, keys and clients beside the numbers: values, and the handle by which they are asked for.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What clients do, at one moment. Texts that clients wrote are cut, and what is not printable in them is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that took `log.slowlog` or longer, the newest first.
    pub slow: Vec<SlowRequest>,
    /// Keys that are asked for most.
    pub hot_keys: HotKeys,
    /// Keys with the largest requests and replies.
    pub big_keys: BigKeys,
    /// Clients that ask for most, and those that hold most memory.
    pub clients: Vec<BusyClient>,
}

/// A request that took long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowRequest {
    /// When it was answered, whole seconds.
    pub at: SystemTime,
    /// From when it was handed to a connection until its reply was there, or for how long it was held.
    pub took: Duration,
    /// Its words, without secrets.
    pub request: String,
    /// The client's address.
    pub client: String,
    /// The client's name; empty: none.
    pub client_name: String,
    /// Address of the node where the time passed; `None`: the proxy held it.
    pub node: Option<String>,
    /// For how long the proxy held it before it was sent; not in `took`, if there is a node.
    pub held: Duration,
    /// What of `took` the node itself worked on it; `None`: its slow log knows nothing of it.
    pub server: Option<Duration>,
}

/// Keys that are asked for most, by a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HotKeys {
    /// How far back the sample goes.
    pub span: Duration,
    /// One of so many requests is sampled; 0: none is.
    pub one_in: u32,
    /// Keys that were sampled, each as often as it was.
    pub sampled: u64,
    /// The first first.
    pub keys: Vec<HotKey>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotKey {
    /// The key.
    pub key: String,
    /// Its database.
    pub db: u32,
    /// How often it was sampled at least.
    pub least: u64,
    /// How often it was sampled at most.
    pub most: u64,
}

/// Keys with the largest requests and replies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BigKeys {
    /// How far back they go.
    pub span: Duration,
    /// Bytes from which on one is remembered; `None`: none is.
    pub min_bytes: Option<u64>,
    /// Keys with the largest requests, the largest first.
    pub requests: Vec<BigKey>,
    /// Keys with the largest replies, the largest first.
    pub replies: Vec<BigKey>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigKey {
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
    /// When the largest passed, whole seconds.
    pub at: SystemTime,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusyClient {
    /// As CLIENT ID tells it.
    pub id: u64,
    /// Its address.
    pub address: String,
    /// Its name; empty: none.
    pub name: String,
    /// As whom it is authenticated.
    pub user: String,
    /// Its last command.
    pub command: String,
    /// Requests a second, of late.
    pub per_second: u64,
    /// Requests since it connected.
    pub requests: u64,
    /// Bytes of requests that are not served yet and of replies that it has not read.
    pub memory_bytes: u64,
    /// Since it connected.
    pub age: Duration,
}

/// Asks whoever serves the clients. Cheap to clone.
#[derive(Clone)]
pub struct TrafficReader(Arc<dyn Fn() -> Traffic + Send + Sync>);

impl TrafficReader {
    /// One that asks by this function.
    pub fn new(look: impl Fn() -> Traffic + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// What they do now. It takes a moment for each thousand of clients.
    #[must_use]
    pub fn look(&self) -> Traffic {
        (self.0)()
    }
}

impl fmt::Debug for TrafficReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrafficReader").finish_non_exhaustive()
    }
}
