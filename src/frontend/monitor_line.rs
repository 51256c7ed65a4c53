//! What MONITOR prints: `+1795263889.375650 [0 127.0.0.1:59130] "PING"`. Pure.

use std::net::SocketAddr;

/// Commands to our own channels, as MONITOR prints them whatever the letters' case.
const RESERVED: [&[u8]; 2] = [b"\"publish\" \"__redhold:", b"\"spublish\" \"__redhold:"];

/// Whether the frame is a line of MONITOR and not a reply.
pub(super) fn is_line(frame: &[u8]) -> bool {
    seconds_end(frame).is_some()
}

/// Whether the line tells of something that Redhold itself did; `is_own` judges the address of who did it.
pub(super) fn is_redholds(frame: &[u8], is_own: impl Fn(SocketAddr) -> bool) -> bool {
    let Some(at) = seconds_end(frame) else { return false };
    // `[database address] "command" …`; a script has `lua` for an address.
    let rest = &frame[at..];
    let Some(close) = rest.windows(3).position(|three| three == b"] \"") else { return false };
    let address = rest[..close].iter().position(|byte| *byte == b' ').map(|blank| &rest[blank + 1..close]);
    let address = address.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    let command = rest[close + 2..].to_ascii_lowercase();
    address.is_some_and(is_own) || RESERVED.iter().any(|start| command.starts_with(start))
}

/// Where the database begins, if the frame begins as a line does.
fn seconds_end(frame: &[u8]) -> Option<usize> {
    let time = frame.strip_prefix(b"+")?;
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let seconds = digits(time);
    let rest = time[seconds..].strip_prefix(b".")?;
    let micros = digits(rest);
    let begins = seconds > 0 && micros > 0 && rest[micros..].starts_with(b" [");
    begins.then_some(1 + seconds + 1 + micros + 2)
}

#[cfg(test)]
mod tests {
    use super::{is_line, is_redholds};

    #[test]
    fn a_line_is_told_from_a_reply() {
        assert!(is_line(b"+1795263889.375650 [0 127.0.0.1:59130] \"PING\"\r\n"));
        for reply in [&b"+OK\r\n"[..], b"+1.5\r\n", b":1\r\n", b"$1\r\n1\r\n", b"+1 [0 x] \"GET\"\r\n"] {
            assert!(!is_line(reply));
        }
    }

    #[test]
    fn our_own_lines_are_known_by_address_and_by_channel() {
        let own = |address: std::net::SocketAddr| address.port() == 7;
        let is = |line: &[u8]| is_redholds(line, own);
        assert!(is(b"+1.2 [0 127.0.0.1:7] \"INFO\" \"server\"\r\n"));
        assert!(is(b"+1.2 [0 [::1]:7] \"PING\"\r\n"));
        assert!(is(b"+1.2 [3 127.0.0.1:8] \"PUBLISH\" \"__redhold:barrier\" \"\"\r\n"));
        assert!(!is(b"+1.2 [0 127.0.0.1:8] \"SET\" \"k\" \"[0 127.0.0.1:7] \\\"x\"\r\n"));
        assert!(!is(b"+1.2 [0 lua] \"PUBLISH\" \"mine\" \"__redhold:barrier\"\r\n"));
        assert!(!is(b"+1.2 [0 unix:/tmp/s] \"PING\"\r\n"));
        assert!(!is(b"+OK\r\n"));
    }
}
