//! The configuration: as written (TOML, strings, units) and as used (everyone's `Settings`, filled).
//!
//! One table of keys ([`SECTIONS`]) says what exists, what it defaults to, what it means and where it goes;
//! reading, `redhold config` and `docs/configuration.md` all come from it. Every fault is collected, with its
//! key path and line.

mod checks;
mod durability;
mod fault;
mod keys;
mod kind;
mod later;
mod memory;
mod print;
mod proxy;
mod read;
mod reload;
mod roles;
mod rows;
mod tls;
mod traces;
mod units;
mod users;
mod value;

#[cfg(test)]
mod tests;

pub use fault::{Fault, Faults, Place};
pub use keys::SECTIONS;
pub use kind::{Declared, Form, Key, Kind, Preset, Section, Use};
pub use print::{full, reference};
pub use read::{Config, parse};
pub use reload::{Declare, Origin, Reload};
