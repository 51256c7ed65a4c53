//! Remembers requests that took `log.slowlog` or longer. Whoever comes here has compared already: nothing else costs anything.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::command::RowId;
use crate::frontend::client::Client;
use crate::frontend::server_time;
use crate::frontend::slow_log::{Entry, cut, named, shown};
use crate::resp::RequestScanner;
use crate::topology::NodeId;

use super::{Worker, lock};

/// A request, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(in crate::frontend) struct Took {
    pub(in crate::frontend) row: RowId,
    /// Where the time passed; `None`: the proxy held it so long.
    pub(in crate::frontend) node: Option<NodeId>,
    pub(in crate::frontend) micros: u64,
    /// Microseconds that it was held before, if it was at a node.
    pub(in crate::frontend) waited: u32,
    /// Our end of the connection that it went over.
    pub(in crate::frontend) local: Option<SocketAddr>,
    /// When it was over.
    pub(in crate::frontend) now: Instant,
}

impl Worker {
    /// Whether something that took so long is remembered.
    #[inline]
    pub(in crate::frontend) fn is_slow(&self, micros: u64) -> bool {
        micros >= self.pools.around().settings.slow_micros
    }

    /// A request of this client has its reply. It is in multibulk form; empty when it was not kept, so that only its name is known.
    #[cold]
    pub(in crate::frontend) fn note_slow<'a>(
        &self,
        client: &Client,
        took: &Took,
        request: impl FnOnce() -> &'a [u8],
    ) {
        let Took { row, node, micros, waited, local, now } = *took;
        if !lock(&self.shared.slow_log).takes(node, row, now) {
            return;
        }
        let request = request();
        let scanner = RequestScanner::of_kept(request);
        let sought = node.zip(local).filter(|_| scanner.is_some());
        let arguments = scanner.map_or_else(|| named(row), |scanner| shown(&scanner.request(request)));
        let shown = self.shared.registry.row(client.id, now);
        let (addr, name) = shown.map(|it| (it.addr, cut(&it.name))).unwrap_or_default();
        let waited = if node.is_some() { u64::from(waited) } else { micros };
        let place = node.and_then(|node| Some(self.current().node(node)?.address.to_string()));
        let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_secs();
        let entry = Entry { unix, micros, arguments, addr, name, node: place, waited, server: None, sought };
        let mut log = lock(&self.shared.slow_log);
        log.push(entry);
        let asks = sought.and_then(|(node, _)| Some((node, log.asks(node, now)?)));
        drop(log);
        if let Some((node, pause)) = asks {
            server_time::ask(self, node, pause);
        }
    }
}
