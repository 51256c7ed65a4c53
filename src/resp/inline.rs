//! Inline requests: a line of words, quoted as redis-cli quotes them.

use super::request::Span;

/// Splits `line` (without its end) into words. The unquoted bytes are appended to `text`, and each word's place
/// in `text` to `words`. `None` when a quote is not closed, or is closed in the middle of a word.
///
/// The rules are those of `sdssplitargs` in Redis: within `"…"` the escapes `\n \r \t \b \a \xHH` and `\<any>`;
/// within `'…'` only `\'`; a quote may open in the middle of a word but only end it; a word outside quotes ends
/// at space, tab, CR or LF, while vertical tab and form feed only separate words that have already ended.
pub(super) fn split(line: &[u8], text: &mut Vec<u8>, words: &mut Vec<Span>) -> Option<()> {
    let mut rest = line;
    loop {
        rest = &rest[rest.iter().position(|&byte| !is_space(byte)).unwrap_or(rest.len())..];
        if rest.is_empty() {
            return Some(());
        }
        let start = text.len();
        rest = word(rest, text)?;
        words.push(Span { start, end: text.len() });
    }
}

fn word<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match *rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some(rest),
            [b'"', ref quoted @ ..] => return double_quoted(quoted, text),
            [b'\'', ref quoted @ ..] => return single_quoted(quoted, text),
            [byte, ref after @ ..] => {
                text.push(byte);
                rest = after;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match *rest {
            [] => return None,
            [b'"', ref after @ ..] => return closed(after),
            [b'\\', b'x', high, low, ref after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(high) << 4 | hex(low), after)
            }
            [b'\\', escaped, ref after @ ..] => (unescaped(escaped), after),
            [byte, ref after @ ..] => (byte, after),
        };
        text.push(byte);
        rest = after;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match *rest {
            [] => return None,
            [b'\'', ref after @ ..] => return closed(after),
            [b'\\', b'\'', ref after @ ..] => (b'\'', after),
            [byte, ref after @ ..] => (byte, after),
        };
        text.push(byte);
        rest = after;
    }
}

fn closed(after: &[u8]) -> Option<&[u8]> {
    after.first().is_none_or(|&byte| is_space(byte)).then_some(after)
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<Vec<u8>>> {
        let (mut text, mut spans) = (Vec::new(), Vec::new());
        split(line.as_bytes(), &mut text, &mut spans)?;
        Some(spans.iter().map(|span| text[span.start..span.end].to_vec()).collect())
    }

    #[test]
    fn words_are_split_and_unquoted() {
        for (line, expected) in [
            ("", &[][..]),
            ("  \t ", &[]),
            ("PING", &[&b"PING"[..]]),
            ("  set  a\tb ", &[b"set", b"a", b"b"]),
            (r#"set a "x y""#, &[b"set", b"a", b"x y"]),
            (r#""\x00\xfF\n\r\t\b\a\\\"\q""#, &[b"\x00\xff\n\r\t\x08\x07\\\"q"]),
            (r#""\x0g""#, &[b"x0g"]),
            (r"'a\'b\n'", &[b"a'b\\n"]),
            (r#"fo"o b"  ''"#, &[b"foo b", b""]),
            ("a\x0bb \x0bc", &[b"a\x0bb", b"c"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn a_quote_left_open_or_closed_within_a_word_is_refused() {
        for line in [r#"""#, r#""a"#, r#""a\"#, "'a", r#""a"b"#, "'a'b", r#"x"a"b"#, r#"'a\'"#] {
            assert_eq!(words(line), None, "{line:?}");
        }
    }
}
