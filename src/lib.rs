//! Redhold: one Redis endpoint that does not go away.
//!
//! The modules in the order a request meets them: [`resp`] finds where a request ends, [`command`] says what
//! it means, [`session`] what this client may do next, [`users`] who may come in, [`routing`] where it goes, [`backend`] carries it to a
//! node, [`frontend`] owns the clients' sockets. Beside the journey stand [`topology`] (who exists),
//! [`failover`] (who should lead, decided without I/O), [`control`] (the hands and eyes of that decision),
//! [`admin`], [`telemetry`] and [`traces`]; [`supervisor`] tells systemd; [`config`] fills everyone's settings and [`app`] wires the parts together.

#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod backend;
pub mod cli;
pub mod command;
pub mod config;
pub mod control;
pub mod durability;
pub mod error;
pub mod failover;
pub mod frontend;
pub mod net;
pub mod resp;
pub mod routing;
pub mod session;
pub mod supervisor;
pub mod telemetry;
pub mod topology;
pub mod traces;
mod upgrade;
pub mod users;
