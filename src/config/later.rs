//! The keys of sections whose features come later: their defaults are accepted, other values refused. Data.

use super::kind::{GIB, Key, Kind, MIB, TIB, absent, key};

pub(super) const CACHE: &[Key] = &[
    key("prefixes", Kind::Texts(None), "[]", "Key prefixes that are cached in the proxy; empty: off."),
    key("memory", Kind::Size(MIB..=TIB, None), r#""256MiB""#, "Most memory of the cache."),
    key("max_age", Kind::Duration(0, None), r#""60s""#, "Most age of an entry."),
];

pub(super) const COMPRESSION: &[Key] = &[
    absent("prefix", Kind::Text(None), r#""blob:""#, "Prefix of the keys."),
    absent("codec", Kind::Choice(&["zstd"], None), r#""zstd""#, "Codec."),
    absent("min", Kind::Size(0..=GIB, None), r#""1KiB""#, "Least size of a value that is compressed."),
];

pub(super) const MIRROR: &[Key] = &[
    absent("nodes", Kind::Nodes(None), r#"["10.0.1.1:6379"]"#, "Nodes that get the copy."),
    absent("share", Kind::Share(None), "0.01", "Share of the requests that is copied."),
    absent("compare", Kind::Flag(None), "true", "Whether replies are compared."),
];

pub(super) const COORDINATOR: &[Key] = &[
    key(
        "mode",
        Kind::Choice(&["local", "raft", "sentinel"], None),
        r#""local""#,
        "Who agrees to a change of primary: local (this proxy alone), raft or sentinel.",
    ),
    key(
        "on_quorum_loss",
        Kind::Choice(&["freeze", "stop_writes"], None),
        r#""freeze""#,
        "What happens without a quorum: freeze (no change of primary) or stop_writes.",
    ),
    absent("listen", Kind::Text(None), r#""10.0.0.1:7380""#, "raft: address for the other members."),
    absent(
        "members",
        Kind::Texts(None),
        r#"["10.0.0.1:7380", "10.0.0.2:7380", "10.0.0.3:7380"]"#,
        "raft: all members.",
    ),
    absent("node_id", Kind::Count(1..=1_000_000, None), "1", "raft: number of this member."),
    absent(
        "secret_file",
        Kind::Text(None),
        r#""/run/secrets/raft""#,
        "raft: file with the members' shared secret.",
    ),
    absent("tls", Kind::Tables, "{}", "raft: TLS between members."),
    absent("sentinels", Kind::Texts(None), r#"["10.0.0.1:26379"]"#, "sentinel: addresses."),
    absent("master_name", Kind::Text(None), r#""mymaster""#, "sentinel: name of the group."),
    absent("username", Kind::Text(None), r#""redhold""#, "sentinel: user."),
    absent(
        "password_file",
        Kind::Text(None),
        r#""/run/secrets/sentinel""#,
        "sentinel: file with the password.",
    ),
];

pub(super) const ARCHIVE: &[Key] = &[
    absent(
        "store",
        Kind::Text(None),
        r#""file:///var/backups/redis""#,
        "Where the archive is: file://, s3://, gs:// or az://.",
    ),
    absent("mirror", Kind::Text(None), r#""s3://bucket/prefix""#, "A second store."),
    absent("source", Kind::Text(None), r#""replica""#, "Node that the archive is fed from."),
    absent(
        "spool_dir",
        Kind::Text(None),
        r#""/var/lib/redhold/spool""#,
        "Directory for what is not yet stored.",
    ),
    absent("spool_size", Kind::Size(MIB..=TIB, None), r#""1GiB""#, "Most size of it."),
    absent("seal_size", Kind::Size(1 << 10..=GIB, None), r#""16MiB""#, "Size at which a segment is stored."),
    absent("seal_after", Kind::Duration(0, None), r#""1s""#, "Age at which a segment is stored."),
    absent("full_every", Kind::Duration(0, None), r#""24h""#, "Time between two full backups."),
    absent("replay_budget", Kind::Duration(0, None), r#""10m""#, "Longest replay that a restore may need."),
    absent("retention", Kind::Text(None), r#""30d""#, "How long backups are kept."),
    absent("compression", Kind::Text(None), r#""zstd""#, "Codec."),
    absent("recipients", Kind::Texts(None), r#"["age1..."]"#, "Keys that the archive is encrypted to."),
    absent(
        "signing_key_file",
        Kind::Text(None),
        r#""/run/secrets/signing""#,
        "File with the key that signs manifests.",
    ),
    absent("verify_every", Kind::Duration(0, None), r#""24h""#, "Time between two proofs by restore."),
    absent(
        "on_total_loss",
        Kind::Choice(&["hold", "restore"], None),
        r#""hold""#,
        "What happens when all nodes lost their data.",
    ),
];
