//! Sockets that face clients. [`Frontend`] is the whole of it to the outside; inside, start at `connection.rs`.

mod client;
mod client_command;
mod connection;
mod control_doors;
mod cursor;
mod dispatch;
mod idle;
mod lane;
mod lane_loss;
mod large;
mod listener;
mod monitor_line;
mod own;
mod parked;
mod pinned_hold;
mod pinned_lane;
mod proxy_command;
mod proxy_read;
mod proxy_right;
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

pub use control_doors::Control;
pub use listener::{Bound, bind};
pub use serve::{Frontend, Parts};
pub use settings::{Listen, Settings};
