//! Who exists: the declared nodes, and what was last seen of each of them. Pure, but for the atomics in
//! `live` and the channels in `orders` and `restraints`.

mod live;
mod lost;
mod node;
mod observation;
mod orders;
mod own_calls;
mod refused_users;
mod remedy;
mod restraints;
#[cfg(test)]
mod seeded;
mod toll;

pub use live::{Marks, NodeMarks};
pub use lost::{LostRequest, LostRequests, Suspicion, Told};
pub use node::{Address, AddressError, NODES_MAX, NodeId, NodeSpec, OfNode, Role, find, numbered, position};
pub use observation::{Health, Observation, Replication};
pub use orders::{Answer, Order, Orders, Placed, Reread, Upgrade, orders};
pub use own_calls::{Calls, OwnCalls, counted_as};
pub use refused_users::{RefusalTold, RefusedUsers};
pub use remedy::Remedy;
pub use restraints::{Numbered, Restraint, Restraints};
#[cfg(test)]
pub(crate) use seeded::seeded;
pub use toll::{Toll, Tolls};
