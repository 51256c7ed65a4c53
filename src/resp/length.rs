//! The numbers in headers.

/// A number as Redis reads it, in headers and in most arguments: no sign but `-`, no leading zero, no blank, within
/// an i64.
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] if !negative => return Some(0),
        [b'0', ..] => return None,
        _ => {}
    }
    let mut magnitude: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// A whole header line in its common form, `<kind><1 to 9 digits>\r\n`, at `at`: its number and where the line
/// ends. `None` says nothing about the line's worth: it may be cut, unusual or wrong.
#[inline(always)]
pub(super) fn header(bytes: &[u8], at: usize, kind: u8) -> Option<(u64, usize)> {
    let line = bytes.get(at..)?;
    // Nearly all numbers have one or two digits, and nearly all lines have more bytes behind them.
    if let [first, ones, b'\r', b'\n', ..] = line {
        let digit = ones.wrapping_sub(b'0');
        return (*first == kind && digit <= 9).then_some((u64::from(digit), at + 4));
    }
    if let [first, tens, ones, b'\r', b'\n', ..] = line {
        let (high, low) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        let number = u64::from(high) * 10 + u64::from(low);
        return (*first == kind && (1..=9).contains(&high) && low <= 9).then_some((number, at + 5));
    }
    long_header(line, kind).map(|(number, len)| (number, at + len))
}

fn long_header(line: &[u8], kind: u8) -> Option<(u64, usize)> {
    let first = line.get(1)?.wrapping_sub(b'0');
    if line[0] != kind || first > 9 {
        return None;
    }
    let mut number = u64::from(first);
    let mut next = 2;
    loop {
        let byte = *line.get(next)?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        if next > 9 || number == 0 {
            return None;
        }
        number = number * 10 + u64::from(digit);
        next += 1;
    }
    (line.get(next..next + 2)? == b"\r\n").then_some((number, next + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_read_as_redis_reads_it() {
        for (text, number) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
        ] {
            assert_eq!(integer(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn a_header_in_the_common_form_is_read_at_once() {
        assert_eq!(header(b"..$12\r\n", 2, b'$'), Some((12, 7)));
        assert_eq!(header(b"$0\r\n", 0, b'$'), Some((0, 4)));
        assert_eq!(header(b"$123456789\r\n", 0, b'$'), Some((123_456_789, 12)));
        for other in
            [&b"*12\r\n"[..], b"$12\r", b"$12", b"$", b"", b"$\r\n", b"$01\r\n", b"$-1\r\n", b"$1\rX"]
        {
            assert_eq!(header(other, 0, b'$'), None, "{other:?}");
        }
        assert_eq!(header(b"$12345678901\r\n", 0, b'$'), None);
        assert_eq!(header(b"$1\r\n", 9, b'$'), None);
    }
}
