//! The control thread against real servers: adoption, crash, freeze, planned switch, restart, another brain.

#[path = "../support/mod.rs"]
mod support;

mod brain;
mod lives;
mod switches;
