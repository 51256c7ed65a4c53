//! A parked request issued again waits only for the rest of its time. Pure.

use std::time::Duration;

use bytes::BytesMut;

use crate::command::RowId;
use crate::resp::{RequestScanner, encode};

/// The unit of a command's timeout.
#[derive(Clone, Copy)]
enum Unit {
    Seconds,
    Milliseconds,
}

/// `request` with its timeout lessened by `waited`. A timeout of 0 waits for ever and stays; one that has run out
/// becomes the least that is not 0. What has no timeout that could be read is left as it is.
pub(super) fn remaining(request: &[u8], row: RowId, waited: Duration) -> Vec<u8> {
    let Some(scanner) = RequestScanner::of_kept(request) else { return request.to_vec() };
    let parsed = scanner.request(request);
    let words: Vec<&[u8]> = parsed.args().collect();
    let Some((at, unit)) = timeout_at(row.spec().name, &words) else { return request.to_vec() };
    let given = std::str::from_utf8(words[at]).ok().and_then(|text| text.parse::<f64>().ok());
    let Some(given) = given.filter(|given| *given > 0.0) else { return request.to_vec() };
    let left = match unit {
        Unit::Seconds => format!("{:.3}", (given - waited.as_secs_f64()).max(0.001)),
        Unit::Milliseconds => format!("{}", (given - waited.as_secs_f64() * 1_000.0).max(1.0).ceil()),
    };
    let mut rewritten = words.clone();
    rewritten[at] = left.as_bytes();
    let mut out = BytesMut::new();
    encode::command(&mut out, &rewritten);
    out.to_vec()
}

fn timeout_at(name: &str, words: &[&[u8]]) -> Option<(usize, Unit)> {
    match name {
        "blmpop" | "bzmpop" => Some((1, Unit::Seconds)),
        "xread" | "xreadgroup" => {
            let block = words.iter().position(|word| word.eq_ignore_ascii_case(b"block"))?;
            (block + 1 < words.len()).then_some((block + 1, Unit::Milliseconds))
        }
        _ => words.len().checked_sub(1).map(|last| (last, Unit::Seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::remaining;
    use crate::command::find;
    use std::time::Duration;

    fn after(words: &[&str], waited_ms: u64) -> String {
        let mut request = bytes::BytesMut::new();
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        crate::resp::encode::command(&mut request, &words);
        let row = find(words[0]).unwrap();
        let left = remaining(&request, row, Duration::from_millis(waited_ms));
        let scanner = crate::resp::RequestScanner::of_kept(&left).unwrap();
        let parsed = scanner.request(&left);
        parsed.args().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_rest_of_the_time_is_what_is_left() {
        assert_eq!(after(&["blpop", "a", "b", "5"], 1_500), "blpop a b 3.500");
        assert_eq!(after(&["blmpop", "5", "1", "a", "LEFT"], 6_000), "blmpop 0.001 1 a LEFT");
        assert_eq!(
            after(&["xread", "BLOCK", "2000", "STREAMS", "s", "$"], 500),
            "xread BLOCK 1500 STREAMS s $"
        );
    }

    #[test]
    fn for_ever_stays_for_ever() {
        assert_eq!(after(&["blpop", "a", "0"], 9_000), "blpop a 0");
        assert_eq!(after(&["blpop", "a", "soon"], 9_000), "blpop a soon");
    }
}
