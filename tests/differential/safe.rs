//! Which requests made by chance two servers can be sent and still have the same data, one moment later and the next day.

use redhold::command::{Lane, classify};

/// Rows that are not given arguments by chance: they are said in lines written by hand, or in tests of their own.
const FOR_LINES_ONLY: [(&[&str], &str); 6] = [
    (
        &[
            "debug",
            "shutdown",
            "failover",
            "replicaof",
            "slaveof",
            "psync",
            "sync",
            "replconf",
            "module|load",
        ],
        "the server would end, hang or follow another",
    ),
    (
        &["client|kill", "client|pause", "client|unblock", "script|flush", "swapdb", "flushall", "flushdb"],
        "others would suffer",
    ),
    (
        &["acl|setuser", "acl|deluser", "acl|load", "acl|genpass", "config|set", "config|get", "migrate"],
        "reaches what the run stands on, or is different everywhere",
    ),
    (&["monitor", "client|reply", "client|tracking", "client|caching"], "not one reply to one request"),
    (
        &["subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe", "multi"],
        "what stands then would swallow the rest",
    ),
    (
        &[
            "quit",
            "host:",
            "post",
            "save",
            "bgsave",
            "bgrewriteaof",
            "config|rewrite",
            "module|loadex",
            "module|unload",
            "pfselftest",
            "script|debug",
            "wait",
            "waitaof",
            "spop",
        ],
        "closes, waits, writes files or throws dice",
    ),
];

/// Expiries from here on, in seconds or milliseconds, are not over before the run is.
const FAR: i64 = 4_000_000_000;

/// Whether a row is said only in lines written by hand.
pub(crate) fn is_for_lines_only(name: &str) -> bool {
    FOR_LINES_ONLY.iter().any(|(names, _)| names.contains(&name))
}

/// Whether these words leave the same data on two servers, soon, and in little memory.
pub(crate) fn is_safe(words: &[Vec<u8>]) -> bool {
    let class = classify(words);
    let name = class.row.spec().name;
    if is_for_lines_only(name) || waits(class.lane, words) {
        return false;
    }
    let numbers: Vec<i64> = words[1..].iter().filter_map(|word| number(word)).collect();
    let says = |text: &str| words[1..].iter().any(|word| word.eq_ignore_ascii_case(text.as_bytes()));
    match name {
        // What expires soon is gone on one server and not yet on the other.
        "expire" | "pexpire" | "setex" | "psetex" | "restore" | "restore-asking" | "expireat"
        | "pexpireat" | "hexpire" | "hpexpire" | "hexpireat" | "hpexpireat" => {
            numbers.iter().all(|number| *number <= 0 || *number >= FAR)
        }
        "set" | "getex" | "msetex" | "hsetex" | "hgetex" => {
            !["EX", "PX", "EXAT", "PXAT"].into_iter().any(says)
                || numbers.iter().all(|number| *number <= 0 || *number >= FAR)
        }
        "xclaim" | "xautoclaim" => numbers.iter().all(|number| *number == 0),
        // Ids by the clock.
        "xadd" | "xsetid" => !words.iter().any(|word| word == b"*" || word.ends_with(b"-*")),
        // Memory: a bit that is far away, and random elements as often as asked.
        "setbit" | "bitfield" | "setrange" => {
            numbers.iter().all(|number| *number < 10_000 || *number > FAR * 2)
        }
        "srandmember" | "hrandfield" | "zrandmember" | "vrandmember" => {
            numbers.iter().all(|number| *number > -1_000)
        }
        // A list made of what has no order.
        "sort" => !(says("STORE") && says("BY")),
        // What a set or a script makes of chance.
        "eval" | "eval_ro" => words.len() < 2 || !words[1].starts_with(b"redis"),
        _ => true,
    }
}

/// Whether it might wait for somebody. What names no time that is one is refused at once.
fn waits(lane: Lane, words: &[Vec<u8>]) -> bool {
    lane == Lane::Blocking
        && words[1..].iter().any(|word| {
            std::str::from_utf8(word).is_ok_and(|word| word.trim_start_matches('+').parse::<f64>().is_ok())
        })
}

fn number(word: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(word).ok()?;
    // Beyond what fits is refused by everybody.
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number as i64)
}
