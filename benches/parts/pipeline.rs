//! Connections to a node, and the node: what happens to a request between the session and the reply's place in the output.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use redhold::backend::{
    BigReply, Caller, Carries, Identity, Past, Pipeline, Pools, Sampler, Settings, Slow, Surroundings,
    Target, Traced, Unanswered,
};
use redhold::command;
use redhold::telemetry::Metrics;
use redhold::topology::{Address, Marks, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::task::yield_now;

use super::{Meter, moments};

/// A primary and two replicas.
pub(crate) const NODES: u16 = 3;

/// Clients that send in one turn of the loop.
const CALLERS: usize = 16;

/// What is counted of a round.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Whether there is room, and the hand-over of the request.
    Enqueue,
    /// The same for requests that are alike, all of one caller's at once.
    EnqueueRun,
    /// The turn of the loop in which the replies of all callers have come: the loop's own work and the read of the socket
    /// are counted along, shared by all replies of the turn.
    Match,
}

/// One worker's connections, open, and the nodes' ends of them.
pub(crate) struct Stage {
    pools: Pools<Asker>,
    primary: Pipeline<Asker>,
    /// By node; the first is the primary.
    nodes: Vec<std::net::TcpStream>,
    callers: Vec<Asker>,
    /// Requests that each caller sends at a time.
    each: usize,
    runtime: LocalRuntime,
}

impl Stage {
    /// Callers that send `each` requests at a time.
    pub(crate) fn new(each: usize) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
            .expect("the loop of a worker");
        let pools = Pools::new(surroundings());
        let opened: Vec<_> = (0..NODES).map(|node| runtime.block_on(open(&pools, NodeId(node)))).collect();
        let (pipelines, nodes): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        let tally = Rc::new(Tally::default());
        let callers = (0..CALLERS).map(|_| Asker(Rc::new(Asked { tally: tally.clone() }))).collect();
        Self { pools, primary: pipelines[0].clone(), nodes, callers, each, runtime }
    }

    /// Requests that a node owes.
    pub(crate) fn outstanding(&self, node: NodeId) -> usize {
        self.pools.outstanding(node)
    }

    /// The open connection of a client that has just connected.
    pub(crate) fn pipeline(&self, node: NodeId) -> Option<Pipeline<Asker>> {
        let now = self.primary.last_used();
        self.pools.pipeline(node, &Identity::fresh(), Carries::Anything, now, || unreachable!("it is open"))
    }

    /// In every round each caller sends its requests and the primary answers them all with `reply`.
    pub(crate) fn serve(mut self, meter: &mut Meter, count: Count, request: &[u8], reply: &[u8]) {
        let requests = self.callers.len() * self.each;
        let scanner = redhold::resp::RequestScanner::of_kept(request).expect("a request");
        let tag = command::classify(&scanner.request(request)).row.0;
        let moments = moments(self.callers.len());
        let mut received = vec![0; request.len() * requests];
        let replies = reply.repeat(requests);
        let run = request.repeat(self.each);
        while meter.goes_on() {
            let room = match count {
                Count::Enqueue => meter.count(requests, || self.enqueue(tag, request, &moments)),
                Count::EnqueueRun => meter.count(requests, || self.enqueue_runs(tag, &run, &moments)),
                Count::Match => self.enqueue(tag, request, &moments),
            };
            assert!(room, "the callers' requests have room");
            self.tally().left.set(requests);
            // The connection's task writes.
            self.runtime.block_on(async {
                for _ in 0..4 {
                    yield_now().await;
                }
            });
            self.nodes[0].read_exact(&mut received).expect("the requests arrive");
            self.nodes[0].write_all(&replies).expect("the replies are sent");
            let answered = || self.runtime.block_on(self.tally().all());
            if count == Count::Match {
                meter.count(requests, answered)
            } else {
                answered()
            };
        }
    }

    fn enqueue(&self, tag: u16, request: &[u8], moments: &[Instant]) -> bool {
        let mut room = true;
        for (caller, now) in self.callers.iter().zip(moments) {
            for _ in 0..self.each {
                room &= self.primary.has_room(request.len(), caller);
                self.primary.send(caller, tag, (request, 1), Past::default(), *now);
            }
        }
        room
    }

    fn enqueue_runs(&self, tag: u16, run: &[u8], moments: &[Instant]) -> bool {
        let mut room = true;
        for (caller, now) in self.callers.iter().zip(moments) {
            room &= self.primary.room() >= run.len();
            self.primary.send(caller, tag, (run, self.each as u32), Past::default(), *now);
        }
        room
    }

    fn tally(&self) -> &Tally {
        &self.callers[0].0.tally
    }
}

