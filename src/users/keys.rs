//! Which keys a user may touch, where that is judged here, and Redis's patterns.

/// Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]` and `\` before a character that stands for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Vec<Vec<u8>>);

impl Patterns {
    /// Of these.
    #[must_use]
    pub fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect())
    }

    /// Whether one of them fits `text`.
    #[must_use]
    pub fn fit(&self, text: &[u8]) -> bool {
        self.0.iter().any(|pattern| fits(pattern, text))
    }
}

/// Whether `pattern` fits the whole of `text`. Of stars only the last one is tried again, so that no pattern takes longer than
/// the product of both lengths.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut rest) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, rest));
            continue;
        }
        let step = text.get(rest).and_then(|byte| one(&pattern[at..], *byte));
        if let Some(len) = step {
            (at, rest) = (at + len, rest + 1);
        } else if at == pattern.len() && rest == text.len() {
            return true;
        } else if let Some((after, from)) = star.filter(|(_, from)| *from < text.len()) {
            (at, rest) = (after, from + 1);
            star = Some((after, from + 1));
        } else {
            return false;
        }
    }
}

/// How much of `pattern` stands for `byte`; `None`: it does not.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => {
            let (fits, len) = class(rest, byte);
            fits.then_some(len + 1)
        }
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// What follows `[`: whether it has `byte` in it, and its length with the `]`. Without one it ends with the pattern.
fn class(pattern: &[u8], byte: u8) -> (bool, usize) {
    let negated = pattern.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    while let Some(next) = pattern.get(at) {
        match (next, pattern.get(at + 1), pattern.get(at + 2)) {
            (b'\\', Some(literal), _) => {
                found |= *literal == byte;
                at += 2;
            }
            (b']', ..) => return (found != negated, at + 1),
            (from, Some(b'-'), Some(to)) => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            (literal, ..) => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_redis_has_them() {
        let cases = [
            ("app:*", "app:", true),
            ("app:*", "app:1", true),
            ("app:*", "ap:1", false),
            ("app:*", "xapp:1", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("*ab", "aab", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("h[\\]]llo", "h]llo", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("h[ab", "ha", true),
            ("h[", "h[", false),
            ("a**b", "ab", true),
            ("App", "app", false),
        ];
        for (pattern, text, expected) in cases {
            let patterns = Patterns::new(&[pattern.to_owned()]);
            assert_eq!(patterns.fit(text.as_bytes()), expected, "{pattern} {text}");
        }
        let several = Patterns::new(&["a:*".to_owned(), "b".to_owned()]);
        assert!(several.fit(b"a:1") && several.fit(b"b") && !several.fit(b"c"));
        assert!(!Patterns::default().fit(b""));
    }

    #[test]
    fn many_stars_take_no_long_time() {
        let patterns = Patterns::new(&[format!("{}b", "a*".repeat(2000))]);
        assert!(!patterns.fit(&[b'a'; 20_000]));
    }
}
