//! Cursors of the SCAN family carry the epoch that they belong to. Pure.
//!
//! Bits 44 to 51 of a cursor other than 0 are XORed with `(epoch - 1) mod 256`: epoch 1 changes nothing, 0 stays
//! 0, and every cursor stays below 2^53, which is as far as clients that keep numbers as doubles can count.

use bytes::BytesMut;

use crate::resp::encode;

const SHIFT: u32 = 44;
const MASK: u64 = 0xff << SHIFT;

/// Position of the cursor among the words of a command: SCAN has it first, the others after their key.
pub(super) fn position(name: &[u8]) -> usize {
    if name.len() == 4 { 1 } else { 2 }
}

/// The bits that `epoch` puts into a cursor.
pub(super) fn stamp(epoch: u64) -> u64 {
    (epoch.wrapping_sub(1) & 0xff) << SHIFT
}

/// The server's own cursor in what a client sent.
///
/// # Errors
/// The epoch, as far as its low eight bits tell, of a cursor that is not of `epoch`.
pub(super) fn strip(given: &[u8], epoch: u64) -> Result<Vec<u8>, u64> {
    let Some(cursor) = parse(given).filter(|cursor| *cursor != 0) else {
        // Zero, or no number: Redis judges it.
        return Ok(given.to_vec());
    };
    let bare = cursor ^ stamp(epoch);
    if bare & MASK == 0 {
        return Ok(bare.to_string().into_bytes());
    }
    let low = ((cursor & MASK) >> SHIFT) + 1;
    // The latest epoch with these bits that is not the present one.
    let mut of = (epoch & !0xff) | (low & 0xff);
    if of >= epoch {
        of = of.saturating_sub(0x100);
    }
    Err(if of == 0 { low } else { of })
}

/// Copies the reply of a SCAN command with its cursor stamped; anything of another shape is copied unchanged.
pub(super) fn stamp_reply(frame: &[u8], epoch: u64, out: &mut BytesMut) {
    match split(frame) {
        Some((cursor, rest)) if cursor != 0 => {
            out.extend_from_slice(b"*2\r\n");
            encode::bulk(out, (cursor ^ stamp(epoch)).to_string().as_bytes());
            out.extend_from_slice(rest);
        }
        _ => out.extend_from_slice(frame),
    }
}

/// The cursor of `*2 $n cursor …` and what follows it.
fn split(frame: &[u8]) -> Option<(u64, &[u8])> {
    let rest = frame.strip_prefix(b"*2\r\n$")?;
    let line = rest.iter().position(|byte| *byte == b'\r')?;
    let len: usize = std::str::from_utf8(&rest[..line]).ok()?.parse().ok()?;
    let body = rest.get(line + 2..)?;
    Some((parse(body.get(..len)?)?, body.get(len + 2..)?))
}

fn parse(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_only_in_its_own_epoch() {
        for epoch in [1, 2, 41, 256, 257, 1_000] {
            let mut reply = BytesMut::new();
            stamp_reply(b"*2\r\n$4\r\n1234\r\n*0\r\n", epoch, &mut reply);
            let (cursor, rest) = split(&reply).unwrap();
            assert_eq!(rest, b"*0\r\n");
            assert!(cursor < 1 << 53);
            let given = cursor.to_string();
            assert_eq!(strip(given.as_bytes(), epoch), Ok(b"1234".to_vec()));
            assert_eq!(strip(given.as_bytes(), epoch + 1), Err(epoch));
        }
    }

    #[test]
    fn the_first_epoch_and_zero_change_nothing() {
        assert_eq!(stamp(1), 0);
        assert_eq!(strip(b"0", 42), Ok(b"0".to_vec()));
        assert_eq!(strip(b"junk", 42), Ok(b"junk".to_vec()));
        let mut reply = BytesMut::new();
        stamp_reply(b"*2\r\n$1\r\n0\r\n*0\r\n", 42, &mut reply);
        assert_eq!(&reply[..], b"*2\r\n$1\r\n0\r\n*0\r\n");
    }
}
