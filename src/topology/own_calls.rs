//! What Redhold itself asks of a node, so that it can be left out of what clients read of the node's statistics.

use std::collections::BTreeMap;

/// How errors begin that a node gives instead of executing anything; it counts them apart.
const REFUSALS: [&[u8]; 5] = [b"NOPERM ", b"NOAUTH ", b"BUSY ", b"LOADING ", b"MASTERDOWN "];

/// Commands that are counted with their subcommand.
const CONTAINERS: [&str; 7] = ["client", "config", "acl", "script", "function", "pubsub", "slowlog"];

/// Calls of a command, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// All of them.
    pub all: u64,
    /// Those that ended with an error.
    pub failed: u64,
}

/// How often a node executed what Redhold asked for itself, since its statistics were last reset through Redhold, by the names
/// under which the node counts: `ping`, `client|id`. There are as many names as commands that Redhold uses, a few dozen.
#[derive(Debug, Default)]
pub struct OwnCalls(BTreeMap<String, Calls>);

impl OwnCalls {
    /// The node has executed this and answered with `error`, if it is one (without its dash). What a node refuses to execute it
    /// does not count as a call.
    pub fn note(&mut self, name: &str, error: Option<&[u8]>) {
        if error.is_some_and(|words| REFUSALS.iter().any(|refusal| words.starts_with(refusal))) {
            return;
        }
        let calls = self.0.entry(name.to_owned()).or_default();
        calls.all += 1;
        calls.failed += u64::from(error.is_some());
    }

    /// The node counts from zero again.
    pub fn reset(&mut self) {
        self.0.clear();
    }

    /// How many of the calls that the node has `counted` under this name were not Redhold's. When it counted fewer than Redhold
    /// knows of, somebody else made it begin anew, as a restart does: then Redhold begins anew as well. Before 7.0 subcommands
    /// are counted under their container.
    pub fn others(&mut self, name: &str, counted: Calls) -> Calls {
        let is_part =
            |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'));
        let own = self.0.iter().filter(|(key, _)| is_part(key)).fold(Calls::default(), |sum, (_, own)| {
            Calls { all: sum.all + own.all, failed: sum.failed + own.failed }
        });
        if own.all > counted.all {
            self.0.retain(|key, _| !is_part(key));
            return counted;
        }
        Calls { all: counted.all - own.all, failed: counted.failed.saturating_sub(own.failed) }
    }
}

/// The name under which a node counts a request with these words.
#[must_use]
pub fn counted_as(words: &[&[u8]]) -> String {
    let lower = |word: &[u8]| String::from_utf8_lossy(word).to_ascii_lowercase();
    let name = words.first().map_or_else(String::new, |word| lower(word));
    match words.get(1).filter(|_| CONTAINERS.contains(&name.as_str())) {
        Some(sub) => format!("{name}|{}", lower(sub)),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::{Calls, OwnCalls, counted_as};

    #[test]
    fn what_redhold_asked_is_told_from_what_others_did() {
        let mut own = OwnCalls::default();
        ["ping", "ping", "client|id", "client|setname"].into_iter().for_each(|name| own.note(name, None));
        let mut others = |name: &str, all| own.others(name, Calls { all, failed: 0 }).all;
        assert_eq!((others("ping", 2), others("ping", 5), others("get", 7)), (0, 3, 7));
        assert_eq!((others("client|id", 1), others("client", 6)), (0, 4));
        assert_eq!((others("ping", 1), others("ping", 1)), (1, 1), "it was started again");
        own.reset();
        assert_eq!(own.others("client", Calls { all: 6, failed: 0 }).all, 6);
    }

    #[test]
    fn failures_are_told_from_refusals() {
        let mut own = OwnCalls::default();
        own.note("client|no-evict", Some(b"ERR Unknown subcommand"));
        own.note("client|no-evict", Some(b"NOPERM this user has no permissions"));
        own.note("client|id", None);
        let counted = Calls { all: 4, failed: 2 };
        assert_eq!(own.others("client", counted), Calls { all: 2, failed: 1 });
    }

    #[test]
    fn a_subcommand_is_counted_by_itself() {
        assert_eq!(counted_as(&[b"CLIENT", b"Id"]), "client|id");
        assert_eq!(counted_as(&[b"PING", b"x"]), "ping");
        assert_eq!(counted_as(&[b"INFO", b"server"]), "info");
    }
}
