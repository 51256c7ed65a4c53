//! The columns of the command table.

/// Whether a command changes data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reads keys only; a replica may answer it unless `primary_only`.
    Read,
    /// May change data (or publishes, or runs code that may).
    Write,
    /// Neither: speaks of the server or the connection.
    Neutral,
}

/// Where a request goes. The shell asks this first; see "Where requests go" in ARCHITECTURE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A shared pipeline: exactly one reply, never blocks, leaves no state, cannot close the connection.
    Shared,
    /// As `Shared`, and the cursor in its argument and reply carries the epoch.
    Scan,
    /// The session answers or remembers: HELLO, AUTH, SELECT, RESET, QUIT, CLIENT SETNAME/GETNAME/SETINFO/….
    Session,
    /// Redhold's own client table: CLIENT ID/INFO/LIST/KILL/UNBLOCK….
    Clients,
    /// MULTI, EXEC, DISCARD, WATCH, UNWATCH: pinned until the transaction is over.
    Transaction,
    /// May block: pinned until its reply.
    Blocking,
    /// WAIT, WAITAOF: pinned behind a barrier.
    Wait,
    /// The SUBSCRIBE family: a connection of its own until nothing is subscribed.
    Subscribe,
    /// MONITOR: a connection of its own for life.
    Monitor,
    /// CLIENT TRACKING and CACHING: a connection of its own until OFF or RESET.
    Tracking,
    /// CLIENT REPLY, NO-EVICT, NO-TOUCH: a connection of its own.
    ReplyMode,
    /// A connection of its own that is closed after the reply. Unknown commands come here.
    Own,
    /// Redhold owns it: refused or translated (REPLICAOF, PSYNC, SHUTDOWN, FAILOVER …).
    Owned,
    /// `PROXY …`.
    Proxy,
}

/// What may be done when the connection is lost after the request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// A plain read: sent again.
    Read,
    /// The second execution leaves the same data and gives the same reply: sent again if configured.
    Idempotent,
    /// Outcome unknown: `-AMBIGUOUS`.
    Never,
    /// Parked until something happens elsewhere: not executed while parked, issued again.
    Parked,
}

/// How two servers' replies to the same request are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Byte for byte.
    Exact,
    /// As sets.
    Unordered,
    /// Same RESP type (and length class) only.
    Shape,
    /// Not at all: speaks of the process itself.
    Skip,
}

/// Key positions in Redis's own terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// No keys.
    None,
    /// `first`, `last` (negative: from the end), `step`, 1-based as in `COMMAND INFO`.
    Range(i8, i8, i8),
    /// A count argument at `count` is followed by that many keys (EVAL, ZUNION, LMPOP …); `fixed` is one more
    /// key position before it (ZUNIONSTORE's destination), 0 when none.
    Counted {
        /// Position of the number of keys.
        count: i8,
        /// Position of a destination key, or 0.
        fixed: i8,
    },
    /// After the word STREAMS: the first half of what follows (XREAD, XREADGROUP).
    Streams,
    /// Only the server can name them (SORT BY/GET, MIGRATE, modules).
    Opaque,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Lower case; a subcommand is written `parent|sub`, as Redis does.
    pub name: &'static str,
    /// As in `COMMAND INFO`: the exact number of arguments with the name, or the negated least number.
    pub arity: i8,
    /// Key positions.
    pub keys: Keys,
    /// Read, write or neither.
    pub effect: Effect,
    /// Where it goes.
    pub lane: Lane,
    /// What a lost connection allows.
    pub retry: Retry,
    /// Can run long on big data or by design, so that a node's silence is explained by it.
    pub long: bool,
    /// Never goes to a replica although it does not write.
    pub primary_only: bool,
    /// How replies compare.
    pub compare: Compare,
}
