//! A request that was sampled, and the spans that it becomes. Pure.
//!
//! Neither a key nor a value is ever in them: only what the command table names.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::ids::Ids;
use super::settings::NodePlace;
use super::span::{Attributes, Kind, Span, length, nanos};

/// The two ends of a client's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The client's and, if the system tells, the proxy's.
    Tcp(SocketAddr, Option<SocketAddr>),
    /// The path is both.
    Unix(Box<Path>),
    /// The client is gone.
    Unknown,
}

/// The first word of an error reply, if it is one that servers use: scripts may say anything there, a key included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(&'static str);

/// Those of Redis 8 and Valkey 9, as their sources and scripts say them, and Redhold's own.
const CODES: &str = "AMBIGUOUS ASK BUSY BUSYGROUP BUSYKEY CLUSTERDOWN CROSSSLOT DENIED ERR EXECABORT INPROG INVALIDOBJ IOERR LOADING \
     MASTERDOWN MISCONF MOVED NOADDR NOAUTH NOGOODSLAVE NOGROUP NOMASTERLINK NOPERM NOPROTO NOREPLICAS NOSCRIPT NOTBUSY \
     NOTDURABLE NOTREADY OOM READONLY REDIRECT TRYAGAIN UNBLOCKED UNKILLABLE WRONGPASS WRONGTYPE";

impl Code {
    /// Of an error reply, with or without its `-`.
    #[must_use]
    pub fn of(reply: &[u8]) -> Self {
        let reply = reply.strip_prefix(b"-").unwrap_or(reply);
        let word = reply.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
        Self(CODES.split(' ').find(|code| code.as_bytes() == word).unwrap_or("_OTHER"))
    }
}

/// What a node had to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtNode {
    /// Where it is; `None`: it is no longer declared.
    pub place: Option<NodePlace>,
    /// It led when it was asked, as far as the proxy knew.
    pub primary: bool,
    /// From the moment at which the request was handed to a connection until its reply was there.
    pub took: Duration,
}

/// A request that was sampled and has its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its name in the command table, `client|list`.
    pub command: &'static str,
    /// The client's database.
    pub db: u32,
    /// Who asked, and where.
    pub client: Ends,
    /// As whom; `None`: the default user.
    pub user: Option<Vec<u8>>,
    /// When its wait began.
    pub began: SystemTime,
    /// For how long the proxy held it, opened a connection for it, or sent it in vain, before the last departure.
    pub held: Duration,
    /// Who answered; `None`: the proxy itself.
    pub at_node: Option<AtNode>,
    /// The reply is an error.
    pub error: Option<Code>,
    /// It was sent more than once.
    pub resent: bool,
}

impl Request {
    /// How many spans it becomes.
    pub(super) fn spans(&self) -> u64 {
        1 + u64::from(!self.held.is_zero()) + u64::from(self.at_node.is_some())
    }

