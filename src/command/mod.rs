//! What a request means: one row of data a command. Pure.

mod spec;

pub use spec::{Compare, Effect, Keys, Lane, Retry, Spec};
