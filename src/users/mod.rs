//! Users of the proxy's own, `[[users]]`: who may come in, as whom it works on the nodes, and how fast. Pure.
//!
//! What a user may do Redis judges, since only Redis sees which keys a script, a SORT with BY or a module touches: a user is
//! given to every node, or names one that the nodes have. Where nodes cannot be given users, its keys are judged here, and
//! whatever touches keys that the request does not name is refused.

mod keys;
mod rate;
mod user;

pub use keys::Patterns;
pub use rate::{Meter, Rate};
pub use user::{Digest, USERS_MAX, User, named, prove};
