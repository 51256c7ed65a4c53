//! What a client may be told that Redis would not say: whose fault, what may have happened, whether to retry.

use std::time::Duration;

/// A failure of the proxy or of the group behind it, as one RESP error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The outage outlasted the hold. Not executed; trying again is safe.
    HoldExpired {
        /// `failover.hold`
        hold: Duration,
    },
    /// No replica may answer reads, and the primary is not to. Not executed; trying again is safe.
    NoReplica {
        /// `failover.hold`
        hold: Duration,
    },
    /// The primary is there, and no connection to it could be opened. Not executed; trying again is safe.
    OutOfReach {
        /// `failover.hold`
        hold: Duration,
        /// Why the last attempt failed, in the words of the node or of the system.
        said: String,
    },
    /// The connection was lost after the request was sent. Unknown; trying again may execute it twice.
    Ambiguous {
        /// Epoch under which it was sent.
        from: u64,
        /// Present epoch, equal to `from` while no primary was published since.
        to: u64,
    },
    /// What was asked of a write by `[durability]` does not hold.
    Undurable(Undurable),
    /// `durability.reads = "committed"`: nobody vouches for what a read shows, or would show. Nothing was changed; trying again
    /// is safe.
    Uncommitted,
    /// A request in flight when its node died, of a kind that may have killed it. Reads only: nothing was changed.
    InFlightAtDeath {
        /// The node's address.
        node: String,
    },
    /// No connection of its own is to be had. Not executed; trying again is safe.
    NoConnection {
        /// `backend.pinned_max` in force.
        pinned_max: usize,
    },
    /// Redhold owns this command. Not executed.
    Managed {
        /// Upper case name.
        command: String,
    },
    /// Redhold owns this setting. Not executed.
    ManagedSetting {
        /// CONFIG, the subcommand and the setting.
        what: String,
    },
    /// In a transaction, whose reply is not rewritten. Not executed.
    Hidden {
        /// Upper case name.
        command: String,
    },
    /// What would let replies go by uncounted. Not executed.
    Uncounted {
        /// What is refused, and where.
        refused: &'static str,
    },
    /// CLIENT TRACKING with REDIRECT to a client that is not subscribed. Not executed.
    Redirect,
    /// An operator ordered that writes are refused. Not executed; trying again is safe.
    ReadOnly,
    /// Not for who the client is, in words that begin as Redis's do. Not executed.
    Unauthorised {
        /// The error.
        words: &'static str,
    },
    /// Its user has sent as much as it may. Not executed; trying again later is safe.
    RateLimited {
        /// Name of the user.
        user: String,
        /// `rate` of the user, as it is written.
        rate: String,
    },
    /// A channel of Redhold's own. Not executed.
    Reserved {
        /// Upper case name.
        command: String,
    },
    /// A message where Sentinels greet one another. Not executed.
    Forged {
        /// Upper case name.
        command: String,
    },
    /// A SCAN cursor of another epoch. Not executed; start again from 0.
    Cursor {
        /// Epoch of the cursor.
        of: u64,
        /// Present epoch.
        now: u64,
    },
    /// A request of a mebibyte or more, which is not kept, was cut before its last byte was sent. Not executed.
    LargeCut,
    /// A request that was kept to be sent can not be read any more: a fault of the proxy. It stands in the place of a
    /// reply, because without one every later reply would be taken for another request's.
    Unreadable,
    /// A request of a mebibyte or more of a kind that Redhold answers itself or has to keep. Not executed.
    TooLarge {
        /// Upper case name.
        command: String,
    },
    /// A transaction that ended before its EXEC was executed: lost, or held for too long. Nothing of it was executed.
    TransactionLost {
        /// Why it could not be played again.
        reason: &'static str,
    },
}

/// Why nobody can say that a write is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undurable {
    /// The primary has executed it, and too few replicas have said in time that they have it. Trying again executes it
    /// twice.
    Missed {
        /// Replicas that have it.
        acknowledged: u32,
        /// `durability.replicas`
        replicas: u32,
        /// `durability.timeout`
        timeout: Duration,
    },
    /// The primary has executed it, and not said in time that it is on its disk. Trying again executes it twice.
    Unsynced {
        /// `durability.timeout`
        timeout: Duration,
    },
    /// The same of its disk or those of replicas.
    MissedDisks {
        /// 1: it is on the primary's.
        local: u32,
        /// Replicas that have it on theirs.
        acknowledged: u32,
        /// `durability.replicas`
        replicas: u32,
        /// `durability.timeout`
        timeout: Duration,
    },
    /// The primary has executed it, and with its reply more would wait than a client may be owed. Trying again executes it twice.
    Unawaited,
    /// Fewer replicas follow the primary than are to have it. Not executed; trying again is safe.
    NoReplicas,
    /// The primary lets nobody ask. Not executed; trying again is safe.
    Unasked {
        /// Its words.
        said: String,
    },
}

