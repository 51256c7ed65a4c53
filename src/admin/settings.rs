//! `[admin]` as used.

use std::net::SocketAddr;

/// The admin endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `admin.listen`
    pub listen: SocketAddr,
}

impl Default for Settings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9380)) }
    }
}
