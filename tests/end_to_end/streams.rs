//! Clients that never wait until all that they asked for was answered: a window of requests that slides on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::{Client, Group, LONG, Proxy, ProxyOptions, Relay, Server, Value, encode, eventually};

/// Requests under way at any moment. Not so many that a slow machine takes long to answer them.
const WINDOW: usize = 512;

/// Requests in one write.
const BATCH: usize = 16;

/// A client that sends one command without end and never lets all of its replies come.
struct Stream {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    flowed_ms: Arc<AtomicU64>,
    sender: JoinHandle<()>,
    reader: JoinHandle<BTreeMap<String, usize>>,
}

impl Stream {
    fn start(proxy: &Proxy, words: &'static [&'static str]) -> Self {
        let mut client = Client::connect(proxy.address());
        let mut sending = client.sender();
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let flowed_ms = Arc::new(AtomicU64::new(0));
        let sender = std::thread::spawn({
            let (stop, answered) = (stop.clone(), answered.clone());
            move || {
                let request = encode(words).repeat(BATCH);
                let mut sent = 0;
                while !stop.load(Ordering::SeqCst) {
                    if sent < answered.load(Ordering::SeqCst) + WINDOW {
                        sending.send_raw(&request);
                        sent += BATCH;
                    } else {
                        std::thread::yield_now();
                    }
                }
                sending.send(&["ECHO", "end"]);
            }
        });
        let reader = std::thread::spawn({
            let (answered, flowed_ms) = (answered.clone(), flowed_ms.clone());
            move || {
                let (mut errors, start) = (BTreeMap::new(), Instant::now());
                loop {
                    match client.read() {
                        Value::Error(text) => *errors.entry(text).or_default() += 1,
                        reply if reply == Value::bulk("end") => return errors,
                        _ => {}
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                    flowed_ms.store(start.elapsed().as_millis() as u64, Ordering::SeqCst);
                }
            }
        });
        Self { stop, answered, flowed_ms, sender, reader }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// From its start to its latest reply.
    fn flowed(&self) -> Duration {
        Duration::from_millis(self.flowed_ms.load(Ordering::SeqCst))
    }

    /// The errors that it got, and how often.
    fn finish(self) -> BTreeMap<String, usize> {
        self.stop.store(true, Ordering::SeqCst);
        self.sender.join().expect("all was sent");
        self.reader.join().expect("all was answered")
    }
}

/// Far enough from the node that there is always a request under way.
const DELAY: Duration = Duration::from_millis(5);

/// Longer than `health.timeout`, after which a request without a reply counts as what may have killed the node.
const AGE: Duration = Duration::from_millis(1_500);

#[test]
fn a_kill_finds_the_requests_of_a_stream_as_young_as_they_are() {
    let mut group = Group::plain(1);
    let relay = Relay::to(group.nodes()[0].address());
    let nodes = [relay.address(), group.nodes()[1].address()];
    let proxy = ProxyOptions::new(&nodes).noticing_silence().start();
    relay.delay(DELAY);
    let streams = [
        Stream::start(&proxy, &["SET", "key of the stream", "value"]),
        Stream::start(&proxy, &["GET", "key"]),
    ];
    eventually(LONG, "they are old", || {
        streams.iter().all(|stream| stream.flowed() > AGE && stream.answered() > 2 * WINDOW)
    });
    group.node(0).kill9();
    let before: Vec<usize> = streams.iter().map(Stream::answered).collect();
    eventually(LONG, "they go on", || {
        streams.iter().zip(&before).all(|(stream, before)| stream.answered() > before + 1_000)
    });
    for stream in streams {
        assert_eq!(stream.finish(), BTreeMap::new());
    }
    assert_eq!(group.primary(), 1);
}

#[test]
fn a_stream_is_measured_and_forgotten_while_it_flows() {
    let server = Server::start();
    let relay = Relay::to(server.address());
    let proxy = Proxy::start(&[relay.address()]);
    relay.delay(DELAY);
    let stream = Stream::start(&proxy, &["SET", "key of the stream", "value"]);
    eventually(LONG, "it is old", || stream.flowed() > AGE && stream.answered() > 4 * WINDOW);
    let answered = stream.answered() as f64;
    let count = proxy.metric("redhold_command_duration_seconds_count{command=\"set\"}").unwrap_or_default();
    let sum = proxy.metric("redhold_command_duration_seconds_sum{command=\"set\"}").unwrap_or_default();
    assert!(count + 2.0 * WINDOW as f64 > answered, "{count} of {answered} were measured");
    // What was under way at one moment was not under way for all of the test.
    assert!(sum / count < AGE.as_secs_f64() / 3.0, "{sum} s for {count} requests");
    assert_eq!(stream.finish(), BTreeMap::new());
}