impl std::fmt::Display for Undurable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missed { acknowledged, replicas, timeout } => write!(
                f,
                "NOTDURABLE executed on the primary, acknowledged by {acknowledged} of {replicas} replicas within {} ms",
                timeout.as_millis()
            ),
            Self::Unsynced { timeout } => write!(
                f,
                "NOTDURABLE executed on the primary, not on its disk within {} ms",
                timeout.as_millis()
            ),
            Self::MissedDisks { local, acknowledged, replicas, timeout } => write!(
                f,
                "NOTDURABLE executed on the primary, on the disks of {local} of 1 primary and {acknowledged} of {replicas} \
                 replicas within {} ms",
                timeout.as_millis()
            ),
            Self::Unawaited => f.write_str(
                "NOTDURABLE executed on the primary, and not waited for: more than limits.client_output would wait for replicas",
            ),
            Self::NoReplicas => f.write_str("NOREPLICAS Not enough good replicas to write."),
            Self::Unasked { said } => {
                write!(f, "ERR durability.mode can not be kept ({said}); command was not executed")
            }
        }
    }
}

const RESERVED: &str = "ERR channels whose names begin with __redhold: are Redhold's own";
const FORGED: &str =
    "to __sentinel__:hello is refused by Redhold, which would take the client for a Sentinel; not executed";
const REDIRECT: &str = "ERR CLIENT TRACKING with REDIRECT: the other client has no connection of its own; SUBSCRIBE \
     __redis__:invalidate there first; not executed";

const READ_ONLY: &str =
    "READONLY You can't write: Redhold refuses writes by order (PROXY READONLY ON); command was not executed";

const UNCOMMITTED: &str =
    "TRYAGAIN what was read is not known to be held by enough replicas; nothing was changed";

fn waited(f: &mut std::fmt::Formatter<'_>, lacks: &str, hold: Duration) -> std::fmt::Result {
    write!(f, "TRYAGAIN {lacks} for {} ms; command was not executed", hold.as_millis())
}

