//! Options of TCP sockets: nothing of ours waits for Nagle, and nothing stays half-open for long.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Between two keepalive probes to a peer whose end is to be noticed within seconds.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Unanswered probes that end a connection; where a user timeout is set it decides instead.
const PROBES: u32 = 3;

/// How a TCP socket behaves when its peer falls silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged before the kernel gives the connection up;
    /// zero leaves the system's default (some 15 minutes). Milliseconds count, finer parts do not.
    pub user_timeout: Duration,
    /// Idle time after which keepalive probes start, three in all; zero: no keepalive. Rounded up to whole seconds,
    /// since the kernel knows no finer grain.
    pub keepalive: Duration,
    /// Time between two of them; whole seconds.
    pub probe_interval: Duration,
}

impl SocketOptions {
    /// Options under which a peer that vanished is noticed after about `timeout`, whether or not bytes of ours
    /// are on their way.
    #[must_use]
    pub const fn noticing_after(timeout: Duration) -> Self {
        Self { user_timeout: timeout, keepalive: timeout, probe_interval: PROBE_INTERVAL }
    }

    /// Sets these options and TCP_NODELAY on `stream`.
    ///
    /// # Errors
    /// What the kernel refused; the connection is then as good as lost.
    pub fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        if !self.keepalive.is_zero() {
            let idle = Duration::from_secs(self.keepalive.as_secs_f64().ceil() as u64);
            let probes =
                TcpKeepalive::new().with_time(idle).with_interval(self.probe_interval).with_retries(PROBES);
            socket.set_tcp_keepalive(&probes)?;
        }
        #[cfg(target_os = "linux")]
        if !self.user_timeout.is_zero() {
            socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        }
        Ok(())
    }
}

/// Whether the peer has neither written nor closed since the last read. The kernel is asked; nothing is taken.
pub(super) fn is_silent(stream: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    SockRef::from(stream).peek(&mut byte).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self::noticing_after(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn options_reach_the_socket() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let options = SocketOptions {
            user_timeout: Duration::from_millis(1234),
            keepalive: Duration::from_millis(1500),
            probe_interval: Duration::from_secs(7),
        };
        options.apply(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(2));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(7));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(1234)));
    }

    #[tokio::test]
    async fn zero_leaves_the_defaults() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let options = SocketOptions::noticing_after(Duration::ZERO);
        options.apply(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(!socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }
}
