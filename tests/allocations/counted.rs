//! The proxy as a process of its own under the counting allocator.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::support::{LONG, Proxy, ProxyOptions, eventually_some};

/// Where the process answers for its counts, beside its configuration.
pub const SOCKET: &str = "counts";

/// What the process has allocated so far.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Allocations and reallocations of the threads that serve clients.
    pub allocations: u64,
    /// Bytes in use.
    pub in_use: u64,
    /// The most of them since it was last asked.
    pub peak: u64,
}

/// A running proxy and its counts.
#[derive(Debug)]
pub struct Counted {
    pub proxy: Proxy,
    door: UnixStream,
}

impl Counted {
    #[track_caller]
    pub fn start(options: ProxyOptions) -> Self {
        let program = std::env::current_exe().expect("the system tells");
        let proxy = options.program(program).start();
        let socket = proxy.config_file().with_file_name(SOCKET);
        let door = eventually_some(LONG, "the counts can be read", || UnixStream::connect(&socket).ok());
        door.set_read_timeout(Some(LONG)).expect("a timeout above zero is accepted");
        Self { proxy, door }
    }

    #[track_caller]
    pub fn counts(&mut self) -> Counts {
        self.door.write_all(b"c").expect("the proxy lives");
        let [allocations, in_use, peak] = [(); 3].map(|()| self.number());
        Counts { allocations, in_use, peak }
    }

    /// Where `work` makes the proxy allocate.
    #[track_caller]
    pub fn places(&mut self, work: impl FnOnce()) -> String {
        self.door.write_all(b"t").expect("the proxy lives");
        self.door.read_exact(&mut [0]).expect("the proxy answers");
        work();
        self.door.write_all(b"p").expect("the proxy lives");
        let mut text = vec![0; usize::try_from(self.number()).expect("it is short")];
        self.door.read_exact(&mut text).expect("the proxy answers");
        String::from_utf8_lossy(&text).into_owned()
    }

    #[track_caller]
    fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.door.read_exact(&mut bytes).expect("the proxy answers");
        u64::from_le_bytes(bytes)
    }
}