    /// The request as the client saw it, for how long it was held, and what the node took of it: the two add up to the whole.
    pub(super) fn append<'a>(&'a self, ids: &mut Ids, spans: &mut Vec<Span<'a>>) {
        let (trace, root) = (ids.trace(), ids.span());
        let start = nanos(self.began);
        let sent = start.saturating_add(length(self.held));
        let end = sent.saturating_add(self.at_node.as_ref().map_or(0, |at| length(at.took)));
        let name: Cow<'a, str> = Cow::Owned(self.command.replace('|', " ").to_ascii_uppercase());
        let span = |id, parent, name: Cow<'a, str>, kind, (start, end), attributes| {
            let failed = self.error.is_some() && kind != Kind::Internal;
            Span { trace, id, parent, name, kind, start, end, attributes, events: Vec::new(), failed }
        };
        let mut whole = self.about(&name);
        self.about_client(&mut whole);
        spans.push(span(root, None, name.clone(), Kind::Server, (start, end), whole));
        if sent > start {
            spans.push(span(
                ids.span(),
                Some(root),
                "held".into(),
                Kind::Internal,
                (start, sent),
                Vec::new(),
            ));
        }
        if let Some(at) = &self.at_node {
            let mut there = self.about(&name);
            if let Some(place) = &at.place {
                there.extend([
                    ("server.address", place.host.as_ref().into()),
                    ("server.port", place.port.into()),
                ]);
            }
            there.push(("redhold.node.role", if at.primary { "primary" } else { "replica" }.into()));
            spans.push(span(ids.span(), Some(root), name, Kind::Client, (sent, end), there));
        }
    }

    /// What both the whole and the node's part say.
    fn about<'a>(&'a self, name: &str) -> Attributes<'a> {
        let mut about = vec![
            ("db.system.name", "redis".into()),
            ("db.operation.name", name.to_owned().into()),
            ("db.namespace", self.db.to_string().into()),
        ];
        if let Some(Code(code)) = self.error {
            about.extend([("error.type", code.into()), ("db.response.status_code", code.into())]);
        }
        about
    }

    fn about_client<'a>(&'a self, about: &mut Attributes<'a>) {
        match &self.client {
            Ends::Tcp(theirs, ours) => {
                if let Some(ours) = ours {
                    about.extend([
                        ("server.address", ours.ip().to_string().into()),
                        ("server.port", ours.port().into()),
                    ]);
                }
                about.extend([
                    ("client.address", theirs.ip().to_string().into()),
                    ("client.port", theirs.port().into()),
                ]);
            }
            Ends::Unix(path) => about.push(("server.address", path.to_string_lossy().into_owned().into())),
            Ends::Unknown => {}
        }
        if let Some(user) = &self.user {
            about.push(("user.name", String::from_utf8_lossy(user).into_owned().into()));
        }
        if self.resent {
            about.push(("redhold.resent", super::span::Value::Flag(true)));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::span::Value;
    use super::*;
    use std::time::UNIX_EPOCH;

    /// An error of a node, in reply to a request that was held for 3 ms.
    pub(in crate::traces) fn request() -> Request {
        Request {
            command: "hget",
            db: 3,
            client: Ends::Tcp("10.0.0.9:41000".parse().unwrap(), "10.0.0.1:6380".parse().ok()),
            user: Some(b"app".to_vec()),
            began: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            held: Duration::from_millis(3),
            at_node: Some(AtNode {
                place: Some(NodePlace { host: "10.0.1.2".into(), port: 6379 }),
                primary: true,
                took: Duration::from_micros(250),
            }),
            error: Some(Code::of(b"-WRONGTYPE Operation against a key\r\n")),
            resent: false,
        }
    }

    fn spans(request: &Request) -> Vec<Span<'_>> {
        let mut spans = Vec::new();
        request.append(&mut Ids::new(7), &mut spans);
        assert_eq!(spans.len() as u64, request.spans());
        spans
    }

    fn said(span: &Span<'_>, name: &str) -> Option<String> {
        let (_, value) = span.attributes.iter().find(|(of, _)| *of == name)?;
        Some(match value {
            Value::Text(text) => text.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
        })
    }

    #[test]
    fn the_parts_add_up_to_the_whole_and_belong_to_it() {
        let request = request();
        let spans = spans(&request);
        let [whole, held, node] = &spans[..] else { panic!("{spans:?}") };
        let names = [whole, held, node].map(|span| (span.name.as_ref(), span.kind, span.failed));
        assert_eq!(
            names,
            [("HGET", Kind::Server, true), ("held", Kind::Internal, false), ("HGET", Kind::Client, true)]
        );
        assert_eq!([held.parent, node.parent, whole.parent], [Some(whole.id), Some(whole.id), None]);
        assert!([held.trace, node.trace] == [whole.trace; 2] && held.id != node.id && held.id != whole.id);
        assert_eq!(
            (whole.start, held.end - held.start, node.end - node.start),
            (held.start, 3_000_000, 250_000)
        );
        assert_eq!((held.end, node.end), (node.start, whole.end));
    }

    #[test]
    fn who_asked_whom_is_told_and_nothing_that_was_asked() {
        let request = request();
        let spans = spans(&request);
        for (at, name, expected) in [
            (0, "db.system.name", "redis"),
            (0, "db.operation.name", "HGET"),
            (0, "db.namespace", "3"),
            (0, "server.address", "10.0.0.1"),
            (0, "server.port", "6380"),
            (0, "client.address", "10.0.0.9"),
            (0, "client.port", "41000"),
            (0, "user.name", "app"),
            (0, "error.type", "WRONGTYPE"),
            (0, "db.response.status_code", "WRONGTYPE"),
            (2, "server.address", "10.0.1.2"),
            (2, "server.port", "6379"),
            (2, "redhold.node.role", "primary"),
            (2, "error.type", "WRONGTYPE"),
        ] {
            assert_eq!(said(&spans[at], name).as_deref(), Some(expected), "{name} of {at}");
        }
        assert_eq!(said(&spans[0], "redhold.resent"), None);
    }

    #[test]
    fn what_the_proxy_answers_at_once_is_one_span() {
        let request = Request {
            at_node: None,
            held: Duration::ZERO,
            error: None,
            client: Ends::Unix(Path::new("/run/r.sock").into()),
            resent: true,
            command: "client|list",
            ..request()
        };
        let spans = spans(&request);
        assert_eq!((spans.len(), spans[0].name.as_ref(), spans[0].failed), (1, "CLIENT LIST", false));
        assert_eq!(said(&spans[0], "server.address").as_deref(), Some("/run/r.sock"));
        assert_eq!(said(&spans[0], "redhold.resent").as_deref(), Some("true"));
        assert_eq!(said(&spans[0], "client.address"), None);
    }

    #[test]
    fn a_code_is_a_servers_word_and_never_a_scripts() {
        for (reply, code) in [
            (b"-WRONGTYPE Operation\r\n".as_slice(), "WRONGTYPE"),
            (b"TRYAGAIN held", "TRYAGAIN"),
            (b"-ERR unknown command", "ERR"),
            (b"-NOAUTH\r\n", "NOAUTH"),
            (b"-user:1234 is unknown to the script\r\n", "_OTHER"),
            (b"-SECRETKEY is unknown to the script\r\n", "_OTHER"),
            (b"-\r\n", "_OTHER"),
            (b"-AAAAAAAAAAAAAAAAAAAAAAAAA is too long\r\n", "_OTHER"),
            (b"-\xff\xfe x\r\n", "_OTHER"),
        ] {
            assert_eq!(Code::of(reply).0, code);
        }
    }
}
