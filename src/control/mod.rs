//! The brain's hands and eyes: PING and INFO on a beat, actions carried out, the one publisher.

mod actuator;
mod attached;
mod black_box;
mod brains;
mod capture;
mod caught_up;
mod coordinator;
mod declared;
mod dice;
mod driver;
mod handle;
mod heard;
mod info;
mod link;
mod monitor;
mod names;
mod parity;
mod preflight;
mod quarantine;
mod record;
mod settings;
mod signals;
mod start;
mod status;
#[cfg(test)]
mod testing;
mod watched;
mod weights;
mod yielding;

// For fuzz/: readers of what strangers say.
#[doc(hidden)]
pub use {brains::Identity, info::facts};

pub use crate::failover::SettingChanged;
pub use declared::{Declarations, Declared};
pub use handle::Handle;
pub use names::NodeName;
pub use parity::{NodeParity, Parity, ParityReport};
pub use preflight::{Finding, Severity, preflight};
pub use record::StartError;
pub use settings::{Credentials, Settings};
pub use signals::Signals;
pub use start::{Running, YIELDING, start};
pub use status::{NodeFacts, Quarantined, Status, StatusReader};
