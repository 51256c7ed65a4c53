//! The architecture test: arrows between folders, purity, homes of outside crates, lengths, documents, budgets, locks, metrics, `unsafe`. Each rule is a function
//! from files to faults, run over the repository and over a planted violation that it must find.

mod areas;
mod arrows;
mod dangers;
mod form;
mod locks;
mod metrics;
mod settings;
mod source;

/// Fails with every fault that a rule finds in the repository.
fn report(rule: fn(&[source::File]) -> Vec<String>) {
    let faults = rule(&source::repository());
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
