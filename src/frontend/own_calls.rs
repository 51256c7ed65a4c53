//! INFO commandstats and LATENCY HISTOGRAM without what Redhold asked for itself. Pure.

use bytes::{BufMut, BytesMut};

use crate::backend::first_len;
use crate::resp::parse_integer;
use crate::topology::{Calls, OwnCalls};

/// A line of INFO commandstats; `None`: it tells of nothing but Redhold's own requests. Other lines are left as they are.
pub(super) fn statistics<'a>(line: &'a [u8], own: &mut OwnCalls) -> Option<std::borrow::Cow<'a, [u8]>> {
    let Some(rewritten) = of_others(line, own) else { return Some(line.into()) };
    (!rewritten.is_empty()).then(|| rewritten.into_bytes().into())
}

/// `cmdstat_ping:calls=9,usec=18,usec_per_call=2.00,rejected_calls=0,failed_calls=0` with the calls of others; empty when there
/// are none. `None`: it is no such line, or Redhold has no part in it.
fn of_others(line: &[u8], own: &mut OwnCalls) -> Option<String> {
    let text = std::str::from_utf8(line.strip_prefix(b"cmdstat_")?).ok()?;
    let (name, fields) = text.split_once(":calls=")?;
    let (calls, fields) = fields.split_once(",usec=")?;
    let (_, fields) = fields.split_once(",usec_per_call=")?;
    let (each, rest) = fields.split_at(fields.find([',', '\r'])?);
    let (refused, failed) = rest.trim_end().split_once(",failed_calls=")?;
    let counted = Calls { all: calls.parse().ok()?, failed: failed.parse().ok()? };
    let others = own.others(name, counted);
    if others == counted {
        return None;
    }
    if others == Calls::default() && refused.ends_with("=0") {
        return Some(String::new());
    }
    // The node rounds to a hundredth of a microsecond; so does this.
    let micros = each.parse::<f64>().ok()? * others.all as f64;
    let each = if others.all == 0 { "0.00" } else { each };
    let (all, failed) = (others.all, others.failed);
    Some(format!(
        "cmdstat_{name}:calls={all},usec={micros:.0},usec_per_call={each}{refused},failed_calls={failed}\r\n"
    ))
}

/// A reply to LATENCY HISTOGRAM without commands that Redhold alone asked for; `None`: it is no such reply.
pub(super) fn histograms(reply: &[u8], own: &mut OwnCalls) -> Option<BytesMut> {
    let (kind, count, mut rest) = aggregate(reply)?;
    // A map counts pairs, the array that stands for it in RESP2 counts both of each.
    let weight = if kind == b'%' { 1 } else { 2 };
    if count % weight != 0 {
        return None;
    }
    let (mut kept, mut left) = (BytesMut::with_capacity(reply.len()), 0);
    for _ in 0..count / weight {
        let (name, value) = rest.split_at(first_len(rest));
        let (value, behind) = value.split_at(first_len(value));
        if !is_own(name, value, own)? {
            kept.extend_from_slice(&rest[..name.len() + value.len()]);
            left += weight;
        }
        rest = behind;
    }
    let mut out = BytesMut::with_capacity(reply.len());
    out.put_slice(format!("{}{left}\r\n", char::from(kind)).as_bytes());
    out.extend_from_slice(&kept);
    Some(out)
}

/// The kind of an array or map, how many it holds, and these.
fn aggregate(frame: &[u8]) -> Option<(u8, usize, &[u8])> {
    let kind = *frame.first().filter(|kind| matches!(kind, b'*' | b'%'))?;
    let end = frame.iter().position(|byte| *byte == b'\r')?;
    let count = usize::try_from(parse_integer(&frame[1..end])?).ok()?;
    Some((kind, count, frame.get(end + 2..)?))
}

/// The text of a bulk string.
fn bulk(frame: &[u8]) -> Option<&[u8]> {
    let end = frame.strip_prefix(b"$").and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))? + 2;
    frame.get(end..frame.len().checked_sub(2)?)
}

/// Of a command and `[calls, n, …]`: whether all of these calls were Redhold's own.
fn is_own(name: &[u8], value: &[u8], own: &mut OwnCalls) -> Option<bool> {
    let (_, _, fields) = aggregate(value)?;
    let count = fields.strip_prefix(b"$5\r\ncalls\r\n:")?;
    let end = count.iter().position(|byte| *byte == b'\r')?;
    let calls = Calls { all: u64::try_from(parse_integer(&count[..end])?).ok()?, failed: 0 };
    let name = std::str::from_utf8(bulk(name)?).ok()?;
    Some(calls.all > 0 && own.others(name, calls).all == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(names: &[&str]) -> OwnCalls {
        let mut own = OwnCalls::default();
        names.iter().for_each(|name| own.note(name, None));
        own
    }

    #[test]
    fn statistics_are_those_of_others() {
        let mut own = own(&["ping", "ping", "select", "auth"]);
        let mut told = |line: &'static str| {
            statistics(line.as_bytes(), &mut own).map(|line| String::from_utf8(line.into_owned()).unwrap())
        };
        let line = "cmdstat_ping:calls=6,usec=15,usec_per_call=2.50,rejected_calls=0,failed_calls=0\r\n";
        let left = "cmdstat_ping:calls=4,usec=10,usec_per_call=2.50,rejected_calls=0,failed_calls=0\r\n";
        assert_eq!(told(line).as_deref(), Some(left));
        let select = "cmdstat_select:calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=0\r\n";
        assert_eq!(told(select), None);
        let auth = "cmdstat_auth:calls=1,usec=9,usec_per_call=9.00,rejected_calls=0,failed_calls=3\r\n";
        let refused = "cmdstat_auth:calls=0,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=3\r\n";
        assert_eq!(told(auth).as_deref(), Some(refused));
        for line in [
            "cmdstat_get:calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=1\r\n",
            "# Commandstats\r\n",
            "cmdstat_x:calls=?\r\n",
        ] {
            assert_eq!(told(line).as_deref(), Some(line));
        }
    }

    #[test]
    fn a_histogram_of_own_requests_alone_is_not_shown() {
        let mut own = own(&["client|id", "ping"]);
        let calls = |count: u32| format!("$5\r\ncalls\r\n:{count}\r\n$14\r\nhistogram_usec\r\n");
        let [client, ping] = ["$9\r\nclient|id\r\n", "$4\r\nping\r\n"];
        let flat = |count| format!("*4\r\n{}*2\r\n:1\r\n:{count}\r\n", calls(count));
        let reply = format!("*4\r\n{client}{}{ping}{}", flat(1), flat(2));
        assert_eq!(histograms(reply.as_bytes(), &mut own).unwrap(), format!("*2\r\n{ping}{}", flat(2)));
        let map = |count| format!("%2\r\n{}%1\r\n:1\r\n:{count}\r\n", calls(count));
        let reply = format!("%2\r\n{client}{}{ping}{}", map(1), map(2));
        assert_eq!(histograms(reply.as_bytes(), &mut own).unwrap(), format!("%1\r\n{ping}{}", map(2)));
    }

    #[test]
    fn anything_else_is_no_such_reply() {
        for reply in
            ["-ERR no\r\n", "*3\r\n$6\r\nmaster\r\n:12\r\n*0\r\n", "*1\r\n$1\r\nx\r\n", "*1\r\n:1\r\n"]
        {
            assert_eq!(histograms(reply.as_bytes(), &mut own(&[])), None, "{reply}");
        }
        assert_eq!(histograms(b"*0\r\n", &mut own(&[])).unwrap(), "*0\r\n");
    }
}
