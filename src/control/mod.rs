//! The brain's hands and eyes: PING and INFO on a beat, actions carried out, the one publisher.

mod handle;
mod settings;
mod signals;
mod status;

pub use handle::Handle;
pub use settings::{Credentials, Settings};
pub use signals::Signals;
pub use status::{NodeFacts, SettingChanged, Status, StatusReader};
