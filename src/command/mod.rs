//! What a request means: one row of data a command. Pure.
//!
//! `classify` finds a request's row and says where the request goes, what it does and whether it may be sent again;
//! `keys` names its keys, `reach` whether they are all that it concerns, `secrets` what nobody is shown. `table` holds the
//! rows, `spec` says what their columns mean, `words` how people read them.

mod args;
mod classify;
mod keys;
mod lookup;
mod secrets;
mod spec;
mod table;
mod visible;
mod words;

pub use args::Args;
pub use classify::{Class, classify, classify_partial, is_reserved, is_sentinels, redirected_to};
pub use keys::{Reach, keys, reach};
pub use lookup::{RowId, find, is_container, is_known_by_name, rows};
pub use secrets::is_secret;
pub use spec::{Compare, Effect, Keys, Lane, Releases, Retry, Rule, Servers, Spec};
pub use visible::{names_its_first_alone, names_its_keys};
