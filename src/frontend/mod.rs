//! Sockets that face clients. [`Frontend`] is the whole of it to the outside; inside, start at `connection.rs`.

mod admission;
mod alike;
mod arrivals;
mod barrier_line;
mod batching;
mod big_keys;
mod big_sent;
mod blanks;
mod busy_clients;
mod client;
mod client_command;
mod connection;
mod control_doors;
mod cursor;
mod dispatch;
mod doorway;
mod durable;
mod entrance;
mod handed;
mod hidden;
mod hot_keys;
mod idle;
mod inactive;
mod kept_back;
mod lane;
mod lane_loss;
mod large;
mod lent;
mod listener;
mod lost_request;
mod maintenance;
mod memory;
mod monitor_line;
mod notices;
mod own;
mod own_calls;
mod own_writes;
mod parity;
mod park;
mod parked;
mod pinned_hold;
mod pinned_lane;
mod pinned_reply;
mod proxy_command;
mod proxy_header;
mod proxy_look;
mod proxy_read;
mod proxy_right;
mod pubsub;
mod purpose;
mod redirect;
mod redo;
mod registry;
mod restrained;
mod scripts;
mod serve;
mod server_time;
mod session;
mod settings;
mod shared;
mod slow_log;
mod stream;
mod tag;
mod tls;
mod traffic;
mod two_windows;
mod users;
mod wait_lane;
mod window;
mod withhold;
mod worker;
mod written;

// For fuzz/: readers of what strangers send.
#[doc(hidden)]
pub use {
    cursor::{Stamper, stamp_reply, strip},
    monitor_line::{is_line, is_redholds},
    proxy_header::header_of,
};

pub use batching::Batching;
pub use control_doors::Control;
pub use entrance::Entrance;
pub use handed::{HandOver, Handed};
pub use listener::{Bound, bind};
pub use serve::{Frontend, Parts};
pub use settings::{Limits, LimitsInForce, Listen, Settings};
