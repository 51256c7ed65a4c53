//! The failover machine without any I/O: scenarios as text, a seeded simulation, and its diagram.

mod diagram;
mod model;
mod quorum;
mod scenarios;
mod script;
mod simulation;
#[path = "../support/size.rs"]
mod size;
mod words;
mod world;
