//! What the frontend holds of the control thread: for PROXY, and for what nodes refuse.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::backend::{Identity, Login};
use crate::control::{Credentials, Parity, Signals, StatusReader};
use crate::resp::Proto;
use crate::topology::{Orders, Reread, Restraints, Upgrade};

/// See the module's text. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    /// Reads what is known of the group.
    pub status: StatusReader,
    /// Places orders.
    pub orders: Orders,
    /// Tells what nodes refused.
    pub signals: Signals,
    /// Takes what every node has to have.
    pub parity: Parity,
    /// Orders what is to wait or to be refused.
    pub restraints: Restraints,
    /// Orders that the configuration is read again.
    pub rereads: Orders<Reread>,
    /// Orders that another process takes over.
    pub upgrades: Orders<Upgrade>,
    /// Begins the drain of the process; true for the call that did.
    pub drain: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The proxy's own, for questions about users.
    pub credentials: Credentials,
}

impl Control {
    /// The proxy's own user.
    pub(super) fn identity(&self) -> Identity {
        let Credentials { username, password } = &self.credentials;
        let login = (!username.is_empty() || !password.is_empty()).then(|| {
            let user = (!username.is_empty()).then(|| username.clone().into_bytes());
            Rc::new(Login { user, secret: Zeroizing::new(password.clone().into_bytes()), introduction: None })
        });
        Identity { login, proto: Proto::Resp2, db: 0 }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}
