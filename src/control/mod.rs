//! The brain's hands and eyes: PING and INFO on a beat, actions carried out, the one publisher.

mod settings;

pub use settings::{Credentials, Settings};
