//! An OpenTelemetry collector: takes traces as OTLP's JSON over HTTP, checks their form, and remembers their spans.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value as Json;

use super::process::listen;
use super::wait::{LONG, eventually_some};

/// A span, as far as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: Option<String>,
    pub name: String,
    /// OTLP's number: 1 within, 2 serves, 3 asks.
    pub kind: u64,
    /// Nanoseconds since 1970, as is `end`.
    pub start: u64,
    pub end: u64,
    pub attributes: Vec<(String, String)>,
    pub events: usize,
    pub failed: bool,
}

impl Span {
    fn of(json: &Json) -> Self {
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let number = |name: &str| text(name).and_then(|text| text.parse().ok()).expect("a number as a text");
        let id = |name: &str, digits: usize| {
            let id = text(name)?;
            assert!(
                id.len() == digits && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{name} in {json}"
            );
            assert!(id.bytes().any(|byte| byte != b'0'), "{name} in {json}");
            Some(id)
        };
        let attributes = json["attributes"].as_array().expect("attributes").iter().map(|one| {
            let value = one["value"].as_object().and_then(|value| value.values().next()).expect("a value");
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (one["key"].as_str().expect("a key").to_owned(), shown)
        });
        Self {
            trace: id("traceId", 32).expect("a trace"),
            id: id("spanId", 16).expect("an id"),
            parent: id("parentSpanId", 16),
            name: text("name").expect("a name"),
            kind: json["kind"].as_u64().expect("a kind"),
            start: number("startTimeUnixNano"),
            end: number("endTimeUnixNano"),
            attributes: attributes.collect(),
            events: json["events"].as_array().map_or(0, Vec::len),
            failed: json["status"]["code"] == 2,
        }
    }

    /// What it says under this name.
    pub fn says(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }
}

/// What it has taken, and what it answers with: a status and further headers.
#[derive(Debug)]
struct Shared {
    spans: Mutex<Vec<Span>>,
    posts: Mutex<usize>,
    answer: Mutex<(u16, &'static str)>,
}

/// See the module's text. Its thread ends with the test.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Collector {
    /// Takes everything.
    pub fn start() -> Self {
        Self::at(listen())
    }

    /// The same where somebody listens already.
    pub fn at(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let answer = Mutex::new((200, ""));
        let shared = Arc::new(Shared { spans: Mutex::default(), posts: Mutex::default(), answer });
        let theirs = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = theirs.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// For `tracing.otlp`, as TOML writes it.
    pub fn url(&self) -> String {
        format!("\"http://{}/otlp\"", self.address)
    }

    /// Answers with this from now on, and takes nothing unless it is 200.
    pub fn answer_with(&self, status: u16, headers: &'static str) {
        *self.shared.answer.lock().expect("no panic") = (status, headers);
    }

    /// How many posts there were.
    pub fn posts(&self) -> usize {
        *self.shared.posts.lock().expect("no panic")
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.shared.spans.lock().expect("no panic").clone()
    }

    /// The first trace whose root has this name and fits, once it is there: the root, and what is below it in the order of beginnings.
    #[track_caller]
    pub fn trace(&self, name: &str, fits: impl Fn(&Span) -> bool) -> (Span, Vec<Span>) {
        eventually_some(LONG, &format!("a trace {name}"), || {
            let spans = self.spans();
            let root = spans.iter().find(|it| it.parent.is_none() && it.name == name && fits(it))?;
            let mut below: Vec<Span> =
                spans.iter().filter(|it| it.trace == root.trace && it.id != root.id).cloned().collect();
            below.sort_by_key(|it| it.start);
            Some((root.clone(), below))
        })
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().expect("another descriptor"));
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_ascii_lowercase());
    }
    assert_eq!(head[0], "post /otlp/v1/traces http/1.1", "{head:?}");
    assert!(head.iter().any(|line| line == "content-type: application/json"), "{head:?}");
    let len = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; len.expect("a length")];
    reader.read_exact(&mut body).expect("a body");
    let (status, headers) = *shared.answer.lock().expect("no panic");
    if status == 200 {
        let body: Json = serde_json::from_slice(&body).expect("JSON");
        let of = &body["resourceSpans"][0];
        assert_eq!(of["resource"]["attributes"][0]["value"]["stringValue"], "redhold", "{body}");
        let spans = of["scopeSpans"][0]["spans"].as_array().expect("spans");
        shared.spans.lock().expect("no panic").extend(spans.iter().map(Span::of));
    }
    *shared.posts.lock().expect("no panic") += 1;
    let answer = format!("HTTP/1.1 {status} x\r\n{headers}content-length: 2\r\n\r\n{{}}");
    // Who asked may be gone.
    let _ = (&stream).write_all(answer.as_bytes());
}
