//! What clients did and saw.

/// One operation on one key, of which a client has one at a time. Instants count in nanoseconds from the start of the load, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub key: usize,
    pub kind: Kind,
    pub called: u64,
    /// `None`: nobody knows whether it was executed, nor when; later than its call, if at all.
    pub returned: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No two writes have the same value.
    Write(u64),
    /// `None`: the key was not there.
    Read(Option<u64>),
}

/// The same with one read that is out of date: a judge who does not see it sees nothing. `None`: no read is a whole write later than
/// another one.
pub fn with_a_stale_read(history: &[Operation]) -> Option<Vec<Operation>> {
    let mut planted = history.to_vec();
    for (index, read) in history.iter().enumerate().rev() {
        if !matches!(read.kind, Kind::Read(_)) {
            continue;
        }
        let before = |limit: u64| {
            let writes = history.iter().filter(move |write| write.key == read.key);
            let done = writes.filter_map(|write| match (write.kind, write.returned) {
                (Kind::Write(value), Some(returned)) if returned < limit => Some((write.called, value)),
                _ => None,
            });
            done.max()
        };
        if let Some((_, value)) = before(read.called).and_then(|(called, _)| before(called)) {
            planted[index].kind = Kind::Read(Some(value));
            return Some(planted);
        }
    }
    None
}
