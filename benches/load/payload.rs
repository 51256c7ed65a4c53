//! The bytes of requests and of the replies they must get.

use crate::fault::Fault;

/// Bytes of a value that say whose it is; the rest is filler that depends on them.
const STAMP: usize = 16;
const SHIFTS: usize = 64;

/// One request and what its reply must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// GET of `key`, which holds its value of `version`.
    Get { key: u32, version: u32 },
    /// SET of `key` to its value of `version`.
    Set { key: u32, version: u32 },
    /// MULTI, GET of `key`, SET of it to its value of `version`, EXEC: sent at once, answered with the value of the
    /// version before in EXEC's array.
    Transaction { key: u32, version: u32 },
}

/// Writes requests and judges replies for values of one size.
pub(crate) struct Payload {
    size: usize,
    /// One longer than the longest filler by [`SHIFTS`]: each version takes another window of it.
    filler: Vec<u8>,
    get_prefix: Vec<u8>,
    length_line: Vec<u8>,
}

impl Payload {
    /// `size` counts the bytes of a value and is at least 16.
    pub(crate) fn new(size: u32) -> Self {
        let size = size as usize;
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let filler = (0..size + SHIFTS)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // CR and LF among them: a proxy that looks for line ends inside values must fail here.
                (state >> 56) as u8
            })
            .collect();
        Self {
            size,
            filler,
            get_prefix: b"*2\r\n$3\r\nGET\r\n$16\r\n".to_vec(),
            length_line: format!("${size}\r\n").into_bytes(),
        }
    }

    /// Bytes of a value.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Appends the request to `out`.
    pub(crate) fn encode(&self, call: Call, out: &mut Vec<u8>) {
        match call {
            Call::Get { key, .. } => {
                out.extend_from_slice(&self.get_prefix);
                out.extend_from_slice(&name(*b"key:", key));
                out.extend_from_slice(b"\r\n");
            }
            Call::Set { key, version } => {
                out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$16\r\n");
                out.extend_from_slice(&name(*b"key:", key));
                out.extend_from_slice(b"\r\n");
                self.append_value(key, version, out);
            }
            Call::Transaction { key, version } => {
                out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
                self.encode(Call::Get { key, version }, out);
                self.encode(Call::Set { key, version }, out);
                out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
            }
        }
    }

    /// Appends the value as an argument: its length, its bytes, the line's end.
    pub(crate) fn append_value(&self, key: u32, version: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.length_line);
        out.extend_from_slice(&stamp(key, version));
        out.extend_from_slice(self.filling(key, version));
        out.extend_from_slice(b"\r\n");
    }

    /// How many bytes of `input` are the reply to `call`; `None` while they are incomplete.
    ///
    /// # Errors
    /// The first bytes that differ from what they must be.
    pub(crate) fn judge(&self, call: Call, input: &[u8]) -> Result<Option<usize>, Fault> {
        match call {
            Call::Set { .. } => must_begin(input, &[b"+OK\r\n"]),
            Call::Get { key, version } => self.must_be_value(input, &[], key, version, b"\r\n"),
            Call::Transaction { key, version } => {
                let head = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n";
                self.must_be_value(input, head, key, version - 1, b"\r\n+OK\r\n")
            }
        }
        .map_err(|at| Fault::wrong(call, at, input))
    }

    /// As [`must_begin`]: `head`, the value as a bulk string without its last line end, and `tail`.
    pub(crate) fn must_be_value(
        &self,
        input: &[u8],
        head: &[u8],
        key: u32,
        version: u32,
        tail: &[u8],
    ) -> Result<Option<usize>, usize> {
        must_begin(input, &[head, &self.length_line, &stamp(key, version), self.filling(key, version), tail])
    }

    fn filling(&self, key: u32, version: u32) -> &[u8] {
        let shift = (key as usize).wrapping_mul(31).wrapping_add(version as usize * 7) % SHIFTS;
        &self.filler[shift..shift + self.size - STAMP]
    }
}

/// Of a reply that is not complete yet only so much is compared: an error reply shows there, and a value of 1 MiB is not
/// compared from its beginning at each of a hundred reads.
const EARLY: usize = 512;

/// The length of `parts` when `input` begins with them; the offset of the first part that differs otherwise.
pub(crate) fn must_begin(input: &[u8], parts: &[&[u8]]) -> Result<Option<usize>, usize> {
    let total = parts.iter().map(|part| part.len()).sum();
    let seen = if input.len() < total { &input[..input.len().min(EARLY)] } else { &input[..total] };
    let mut at = 0;
    for part in parts {
        let here = &seen[at.min(seen.len())..];
        let length = part.len().min(here.len());
        if here[..length] != part[..length] {
            return Err(at);
        }
        at += length;
    }
    Ok((input.len() >= total).then_some(total))
}

/// A prefix and twelve digits. `key:` makes what redis-benchmark's `key:__rand_int__` makes, so that both tools meet the
/// same keys.
pub(crate) fn name(prefix: [u8; 4], number: u32) -> [u8; 16] {
    let mut text = *b"????000000000000";
    text[..4].copy_from_slice(&prefix);
    let mut rest = number;
    for digit in text[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text
}

fn stamp(key: u32, version: u32) -> [u8; STAMP] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let both = u64::from(key) << 32 | u64::from(version);
    std::array::from_fn(|place| DIGITS[(both >> (60 - 4 * place) & 15) as usize])
}
