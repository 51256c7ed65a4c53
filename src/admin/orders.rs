//! Orders over HTTP: what was asked, placed with the control thread, and how it ended.

use std::time::{Duration, Instant};

use hyper::StatusCode;

use crate::topology::{NodeId, Order, Orders, Reread, Restraints, Upgrade};

use super::routes::Doors;
use super::status::{OrderBody, episode_since};

/// Longest wait for the end of an order; the failover machine bounds its own work far below.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest wait for the snapshot that shows a finished order's timeline.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(1);

/// The kinds of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Switchover,
    Failover,
    Adopt,
}

/// Carries out an order and says how it ended.
pub(super) async fn place(doors: &Doors, kind: Kind, query: &str, body: &[u8]) -> (StatusCode, OrderBody) {
    let order = match read(doors, kind, query, body) {
        Ok(order) => order,
        Err(fault) => {
            return (StatusCode::BAD_REQUEST, OrderBody { ok: false, answer: fault, episode: None });
        }
    };
    let ordered_at = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, doors.orders.place(order)).await;
    match answer {
        Ok(Ok(answer)) => {
            let episode = timeline(doors, ordered_at).await;
            (StatusCode::OK, OrderBody { ok: true, answer, episode })
        }
        Ok(Err(answer)) => {
            let episode = episode_since(doors, ordered_at);
            (StatusCode::CONFLICT, OrderBody { ok: false, answer, episode })
        }
        Err(_) => {
            let answer =
                format!("no answer within {} s; the order may still be carried out", PATIENCE.as_secs());
            (StatusCode::GATEWAY_TIMEOUT, OrderBody { ok: false, answer, episode: None })
        }
    }
}

/// Carries out what needs no node: what is to wait, or to be refused.
pub(super) async fn restrain(restraints: &Restraints, path: &str) -> (StatusCode, OrderBody) {
    let ordered = async {
        match path {
            "/api/pause" => restraints.pause().await,
            "/api/resume" => restraints.resume().await,
            _ => restraints.read_only(path.ends_with("/on")).await,
        }
    };
    let body = |ok, answer| OrderBody { ok, answer, episode: None };
    match tokio::time::timeout(PATIENCE, ordered).await {
        Ok(Ok(answer)) => (StatusCode::OK, body(true, answer)),
        Ok(Err(answer)) => (StatusCode::CONFLICT, body(false, answer)),
        Err(_) => {
            let answer = format!("not every client was answered within {} s; it stands", PATIENCE.as_secs());
            (StatusCode::GATEWAY_TIMEOUT, body(false, answer))
        }
    }
}

/// Has the configuration read again.
pub(super) async fn reread(doors: &Doors) -> (StatusCode, OrderBody) {
    of_the_process(&doors.rereads, Reread, PATIENCE).await
}

/// Has another process take over. Whoever ordered it is answered by this one.
pub(super) async fn upgrade(doors: &Doors) -> (StatusCode, OrderBody) {
    of_the_process(&doors.upgrades, Upgrade, Upgrade::WITHIN).await
}

async fn of_the_process<O>(orders: &Orders<O>, order: O, patience: Duration) -> (StatusCode, OrderBody) {
    let body = |ok, answer| OrderBody { ok, answer, episode: None };
    match tokio::time::timeout(patience, orders.place(order)).await {
        Ok(Ok(answer)) => (StatusCode::OK, body(true, answer)),
        Ok(Err(answer)) => (StatusCode::CONFLICT, body(false, answer)),
        Err(_) => {
            let answer =
                format!("no answer within {} s; the order may still be carried out", patience.as_secs());
            (StatusCode::GATEWAY_TIMEOUT, body(false, answer))
        }
    }
}

