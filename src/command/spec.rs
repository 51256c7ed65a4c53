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
    /// As `Shared`, and what only Redhold subscribed to is left out of the reply.
    Pubsub,
    /// As `Shared`, on a pipeline that carries scripts and functions: others' requests behind one that runs for long would
    /// wait for its end, and never hear the server's `-BUSY`.
    Script,
    /// As `Shared`, and a change of what every node knows: SCRIPT LOAD, SCRIPT FLUSH.
    ScriptCache,
    /// The session answers or remembers: HELLO, AUTH, SELECT, RESET, QUIT, CLIENT SETNAME/GETNAME/SETINFO/….
    Session,
    /// Redhold's own client table: CLIENT ID/INFO/LIST/KILL/UNBLOCK….
    Clients,
    /// MULTI, EXEC, DISCARD, WATCH, UNWATCH: pinned until the transaction is over.
    Transaction,
    /// May wait for other clients: pinned until its reply. Exactly what has the retry class `Parked`.
    Blocking,
    /// Runs on the server's threads while its connection waits: pinned until its reply, leaves nothing behind.
    Threaded,
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

/// How the replies of two servers of one version compare that were sent the same requests. Errors are the same word for
/// word, except where nothing is compared. A script, a function or a transaction is as exact as what it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Byte for byte.
    Exact,
    /// As sets.
    Unordered,
    /// Same RESP type and number of elements only.
    Shape,
    /// Not at all: speaks of the process itself, or of its dice.
    Skip,
}

/// Key positions in Redis's own terms: what `COMMAND GETKEYS` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// No keys.
    None,
    /// `first`, `last` (negative: from the end), `step`, 1-based as in `COMMAND INFO`.
    Range(i8, i8, i8),
    /// A count argument at `count` is followed by that many keys, `step` apart (EVAL, ZUNION, LMPOP, MSETEX …);
    /// `fixed` is one more key position before it (ZUNIONSTORE's destination), 0 when none.
    Counted {
        /// Position of the number of keys.
        count: i8,
        /// Position of a destination key, or 0.
        fixed: i8,
        /// 2 where each key is followed by its value, else 1.
        step: i8,
    },
    /// After the word STREAMS: the first half of what follows (XREAD, XREADGROUP).
    Streams,
    /// The first argument, and the one that follows STORE (SORT). What BY and GET read, only the server can name.
    Sort,
    /// The first argument, and those that follow STORE or STOREDIST (GEORADIUS, GEORADIUSBYMEMBER).
    Geo,
    /// The third argument, or when it is empty those that follow KEYS (MIGRATE).
    Migrate,
    /// Only the server can name them (searches, unknown commands).
    Opaque,
}

/// How the arguments of one request change what its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// They do not.
    Fixed,
    /// SET: idempotent only with a value, an expiry or KEEPTTL; conditions and GET make the reply differ.
    Set,
    /// MSETEX: idempotent only without NX and XX behind the pairs.
    Pairs,
    /// EXPIREAT, PEXPIREAT: idempotent only without a condition, and not with a time before this one (in the command's
    /// unit): such a time deletes the key, and the second reply says that there is none.
    At(u64),
    /// XREAD, XREADGROUP: shared unless an argument is the word BLOCK. Without it XREAD is a plain read and
    /// XREADGROUP a write that is never repeated.
    Block,
    /// SORT, GEORADIUS: the server calls it a write and a replica refuses it; without STORE it may be sent again.
    Store,
    /// GETEX: without an option it may be sent again.
    Alone,
    /// CONFIG SET: Redhold's own when a parameter is one that it owns.
    Settings,
    /// PUBLISH, SUBSCRIBE and their sharded forms: Redhold's own when a channel's name is one that it keeps for itself.
    Reserved,
    /// CLIENT TRACKING: the id behind REDIRECT is Redhold's, and another one at the node.
    Redirect,
}

