//! What MONITOR prints: `+1795263889.375650 [0 127.0.0.1:59130] "PING"`. Pure.

use crate::resp::encode;

/// Whether the frame is a line of MONITOR and not a reply.
pub fn is_line(frame: &[u8]) -> bool {
    seconds_end(frame).is_some()
}

/// Whether the line tells of a request of Redhold's own. Connections do not tell: those that Redhold opens for itself
/// have, behind a translation, other addresses at the server than here, and those of the data path carry both.
pub fn is_redholds(frame: &[u8]) -> bool {
    let Some(at) = seconds_end(frame) else { return false };
    // `[database address] "command" …`; a script has `lua` for an address.
    let rest = &frame[at..];
    let Some(close) = rest.windows(3).position(|three| three == b"] \"") else { return false };
    let name = rest[close + 3..].split(|byte| *byte == b'"').next();
    name.is_some_and(encode::is_own_name)
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
    fn our_own_lines_are_known_by_how_the_name_is_written() {
        assert!(is_redholds(b"+1.2 [0 127.0.0.1:7] \"INFo\" \"server\"\r\n"));
        assert!(is_redholds(b"+1.2 [0 [::1]:7] \"PINg\"\r\n"));
        assert!(is_redholds(b"+1.2 [3 unix:/tmp/s] \"SPUBLISh\" \"__redhold:barrier\" \"\"\r\n"));
        for line in [
            &b"+1.2 [0 127.0.0.1:8] \"SET\" \"k\" \"[0 127.0.0.1:7] \\\"PINg\"\r\n"[..],
            b"+1.2 [0 lua] \"PUBLISH\" \"mine\" \"__redhold:barrier\"\r\n",
            b"+1.2 [0 127.0.0.1:8] \"ping\"\r\n",
            b"+1.2 [0 127.0.0.1:8] \"pING\"\r\n",
            b"+1.2 [0 127.0.0.1:8] \"\"\r\n",
            b"+1.2 [0 127.0.0.1:8] \"G\\x00\"\r\n",
            b"+PINg\r\n",
            b"+OK\r\n",
        ] {
            assert!(!is_redholds(line), "{}", line.escape_ascii());
        }
    }
}
