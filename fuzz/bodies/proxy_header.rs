//! Arbitrary bytes as a PROXY header: however it is cut it is the same, it never reaches beyond what came, and what follows it is
//! the client's.

use std::net::SocketAddr;

use redhold::frontend::header_of;

/// Until a header has ended, more bytes are waited for.
const LONGEST: usize = 4 << 10;

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// See the module's text.
pub fn body(data: &[u8]) {
    let data = &data[..data.len().min(LONGEST)];
    let whole = header_of(data).map_err(|error| error.kind());
    let by_bytes = (0..=data.len())
        .find_map(|end| header_of(&data[..end]).map_err(|error| error.kind()).transpose())
        .transpose();
    match (&whole, &by_bytes) {
        // What can be no header any more is told from its first bytes or when it has come whole.
        (Err(_), Err(_)) => {}
        _ => assert_eq!(by_bytes, whole),
    }
    let Ok(Some((len, ends))) = whole else { return };
    assert!(len <= data.len());
    assert_eq!(header_of(&data[..len]).expect("it is one").map(|(len, _)| len), Some(len));
    match (data.strip_prefix(V1), data.strip_prefix(V2)) {
        (Some(_), _) => {
            assert!(data[..len].ends_with(b"\r\n"));
            if let Some((source, destination)) = ends {
                let line = std::str::from_utf8(&data[..len - 2]).expect("a line of ASCII");
                let words: Vec<&str> = line.split(' ').collect();
                let end =
                    |host: &str, port: &str| Some(SocketAddr::new(host.parse().ok()?, port.parse().ok()?));
                assert_eq!(Some(source), end(words[2], words[4]), "{line}");
                assert_eq!(Some(destination), end(words[3], words[5]), "{line}");
            }
        }
        (_, Some(rest)) => {
            assert_eq!(len, V2.len() + 4 + usize::from(u16::from_be_bytes([rest[2], rest[3]])))
        }
        _ => panic!("a header without its first bytes: {}", data.escape_ascii()),
    }
}