/// The answer may come a moment before the snapshot that shows the ended episode.
async fn timeline(doors: &Doors, ordered_at: Instant) -> Option<super::status::EpisodeBody> {
    let mut snapshots = doors.status.clone();
    let shown = async {
        loop {
            if let Some(episode) = episode_since(doors, ordered_at) {
                return Some(episode);
            }
            if !snapshots.changed().await {
                return None;
            }
        }
    };
    tokio::time::timeout(SNAPSHOT_WAIT, shown).await.ok().flatten()
}

fn read(doors: &Doors, kind: Kind, query: &str, body: &[u8]) -> Result<Order, String> {
    let asked = asked(query, body)?;
    let to = match (&asked.to, kind) {
        (Some(name), _) => Some(find(doors, name)?),
        (None, Kind::Adopt) => return Err("name the node: to=HOST:PORT".to_owned()),
        (None, Kind::Switchover | Kind::Failover) => None,
    };
    match (kind, to) {
        (Kind::Failover, _) if !asked.force => {
            Err("a failover on order may lose writes of the last moments: say force=true, or ask for a switchover".to_owned())
        }
        (Kind::Failover, to) => Ok(Order::Failover { to }),
        (Kind::Adopt, Some(node)) => Ok(Order::Adopt { node }),
        (Kind::Switchover | Kind::Adopt, to) => Ok(Order::Switchover { to }),
    }
}

fn find(doors: &Doors, name: &str) -> Result<NodeId, String> {
    let status = doors.status.load();
    let found = status.nodes.iter().find(|node| node.address.to_string() == name);
    found.map(|node| node.id).ok_or_else(|| {
        let names: Vec<_> = status.nodes.iter().map(|node| node.address.to_string()).collect();
        format!("there is no node `{name}`; there are {}", names.join(", "))
    })
}

#[derive(Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    to: Option<String>,
    force: bool,
}

/// What the query and the body ask for; the body is a form or a JSON object, and wins.
fn asked(query: &str, body: &[u8]) -> Result<Asked, String> {
    let body = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8".to_owned())?.trim();
    let mut asked = Asked::default();
    form(query, &mut asked)?;
    if body.starts_with('{') {
        let from_body: Asked = serde_json::from_str(body).map_err(|error| format!("the body: {error}"))?;
        asked = Asked { to: from_body.to.or(asked.to), force: from_body.force || asked.force };
    } else {
        form(body, &mut asked)?;
    }
    Ok(asked)
}

fn form(text: &str, asked: &mut Asked) -> Result<(), String> {
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value).ok_or_else(|| format!("`{value}` is not percent-encoded text"))?;
        match (name, value.as_str()) {
            ("to", _) => asked.to = Some(value),
            ("force", "true" | "1" | "") => asked.force = true,
            ("force", "false" | "0") => asked.force = false,
            ("force", _) => return Err(format!("force: `{value}` is not true or false")),
            _ => return Err(format!("`{name}` is neither to nor force")),
        }
    }
    Ok(())
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_from_query_form_or_json() {
        let to = |to: &str, force| Ok(Asked { to: Some(to.to_owned()), force });
        assert_eq!(asked("to=a:1", b""), to("a:1", false));
        assert_eq!(asked("to=%5B%3A%3A1%5D%3A7&force", b""), to("[::1]:7", true));
        assert_eq!(asked("", b"to=a:1&force=true"), to("a:1", true));
        assert_eq!(asked("to=a:1", br#" {"to": "b:2", "force": true} "#), to("b:2", true));
        assert_eq!(asked("", b""), Ok(Asked::default()));
    }

    #[test]
    fn an_order_that_is_not_understood_is_refused() {
        for (query, body) in [
            ("node=a:1", &b""[..]),
            ("to=%5", b""),
            ("to=%zz", b""),
            ("to=%ff", b""),
            ("force=maybe", b""),
            ("", b"{\"too\": 1}"),
            ("", b"{"),
            ("", b"\xff"),
        ] {
            assert!(asked(query, body).is_err(), "{query} {body:?}");
        }
    }
}
