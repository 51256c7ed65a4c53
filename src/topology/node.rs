//! Names of nodes: newtypes that cannot be mixed up.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Most nodes at a time.
pub const NODES_MAX: usize = 256;

/// Names a node for as long as it is declared, whatever nodes come and go beside it. A list of nodes is in the order of their ids, and
/// who is looked for in one is [found](find) by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl NodeId {
    /// Where something of this node stands in what has a place for every id, of [`NODES_MAX`].
    #[must_use]
    pub fn slot(self) -> usize {
        usize::from(self.0)
    }
}

/// What a list has of one node.
pub trait OfNode {
    /// Of whom.
    fn node(&self) -> NodeId;
}

/// Where `node` stands in a list that is in the order of ids; `None`: it is not in it.
#[must_use]
pub fn position<T: OfNode>(list: &[T], node: NodeId) -> Option<usize> {
    list.binary_search_by_key(&node, OfNode::node).ok()
}

/// What a list in the order of ids has of `node`.
#[inline]
#[must_use]
pub fn find<T: OfNode>(list: &[T], node: NodeId) -> Option<&T> {
    // Where none was ever taken out of the list, ids are positions.
    match list.get(node.slot()) {
        Some(found) if found.node() == node => Some(found),
        _ => find_moved(list, node),
    }
}

#[cold]
fn find_moved<T: OfNode>(list: &[T], node: NodeId) -> Option<&T> {
    position(list, node).map(|at| &list[at])
}

/// Host and port of a redis-server, as written or as another node knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Host name or address literal, IPv6 without brackets; shared, since it goes along with many connections.
    pub host: Arc<str>,
    /// TCP port, never 0.
    pub port: u16,
}

/// Why a text is not a `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(pub String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not host:port or [v6]:port", self.0)
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || AddressError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(fault)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(fault)?,
            None if host.contains(':') => return Err(fault()),
            None => host,
        };
        let port: u16 = port.parse().map_err(|_| fault())?;
        if host.is_empty() || port == 0 {
            return Err(fault());
        }
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A node as the configuration declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Where the proxy reaches it.
    pub address: Address,
    /// Where the other nodes reach it; learned from INFO when absent.
    pub peer_address: Option<Address>,
    /// Failure domain, for the preference of reads; empty: none.
    pub zone: String,
    /// Preference among equally fresh candidates, higher first; 0 is never promoted.
    pub priority: u32,
}

/// Nodes that nobody has named so far, in the order of their declaration.
#[must_use]
pub fn numbered(specs: &[NodeSpec]) -> Vec<(NodeId, NodeSpec)> {
    (0..).map(NodeId).zip(specs.iter().cloned()).collect()
}

/// What a node says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepts writes, as far as it knows.
    Primary,
    /// Follows another node (or the sealing address).
    Replica,
}
