//! The failover machine without any I/O: scenarios as text, a seeded simulation, and its diagram.

mod diagram;
mod scenarios;
mod script;
