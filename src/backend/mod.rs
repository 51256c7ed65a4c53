//! Sockets that face Redis. Knows nothing of clients: whoever sends is a [`Caller`].
//!
//! * [`Pools`] opens [`Pipeline`]s on demand: shared connections, one [`Identity`] each for life.
//! * [`Pinned`] is a connection lent to one caller.

mod caller;
mod dial;
mod identity;
mod introduce;
mod owed;
mod pinned;
mod pipeline;
mod pool;
mod sampler;
mod send_log;
mod settings;
mod task;
mod trouble;

pub use caller::{BigReply, Caller, ROW_BITS, Slow, Traced, Unanswered};
pub use dial::{Busy, DialError, Dialled, dial};
pub use identity::{Identity, Introduction, Login};
pub use owed::Past;
pub use pinned::{Piece, Pinned};
pub use pipeline::{Carries, Pipeline, Surroundings, Target, first_len};
pub use pool::Pools;
pub use sampler::Sampler;
pub use settings::Settings;
pub use trouble::Trouble;
