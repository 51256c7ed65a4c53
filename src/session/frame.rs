//! Looking into a reply without building a value of it.

use crate::resp::{Fed, ReplyScanner};

/// The elements of an aggregate reply, each as its bytes; ends early where the bytes end inside an element. A map's
/// keys and values take turns. None for anything but an aggregate.
pub(super) fn elements(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (count, mut rest) = match header(frame) {
        Some((b'%', length, rest)) => (length.saturating_mul(2), rest),
        Some((b'*' | b'~' | b'>', length, rest)) => (length, rest),
        _ => (0, frame),
    };
    (0..count).map_while(move |_| match ReplyScanner::default().feed(rest) {
        Ok(Fed::Frame { end }) => {
            let (element, after) = rest.split_at(end);
            rest = after;
            Some(element)
        }
        Ok(Fed::More) | Err(_) => None,
    })
}

/// The bytes of a bulk string, `None` for anything else, a null included.
pub(super) fn bulk(element: &[u8]) -> Option<&[u8]> {
    match header(element)? {
        (b'$', length, rest) => rest.get(..usize::try_from(length).ok()?),
        _ => None,
    }
}

/// Type byte, length and what follows the header line. `None` when the length is no number from 0.
fn header(frame: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (&kind, rest) = frame.split_first()?;
    let end = rest.iter().position(|&byte| byte == b'\r')?;
    let length = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((kind, length, rest.get(end + 2..)?))
}
