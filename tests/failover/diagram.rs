//! The diagram in the docs is the one that the machine obeys.

use std::path::Path;

use redhold::failover::Phase;

const BEGIN: &str = "```mermaid\n";
const END: &str = "```";

#[test]
fn the_documented_diagram_is_the_machines_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/failover.md");
    let text = std::fs::read_to_string(&path).expect("docs/failover.md is readable");
    let begin = text.find(BEGIN).expect("it has a mermaid block") + BEGIN.len();
    let end = begin + text[begin..].find(END).expect("the block ends");
    if std::env::var_os("UPDATE").is_some() {
        let fresh = format!("{}{}{}", &text[..begin], Phase::diagram(), &text[end..]);
        std::fs::write(&path, fresh).expect("docs/failover.md is writable");
        return;
    }
    assert_eq!(&text[begin..end], Phase::diagram(), "run UPDATE=1 cargo test --test failover diagram");
}

#[test]
fn every_state_is_reached_and_none_is_final() {
    for phase in Phase::ALL {
        let reached = phase == Phase::Discover || Phase::ALL.iter().any(|from| from.allowed(phase));
        assert!(reached, "{} is never entered", phase.name());
        let left = Phase::ALL.iter().any(|to| phase.allowed(*to));
        assert!(left, "{} cannot be left", phase.name());
    }
}