impl std::fmt::Display for Failure {
    /// The error's text without the leading `-` and the trailing CRLF.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HoldExpired { hold } => waited(f, "no writable primary", *hold),
            Self::NoReplica { hold } => waited(f, "no eligible replica", *hold),
            Self::OutOfReach { hold, said } => write!(
                f,
                "TRYAGAIN no connection to the primary could be opened for {} ms ({said}); command was not executed",
                hold.as_millis()
            ),
            Self::Ambiguous { from, to } if from == to => write!(
                f,
                "AMBIGUOUS write may have been executed: connection to the primary lost (epoch {from}), not retried"
            ),
            Self::Ambiguous { from, to } => write!(
                f,
                "AMBIGUOUS write may have been executed: connection to the primary lost (epoch {from}->{to}), not retried"
            ),
            Self::Undurable(undurable) => undurable.fmt(f),
            Self::Uncommitted => f.write_str(UNCOMMITTED),
            Self::InFlightAtDeath { node } => write!(
                f,
                "TRYAGAIN request was in flight when node {node} died; it changed nothing and was not sent again"
            ),
            Self::NoConnection { pinned_max } => {
                write!(f, "ERR proxy has no free backend connection (pinned_max {pinned_max}), not executed")
            }
            Self::Managed { command } => {
                write!(f, "ERR {command} is managed by Redhold, see PROXY SWITCHOVER")
            }
            Self::ManagedSetting { what } => write!(
                f,
                "ERR {what} is managed by Redhold, which keeps the group together by it; nothing was changed \
                 (proxy.owned_commands = \"pass\" lets it through)"
            ),
            Self::Hidden { command } => write!(
                f,
                "ERR {command} is refused in a transaction: proxy.hide_topology keeps replicas' addresses to itself"
            ),
            Self::Uncounted { refused } => write!(f, "ERR {refused}; not executed"),
            Self::Redirect => f.write_str(REDIRECT),
            Self::ReadOnly => f.write_str(READ_ONLY),
            Self::Unauthorised { words } => f.write_str(words),
            Self::RateLimited { user, rate } => {
                write!(f, "ERR user '{user}' may send {rate} and has; command was not executed")
            }
            Self::Reserved { command } => write!(f, "{RESERVED}; {command} was not executed"),
            Self::Forged { command } => write!(f, "ERR {command} {FORGED}"),
            Self::Cursor { of, now } => {
                write!(f, "ERR cursor belongs to epoch {of} (now {now}): start again from 0")
            }
            Self::LargeCut => f.write_str(
                "TRYAGAIN connection to the primary lost while a large request was sent; it was not executed",
            ),
            Self::Unreadable => f.write_str("ERR the proxy can not read a request that it kept, not sent"),
            Self::TooLarge { command } => {
                write!(f, "ERR {command} is not taken by Redhold in a request of 1 MiB or more; not executed")
            }
            Self::TransactionLost { reason } => {
                write!(f, "EXECABORT Transaction discarded: {reason}; not executed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Undurable};
    use std::time::Duration;

    /// One of each, as README.md shows them.
    fn all() -> Vec<Failure> {
        let hold = Duration::from_secs(5);
        vec![
            Failure::HoldExpired { hold },
            Failure::NoReplica { hold },
            Failure::OutOfReach { hold, said: "ERR max number of clients reached".to_owned() },
            Failure::Ambiguous { from: 41, to: 42 },
            Failure::Undurable(Undurable::Missed {
                acknowledged: 0,
                replicas: 1,
                timeout: Duration::from_millis(200),
            }),
            Failure::Undurable(Undurable::Unsynced { timeout: Duration::from_millis(200) }),
            Failure::Undurable(Undurable::MissedDisks {
                local: 1,
                acknowledged: 0,
                replicas: 1,
                timeout: Duration::from_millis(200),
            }),
            Failure::Undurable(Undurable::Unawaited),
            Failure::Undurable(Undurable::NoReplicas),
            Failure::Undurable(Undurable::Unasked { said: "...".to_owned() }),
            Failure::Uncommitted,
            Failure::InFlightAtDeath { node: "10.0.0.1:6379".to_owned() },
            Failure::NoConnection { pinned_max: 9800 },
            Failure::Managed { command: "REPLICAOF".to_owned() },
            Failure::ManagedSetting { what: "CONFIG SET repl-timeout".to_owned() },
            Failure::Hidden { command: "INFO".to_owned() },
            Failure::Uncounted {
                refused: "CLIENT REPLY OFF and SKIP are refused by Redhold from WATCH or MULTI to EXEC and while subscribed",
            },
            Failure::Redirect,
            Failure::Reserved { command: "PUBLISH".to_owned() },
            Failure::Cursor { of: 41, now: 42 },
            Failure::LargeCut,
            Failure::Unreadable,
            Failure::TooLarge { command: "SCAN".to_owned() },
            Failure::TransactionLost { reason: "..." },
            Failure::ReadOnly,
            Failure::Unauthorised {
                words: "NOPERM No permissions to access a key: Redhold can not tell which ones this command touches",
            },
            Failure::RateLimited { user: "app".to_owned(), rate: "10000/s".to_owned() },
            Failure::Forged { command: "PUBLISH".to_owned() },
        ]
    }

    /// Stops the build when there is another one, which then belongs into the list above.
    fn place(failure: &Failure) -> usize {
        match failure {
            Failure::HoldExpired { .. } => 0,
            Failure::NoReplica { .. } => 1,
            Failure::OutOfReach { .. } => 2,
            Failure::Ambiguous { .. } => 3,
            Failure::Undurable(Undurable::Missed { .. }) => 4,
            Failure::Undurable(Undurable::Unsynced { .. }) => 5,
            Failure::Undurable(Undurable::MissedDisks { .. }) => 6,
            Failure::Undurable(Undurable::Unawaited) => 7,
            Failure::Undurable(Undurable::NoReplicas) => 8,
            Failure::Undurable(Undurable::Unasked { .. }) => 9,
            Failure::Uncommitted => 10,
            Failure::InFlightAtDeath { .. } => 11,
            Failure::NoConnection { .. } => 12,
            Failure::Managed { .. } => 13,
            Failure::ManagedSetting { .. } => 14,
            Failure::Hidden { .. } => 15,
            Failure::Uncounted { .. } => 16,
            Failure::Redirect => 17,
            Failure::Reserved { .. } => 18,
            Failure::Cursor { .. } => 19,
            Failure::LargeCut => 20,
            Failure::Unreadable => 21,
            Failure::TooLarge { .. } => 22,
            Failure::TransactionLost { .. } => 23,
            Failure::ReadOnly => 24,
            Failure::Unauthorised { .. } => 25,
            Failure::RateLimited { .. } => 26,
            Failure::Forged { .. } => 27,
        }
    }

    #[test]
    fn every_reply_that_redis_would_not_give_stands_in_the_table_of_the_readme() {
        let readme = include_str!("../README.md");
        let missing: Vec<String> = all()
            .iter()
            .map(|failure| format!("| `-{failure}`"))
            .filter(|row| !readme.contains(row.as_str()))
            .collect();
        assert_eq!(missing, Vec::<String>::new());
        assert!(all().iter().map(place).eq(0..28));
    }
}
