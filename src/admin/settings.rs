//! `[admin]` as used.

use std::net::SocketAddr;

use crate::net::ServerFiles;

use super::{Grant, TokenFile};

/// The admin endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `admin.listen`
    pub listen: SocketAddr,
    /// `admin.token_file`; `None`, and no `roles`: orders need none, and come from this machine.
    pub token: Option<TokenFile>,
    /// `admin.roles`
    pub roles: Vec<Grant>,
    /// `[admin.tls]`; `None`: no TLS.
    pub tls: Option<ServerFiles>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9380)), token: None, roles: Vec::new(), tls: None }
    }
}
