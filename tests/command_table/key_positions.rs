//! Key positions: those of COMMAND, and the server's own judgement (COMMAND GETKEYS) where they move.

use redhold::command::{Keys, classify, find, keys, rows};

use crate::live::{Live, commands, report};
use crate::support::{Client, V6_2, Value, for_each_server};

#[test]
fn fixed_positions() {
    let mut faults = Vec::new();
    for_each_server(|version, client| {
        for (name, live) in commands(client) {
            let Some(row) = find(name.as_bytes()) else { continue };
            // Before 7.0 the positions of all subcommands stood at their container.
            let container =
                version == V6_2 && ["memory", "object", "xgroup", "xinfo"].contains(&name.as_str());
            if !container && !agree(row.spec().keys, &live) {
                faults.push(format!(
                    "{}: {name}: {:?}, the row says {:?}",
                    version.name,
                    live.keys,
                    row.spec().keys
                ));
            }
        }
    });
    report(&faults);
}

fn agree(keys: Keys, live: &Live) -> bool {
    match keys {
        Keys::None => live.keys == (0, 0, 0) && !live.has("movablekeys"),
        // SORT_RO's keys move only for BY and GET, which name none that a client could list.
        Keys::Range(1, 1, 1) if live.has("movablekeys") => live.keys == (1, 1, 1) || live.keys == (0, 0, 0),
        Keys::Range(first, last, step) => live.keys == (first.into(), last.into(), step.into()),
        // Told by GETKEYS below.
        Keys::Counted { .. } | Keys::Streams | Keys::Sort | Keys::Geo | Keys::Migrate => {
            live.has("movablekeys")
        }
        Keys::Opaque => true,
    }
}

/// The last of the two counts, and 6.2 and Valkey name only that; Redis 7 and 8 name both, and so does the row.
const BOTH: &str = "GEORADIUS k 1 2 3 km COUNT 3 STORE d STOREDIST e";

/// Requests whose keys move, at least one for each row whose keys do. An empty argument is written `''`.
const MOVING: [&str; 64] = [
    "BLMPOP 1 2 a b LEFT",
    "BZMPOP 1 2 a b MIN COUNT 3",
    "EVAL s 2 a b c",
    "EVAL_RO s 1 a b",
    "EVALSHA s 2 a b c",
    "EVALSHA_RO s 1 a b",
    "FCALL f 2 a b c",
    "FCALL_RO f 1 a",
    "GEORADIUS k 1 2 3 km",
    "GEORADIUS k 1 2 3 km STORE d",
    "GEORADIUS k 1 2 3 km ASC storedist d",
    BOTH,
    "GEORADIUSBYMEMBER k m 3 km",
    "GEORADIUSBYMEMBER k m 3 km STORE d",
    "GEORADIUSBYMEMBER k m 3 km WITHDIST STOREDIST d",
    "LMPOP 2 a b LEFT",
    "LMPOP 1 a RIGHT COUNT 3",
    "MIGRATE h 1 k 0 10",
    "MIGRATE h 1 k 0 10 COPY REPLACE AUTH p",
    "MIGRATE h 1 '' 0 10 KEYS a b c",
    "MIGRATE h 1 '' 0 10 COPY AUTH2 u p KEYS a",
    "MSETEX 2 a 1 b 2",
    "MSETEX 1 a 1 EX 10 NX",
    "SINTERCARD 2 a b",
    "SINTERCARD 2 a b LIMIT 3",
    "SORT k",
    "SORT k BY w_* GET # GET d_* LIMIT 0 1 ALPHA",
    "SORT k STORE d",
    "SORT k BY store GET store LIMIT store store STORE d",
    "SORT k DESC STORE d STORE e",
    "SORT_RO k",
    "SORT_RO k BY w_* GET d_* LIMIT 0 1",
    "XREAD STREAMS a 0",
    "XREAD COUNT 1 BLOCK 10 STREAMS a b c 0 0 0",
    "XREAD BLOCK 10 streams streams streams 0 0",
    "XREADGROUP GROUP g c STREAMS a >",
    "XREADGROUP GROUP g c COUNT 2 BLOCK 5 NOACK STREAMS a b > >",
    "XREADGROUP GROUP g streams NOACK STREAMS a >",
    "ZDIFF 2 a b",
    "ZDIFF 2 a b WITHSCORES",
    "ZDIFFSTORE d 2 a b",
    "ZINTER 1 a",
    "ZINTER 2 a b WEIGHTS 1 2 AGGREGATE MIN",
    "ZINTERCARD 2 a b",
    "ZINTERCARD 2 a b LIMIT 1",
    "ZINTERSTORE d 2 a b",
    "ZINTERSTORE d 2 a b WEIGHTS 1 2",
    "ZMPOP 2 a b MIN",
    "ZMPOP 2 a b MAX COUNT 2",
    "ZUNION 2 a b",
    "ZUNION 2 a b WITHSCORES",
    "ZUNIONSTORE d 2 a b",
    "ZUNIONSTORE d 1 a AGGREGATE SUM",
    // Not moving, for the arithmetic of ranges.
    "BITOP AND d a b",
    "BLPOP a b 0",
    "DEL a b c",
    "LCS a b LEN",
    "MSET a 1 b 2",
    "OBJECT ENCODING k",
    "PFMERGE d a b",
    "SDIFFSTORE d a b",
    "SMOVE a b m",
    "XGROUP CREATE k g $",
    "XINFO STREAM k",
];

#[test]
fn moving_positions() {
    let mut faults = Vec::new();
    for_each_server(|version, client| {
        for sample in MOVING {
            let request: Vec<&str> = sample.split(' ').map(|it| if it == "''" { "" } else { it }).collect();
            let row = classify(&request).row;
            if !version.has(row.spec().servers) {
                continue;
            }
            let mut positions = Vec::new();
            keys(row, &request, &mut positions);
            let mut ours: Vec<&str> = positions.iter().map(|&at| request[usize::from(at)]).collect();
            let mut theirs = match server_keys(client, &request) {
                Ok(keys) => keys,
                Err(error) => {
                    faults.push(format!("{}: {sample}: the server says {error}", version.name));
                    continue;
                }
            };
            // Servers differ in whether a destination comes first or last.
            ours.sort_unstable();
            theirs.sort_unstable();
            let wider = sample == BOTH && theirs.iter().all(|key| ours.contains(&key.as_str()));
            if ours != theirs && !wider {
                faults.push(format!("{}: {sample}: {theirs:?}, the row says {ours:?}", version.name));
            }
        }
    });
    report(&faults);
}

fn server_keys(client: &mut Client, request: &[&str]) -> Result<Vec<String>, String> {
    let question: Vec<&str> = ["COMMAND", "GETKEYS"].iter().chain(request).copied().collect();
    match client.cmd(&question) {
        Value::Error(text) => Err(text),
        reply => Ok(reply.items().iter().filter_map(Value::text).collect()),
    }
}

#[test]
fn every_row_whose_keys_move_has_a_sample() {
    for row in rows() {
        let moves =
            matches!(row.keys, Keys::Counted { .. } | Keys::Streams | Keys::Sort | Keys::Geo | Keys::Migrate);
        let sampled = MOVING
            .iter()
            .any(|sample| sample.split(' ').next().is_some_and(|name| name.eq_ignore_ascii_case(row.name)));
        // A module's command can not be asked of a server that does not have the module.
        assert!(!moves || sampled || !row.servers.elsewhere.is_empty(), "{}: no sample", row.name);
    }
}
