//! Plumbing that everybody who owns a socket towards a node shares: how it is dialled and how it is set up; and
//! the certificates that TLS needs.
//! Knows nothing of RESP, nodes or clients.

mod dial;
mod sockets;
mod tls;

pub use dial::connect;
#[cfg(test)]
pub(crate) use dial::moving;
pub use sockets::{SocketOptions, is_silent};
pub use tls::{Freshness, Server, ServerFiles};
