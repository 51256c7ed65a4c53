//! `status --watch` on a terminal: a view that fills it, as `top` does.
//!
//! What is known and what keys do is a value ([`view`]), what of it is drawn where a function of that value and of the size of the
//! terminal ([`draw`], [`panel`]); [`screen`] alone has a terminal, threads and a clock.

mod draw;
mod panel;
mod screen;
mod text;
mod view;

pub(super) use screen::watch;