/// Releases of one server line that have a command: ten times the major plus the minor, `before` excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Releases {
    /// First release that has it.
    pub from: u16,
    /// First release that has it no more; equal to `from` when none has it.
    pub before: u16,
}

impl Releases {
    const NONE: Self = Self { from: 0, before: 0 };

    const fn from(release: u16) -> Self {
        Self { from: release, before: u16::MAX }
    }

    /// Whether that release (72: 7.2) has the command.
    pub const fn has(self, release: u16) -> bool {
        self.from <= release && release < self.before
    }
}

/// Who has a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Servers {
    /// Releases of Redis; 62 stands for "6.2 or older".
    pub redis: Releases,
    /// Releases of Valkey; 72 stands for "7.2", its first.
    pub valkey: Releases,
    /// Where it comes from when it is not a core command: a module, or nobody's server.
    pub elsewhere: &'static str,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Lower case; a subcommand is written `parent|sub`, as Redis does.
    pub name: &'static str,
    /// As in `COMMAND INFO`: the exact number of arguments with the name, or the negated least number. Where servers
    /// differ, the widest.
    pub arity: i8,
    /// Key positions.
    pub keys: Keys,
    /// Read, write or neither.
    pub effect: Effect,
    /// Where it goes.
    pub lane: Lane,
    /// What a lost connection allows.
    pub retry: Retry,
    /// How arguments change effect, lane and retry.
    pub rule: Rule,
    /// Can run long on big data or by design, so that a node's silence is explained by it.
    pub long: bool,
    /// Never goes to a replica although it does not write.
    pub primary_only: bool,
    /// Changes what every node has to have and replication does not carry: applied to every data node.
    pub parity: bool,
    /// How replies compare.
    pub compare: Compare,
    /// Who has it.
    pub servers: Servers,
}

/// A row whose replies compare exactly and whose arguments change nothing, to be refined by the methods below.
pub(super) const fn row(
    name: &'static str,
    arity: i8,
    keys: Keys,
    effect: Effect,
    lane: Lane,
    retry: Retry,
    servers: Servers,
) -> Spec {
    Spec {
        name,
        arity,
        keys,
        effect,
        lane,
        retry,
        rule: Rule::Fixed,
        long: false,
        primary_only: false,
        parity: false,
        compare: Compare::Exact,
        servers,
    }
}

impl Spec {
    pub(super) const fn rule(self, rule: Rule) -> Self {
        Self { rule, ..self }
    }

    pub(super) const fn long(self) -> Self {
        Self { long: true, ..self }
    }

    pub(super) const fn primary(self) -> Self {
        Self { primary_only: true, ..self }
    }

    pub(super) const fn parity(self) -> Self {
        Self { parity: true, ..self }
    }

    pub(super) const fn compare(self, compare: Compare) -> Self {
        Self { compare, ..self }
    }
}

/// Every server that Redhold supports has it.
pub(super) const ALL: Servers = since(62, 72);

/// Redis and Valkey have it since these releases.
pub(super) const fn since(redis: u16, valkey: u16) -> Servers {
    Servers { redis: Releases::from(redis), valkey: Releases::from(valkey), elsewhere: "" }
}

/// Only Redis has it, since that release.
pub(super) const fn redis(release: u16) -> Servers {
    Servers { valkey: Releases::NONE, ..since(release, 0) }
}

/// Only Valkey has it, since that release.
pub(super) const fn valkey(release: u16) -> Servers {
    Servers { redis: Releases::NONE, ..since(0, release) }
}

/// Redis had it before that release.
pub(super) const fn until(release: u16) -> Servers {
    Servers { redis: Releases { from: 62, before: release }, valkey: Releases::NONE, elsewhere: "" }
}

/// Modules have it, bundled with a server or loaded into one.
pub(super) const fn module(names: &'static str) -> Servers {
    only(names)
}

/// No server has it of itself; why the row is there.
pub(super) const fn only(reason: &'static str) -> Servers {
    Servers { redis: Releases::NONE, valkey: Releases::NONE, elsewhere: reason }
}
