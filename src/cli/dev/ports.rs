//! Ports that nobody listens on at the moment of asking. Someone may take one before it is used, so callers try again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// How many ports above a taken one are tried.
const TRIES: u16 = 100;

/// Nodes live below the ports that the kernel gives to outgoing connections (32768 and up on Linux): a probe of a dead node whose own
/// port happens to be the node's would connect to itself and answer its own PING.
const NODE_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// `wanted`, or the same address with the next port that is free.
///
/// # Errors
/// A sentence, when the address is not of this machine, may not be bound, or none of the next ports is free.
pub(crate) fn next_free(wanted: SocketAddr) -> Result<SocketAddr, String> {
    let mut address = wanted;
    for port in wanted.port()..wanted.port().saturating_add(TRIES) {
        address.set_port(port);
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(format!("cannot listen on {address}: {error}")),
        }
    }
    Err(format!("{wanted} and the {TRIES} ports above are all taken"))
}

/// Free loopback ports for nodes. The search begins at a place that differs from process to process.
#[derive(Debug)]
pub(super) struct NodePorts {
    next: u16,
}

impl NodePorts {
    /// Begins the search.
    pub(super) fn new() -> Self {
        let span = u32::from(NODE_PORTS.end - NODE_PORTS.start);
        let start = std::process::id().wrapping_mul(37) % span;
        Self { next: NODE_PORTS.start + u16::try_from(start).unwrap_or(0) }
    }

    /// The next one that nobody listens on; `None` when there is none at all.
    pub(super) fn take(&mut self) -> Option<u16> {
        for _ in NODE_PORTS {
            let port = self.next;
            self.next = if port + 1 == NODE_PORTS.end { NODE_PORTS.start } else { port + 1 };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Some(port);
            }
        }
        None
    }
}
