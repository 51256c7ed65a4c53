//! The brain's hands and eyes: PING and INFO on a beat, actions carried out, the one publisher.

#[allow(dead_code, reason = "the driver, which lands next, uses it")]
mod actuator;
#[allow(dead_code, reason = "the driver, which lands next, uses it")]
mod brains;
#[allow(dead_code, reason = "the driver, which lands next, uses it")]
mod dice;
mod handle;
#[allow(dead_code, reason = "the driver, which lands next, uses it")]
mod info;
#[allow(dead_code, reason = "the driver, which lands next, uses it")]
mod link;
#[allow(dead_code, reason = "the driver, which lands next, uses it")]
mod monitor;
#[allow(dead_code, reason = "the driver, which lands next, uses it")]
mod record;
mod settings;
mod signals;
mod status;
#[cfg(test)]
mod testing;

pub use handle::Handle;
pub use record::StateError;
pub use settings::{Credentials, Settings};
pub use signals::Signals;
pub use status::{NodeFacts, SettingChanged, Status, StatusReader};
