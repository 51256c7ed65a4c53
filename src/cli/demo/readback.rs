//! What the nodes hold in the end, asked directly: the proxy cannot embellish it.

use std::net::SocketAddr;

use crate::cli::dev::{Wire, ask};
use crate::resp::Value;

use super::load::{Memory, counter, key};

/// Keys asked for at once.
const PAGE: usize = 1000;

/// The comparison of promises and data.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Readback {
    /// Acknowledged SETs that were looked for.
    pub(super) expected: u64,
    /// Those whose value is not there: acknowledged, then lost.
    pub(super) lost: u64,
    /// INCRs that a counter is short of, or has too many: executed twice.
    pub(super) increments_lost: u64,
    pub(super) increments_twice: u64,
}

/// What a node says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Primary,
    Replica,
    /// It does not answer.
    Nothing,
}

/// What the nodes on these ports say, in their order.
pub(super) fn roles(ports: &[u16]) -> Vec<Says> {
    let role = |port: &u16| match ask(*port, &["INFO", "replication"]) {
        Ok(info) if info.contains("role:master") => Says::Primary,
        Ok(_) => Says::Replica,
        Err(_) => Says::Nothing,
    };
    ports.iter().map(role).collect()
}

/// Port of the only node that says it is a primary; `None` while none or several do.
pub(super) fn primary(ports: &[u16], roles: &[Says]) -> Option<u16> {
    let mut primaries = ports.iter().zip(roles).filter(|(_, role)| **role == Says::Primary);
    let (first, _) = primaries.next()?;
    primaries.next().is_none().then_some(*first)
}

/// Reads every acknowledged write back from the node on `port`.
///
/// # Errors
/// A sentence, when the node does not answer.
pub(super) fn read_back(port: u16, memories: &[Memory]) -> Result<Readback, String> {
    let fault = |error: std::io::Error| format!("cannot read back from 127.0.0.1:{port}: {error}");
    let mut wire = Wire::open(SocketAddr::from(([127, 0, 0, 1], port))).map_err(fault)?;
    let mut result = Readback::default();
    for (connection, memory) in (0u16..).zip(memories) {
        for page in memory.acknowledged.chunks(PAGE) {
            let keys: Vec<String> = page.iter().map(|&number| key(connection, number)).collect();
            let words: Vec<&[u8]> =
                std::iter::once(&b"MGET"[..]).chain(keys.iter().map(String::as_bytes)).collect();
            let reply = wire.ask(&words).map_err(fault)?;
            let values = reply.as_array().ok_or_else(|| format!("127.0.0.1:{port} answered {reply:?}"))?;
            result.expected += page.len() as u64;
            let kept = page.iter().zip(values).filter(|(number, value)| holds(value, **number));
            result.lost += page.len() as u64 - kept.count() as u64;
        }
        let count = wire.ask(&[b"GET", counter(connection).as_bytes()]).map_err(fault)?;
        let count = count.as_int().and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        result.increments_lost += memory.increments.saturating_sub(count);
        result.increments_twice += count.saturating_sub(memory.increments + memory.increments_unknown);
    }
    Ok(result)
}

fn holds(value: &Value, number: u64) -> bool {
    value.as_bytes() == Some(number.to_string().as_bytes())
}
