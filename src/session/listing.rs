//! PUBSUB's replies without what only Redhold listens to.

use bytes::BytesMut;

use crate::command::is_reserved;
use crate::resp::{self, Value, encode};

use super::frame::{bulk, elements};

/// What a subcommand of PUBSUB answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// CHANNELS, SHARDCHANNELS: names.
    Names,
    /// NUMSUB, SHARDNUMSUB: each name that was asked for, and how many listen.
    Counts,
    /// NUMPAT: how many patterns, of which so many are Redhold's.
    Patterns(i64),
}

impl Listing {
    /// That of a row of the command table; `patterns` are Redhold's at the node.
    #[must_use]
    pub fn of(row: &str, patterns: i64) -> Self {
        match row {
            "pubsub|channels" | "pubsub|shardchannels" => Self::Names,
            "pubsub|numpat" => Self::Patterns(patterns),
            _ => Self::Counts,
        }
    }

    /// Appends the reply as a node would give it that Redhold does not listen to. What is no such reply (an error) is
    /// copied.
    pub fn write(self, reply: &[u8], out: &mut BytesMut) {
        match (self, reply.first()) {
            (Self::Names, Some(&kind @ (b'*' | b'~'))) => {
                let is_shown = |name: &&[u8]| !bulk(name).is_some_and(is_reserved);
                let count = elements(reply).filter(is_shown).count();
                out.extend_from_slice(format!("{}{count}\r\n", char::from(kind)).as_bytes());
                elements(reply).filter(is_shown).for_each(|name| out.extend_from_slice(name));
            }
            (Self::Counts, Some(b'*')) => {
                encode::array_header(out, elements(reply).count());
                let mut is_ours = false;
                for (index, element) in elements(reply).enumerate() {
                    if index % 2 == 1 && is_ours {
                        encode::integer(out, 0);
                    } else {
                        is_ours = bulk(element).is_some_and(is_reserved);
                        out.extend_from_slice(element);
                    }
                }
            }
            (Self::Patterns(ours), Some(b':')) => match resp::decode(reply) {
                Ok(Some((Value::Integer(all), _))) => encode::integer(out, all.saturating_sub(ours).max(0)),
                _ => out.extend_from_slice(reply),
            },
            _ => out.extend_from_slice(reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(row: &str, reply: &str) -> String {
        let mut out = BytesMut::new();
        Listing::of(row, 1).write(reply.as_bytes(), &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn reserved_names_are_left_out_of_lists() {
        let reply = "*3\r\n$4\r\nnews\r\n$15\r\n__redhold:hello\r\n$10\r\n__redhold_\r\n";
        let shown = "*2\r\n$4\r\nnews\r\n$10\r\n__redhold_\r\n";
        for row in ["pubsub|channels", "pubsub|shardchannels"] {
            assert_eq!(written(row, reply), shown);
            assert_eq!(written(row, &reply.replace('*', "~")), shown.replace('*', "~"));
            assert_eq!(written(row, "*1\r\n$15\r\n__redhold:hello\r\n"), "*0\r\n");
            assert_eq!(written(row, "*0\r\n"), "*0\r\n");
        }
    }

    #[test]
    fn nobody_listens_to_reserved_names() {
        let reply = "*4\r\n$15\r\n__redhold:hello\r\n:1\r\n$1\r\na\r\n:2\r\n";
        for row in ["pubsub|numsub", "pubsub|shardnumsub"] {
            assert_eq!(written(row, reply), reply.replace(":1\r\n", ":0\r\n"));
            assert_eq!(written(row, "*0\r\n"), "*0\r\n");
        }
    }

    #[test]
    fn our_pattern_does_not_count() {
        assert_eq!(written("pubsub|numpat", ":3\r\n"), ":2\r\n");
        // It was gone already.
        assert_eq!(written("pubsub|numpat", ":0\r\n"), ":0\r\n");
        assert_eq!(written("pubsub|numpat", ":-9223372036854775808\r\n"), ":0\r\n", "nor below nothing");
    }

    #[test]
    fn errors_are_the_servers() {
        for row in ["pubsub|channels", "pubsub|numsub", "pubsub|numpat"] {
            assert_eq!(written(row, "-NOPERM no\r\n"), "-NOPERM no\r\n");
        }
    }
}
