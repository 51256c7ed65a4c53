//! Sockets that face clients. [`Frontend`] is the whole of it to the outside; inside, start at `connection.rs`.

mod client;
mod connection;
mod cursor;
mod dispatch;
mod lane;
mod lane_loss;
mod large;
mod listener;
mod own;
mod parked;
mod pinned_lane;
mod purpose;
mod redo;
mod registry;
mod serve;
mod session;
mod settings;
mod shared;
mod stream;
mod window;
mod worker;

pub use listener::{Bound, bind};
pub use serve::{Frontend, Parts};
pub use settings::{Listen, Settings};