fn surroundings() -> Surroundings {
    // Under callgrind every reply takes long; nobody is to be told.
    let settings = Settings { slow_micros: u64::MAX, ..Settings::default() };
    let names = command::rows().iter().map(|row| row.name.to_owned()).collect();
    let nodes = (0..NODES).map(|node| node.to_string()).collect();
    Surroundings {
        tls: None,
        sampler: Rc::new(Sampler::new(settings.sample_one_in, 1)),
        tracer: Rc::new(Sampler::per_million(0, 1)),
        marks: Arc::new(Marks::new(Instant::now())),
        scratch: Rc::new(RefCell::new(vec![0; 64 << 10].into_boxed_slice())),
        kept: Rc::default(),
        kept_max: settings.hold_memory as usize,
        answered: Rc::default(),
        metrics: Metrics::new(names, nodes, 1, 1).worker(0),
        settings: Rc::new(settings),
    }
}

/// An open connection and the node's end of it, which has answered the greeting.
async fn open(pools: &Pools<Asker>, node: NodeId) -> (Pipeline<Asker>, std::net::TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let identity = Identity::fresh();
    let target = Target {
        node,
        address: Address { host: "127.0.0.1".into(), port },
        run_id: None,
        epoch: 1,
        identity: identity.clone(),
    };
    let pipeline = pools
        .pipeline(node, &identity, Carries::Anything, Instant::now(), || target)
        .expect("no other connection is open");
    let (mut end, _) = listener.accept().await.expect("the pool connects");
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"$2\r\nID\r\n") {
        assert_ne!(end.read_buf(&mut greeting).await.expect("the greeting"), 0);
    }
    end.write_all(b"+OK\r\n:7\r\n").await.expect("the greeting is answered");
    while !pipeline.is_open() {
        yield_now().await;
    }
    let end = end.into_std().expect("a socket of the system");
    end.set_nonblocking(false).expect("it may block");
    end.set_read_timeout(Some(Duration::from_secs(30))).expect("not for ever");
    (pipeline, end)
}

/// Replies that are to come, over all callers, and who waits for the last of them.
#[derive(Default)]
struct Tally {
    left: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Tally {
    async fn all(&self) {
        poll_fn(|cx| {
            if self.left.get() == 0 {
                return Poll::Ready(());
            }
            self.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// A caller that only counts, so that nothing of the frontend is counted.
#[derive(Clone)]
pub(crate) struct Asker(Rc<Asked>);

/// What makes one caller another than the next.
struct Asked {
    tally: Rc<Tally>,
}

impl PartialEq for Asker {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Caller for Asker {
    fn replies(&self, _tag: u16, _frames: &[u8], count: u32) {
        let left = &self.0.tally.left;
        left.set(left.get() - count as usize);
    }

    fn settle(&self) {
        if self.0.tally.left.get() == 0
            && let Some(waker) = self.0.tally.waker.take()
        {
            waker.wake();
        }
    }

    fn error(&self, _tag: u16, frame: &[u8], _request: &[u8], _resent: bool) -> bool {
        panic!("the node answers {:?}", String::from_utf8_lossy(frame));
    }

    fn part(&self, _tag: u16, _piece: &[u8], _last: bool) {
        panic!("no reply is large");
    }

    fn refused(&self, _tag: u16, error: &[u8], _count: u32) {
        panic!("the node refuses: {:?}", String::from_utf8_lossy(error));
    }

    fn big(&self, _tag: u16, _request: &[u8], reply: &BigReply) {
        panic!("a reply of {} bytes", reply.bytes);
    }

    fn lost(&self, unanswered: &Unanswered<'_>, _broken: bool) {
        panic!("{} requests were lost", unanswered.count);
    }

    fn slow(&self, _slow: &Slow<'_>) {
        panic!("nothing counts as slow");
    }

    fn sampled(&self, _tag: u16, _request: &[u8], _db: u32) {}

    fn traced(&self, _traced: &Traced<'_>) {
        panic!("nothing is traced");
    }
}
