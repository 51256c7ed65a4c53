//! Plumbing that everybody who owns a socket towards a node shares: how it is dialled and how it is set up; and
//! the certificates that TLS needs; and listening sockets that others opened.
//! Knows nothing of RESP, nodes or clients.

mod dial;
mod expiry;
mod inherited;
mod renewed;
mod session;
mod sockets;
mod stream;
mod tls;

pub use dial::connect;
#[cfg(test)]
pub(crate) use dial::moving;
pub use expiry::{Certificates, expiry_warning};
pub use inherited::Inherited;
pub use renewed::{Content, Files, Freshness, Renewed, keep_fresh};
pub use session::{accept, over_tls};
pub use sockets::SocketOptions;
pub use stream::{Stream, is_refusal};
#[cfg(test)]
pub(crate) use tls::testing;
pub use tls::{ClientFiles, Dialect, ServerFiles, TlsClient, TlsServer, named};
