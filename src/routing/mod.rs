//! Where a request goes: one immutable table with an epoch, one publisher, many readers.

mod choose;
mod publish;
mod settings;
mod table;

pub use choose::Choice;
pub use publish::{Cached, Publisher, Routes, publisher};
pub use settings::{DuringOutage, OwnWrites, ReadPolicy, Settings};
pub use table::{Gate, NodeRoute, RoutingTable};
