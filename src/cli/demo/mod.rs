//! `redhold demo`: the throwaway group under load, a kill -9 of its primary, and what the clients saw of it.

mod args;
mod child;
mod load;
mod readback;
mod report;
mod run;
mod view;

#[cfg(test)]
mod tests;

pub(crate) use args::DemoArgs;
pub(crate) use run::run;
