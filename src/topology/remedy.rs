//! Whether a refusal for the state of the primary is about to end.

/// What is being done about a primary that refuses writes with MISCONF (its disk fails) or NOREPLICAS (it lacks replicas).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remedy {
    /// It is not known to refuse any; if it has begun to just now, that is being looked at.
    #[default]
    Unjudged,
    /// Another node is about to lead, or replicas are being attached: what was refused is worth keeping back.
    UnderWay,
    /// Nothing can be done: its words are for the client.
    Nowhere,
}
