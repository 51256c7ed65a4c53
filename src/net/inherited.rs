//! Listening sockets that whoever started the process hands over with it: systemd's socket activation, `sd_listen_fds(3)`, or the
//! process that this one succeeds. They outlive it, so that who connects while it is replaced waits in the kernel's queue instead of
//! being refused.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use socket2::{Domain, SockRef, Socket};

/// Those that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    /// From a process of this program, which may have listened where this one does not.
    succeeds: bool,
    tcp: Vec<(SocketAddr, TcpListener)>,
    unix: Vec<(PathBuf, UnixListener)>,
}

impl Inherited {
    /// All of them, by `LISTEN_FDS` and `LISTEN_PID`, which are removed: to be called while the process has one thread.
    ///
    /// # Errors
    /// One is no listening socket, of TCP or unix.
    pub fn take() -> Result<Self, String> {
        // The crate would take them for ours without it as well.
        let meant = std::env::var_os("LISTEN_PID").is_some_and(|pid| !pid.is_empty());
        let mut handed = if meant { ListenFd::from_env() } else { ListenFd::empty() };
        let mut all = Self::default();
        for place in 0..handed.len() {
            all.take_one(&mut handed, place)
                .map_err(|why| format!("socket {} of LISTEN_FDS can not be used: {why}", place + 1))?;
        }
        Ok(all)
    }

    /// These, of the process that this one succeeds.
    ///
    /// # Errors
    /// One is no listening socket, of TCP or unix.
    pub fn of(sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let mut all = Self { succeeds: true, ..Self::default() };
        for socket in sockets {
            let socket = Socket::from(socket);
            if socket.domain()? == Domain::UNIX {
                all.add_unix(OwnedFd::from(socket).into())?;
            } else {
                all.add_tcp(OwnedFd::from(socket).into())?;
            }
        }
        Ok(all)
    }

    fn take_one(&mut self, handed: &mut ListenFd, place: usize) -> io::Result<()> {
        if let Ok(Some(listener)) = handed.take_tcp_listener(place) {
            self.add_tcp(listener)?;
        } else if let Some(listener) = handed.take_unix_listener(place)? {
            self.add_unix(listener)?;
        }
        Ok(())
    }

    fn add_tcp(&mut self, listener: TcpListener) -> io::Result<()> {
        prepare(SockRef::from(&listener))?;
        self.tcp.push((listener.local_addr()?, listener));
        Ok(())
    }

    fn add_unix(&mut self, listener: UnixListener) -> io::Result<()> {
        prepare(SockRef::from(&listener))?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
        // One without a path is nobody's, and named as such.
        self.unix.push((path.unwrap_or_default(), listener));
        Ok(())
    }

    /// The one that listens there.
    pub fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.tcp.iter().position(|(at, _)| *at == address)?;
        Some(self.tcp.swap_remove(place).1)
    }

    /// The one that listens there.
    pub fn unix(&mut self, path: &Path) -> Option<UnixListener> {
        let place = self.unix.iter().position(|(at, _)| at == path)?;
        Some(self.unix.swap_remove(place).1)
    }

    /// Whoever connects to one that nobody took would wait for ever. One of the process before is closed instead, which its
    /// configuration asks for.
    ///
    /// # Errors
    /// Which ones are left.
    pub fn none_left(&self) -> Result<(), String> {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        let left: Vec<String> =
            tcp.chain(self.unix.iter().map(|(path, _)| format!("unix:{}", path.display()))).collect();
        if left.is_empty() {
            return Ok(());
        }
        if self.succeeds {
            tracing::warn!(?left, "the process before listened there, and this one does not");
            return Ok(());
        }
        Err(format!(
            "whoever started this process hands over sockets (LISTEN_FDS) that listen where neither proxy.listen nor admin.listen does: {}",
            left.join(", ")
        ))
    }
}

fn prepare(socket: SockRef<'_>) -> io::Result<()> {
    if !socket.is_listener()? {
        return Err(io::Error::other("it does not listen"));
    }
    socket.set_nonblocking(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_and_what_is_left_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let path = std::env::temp_dir().join(format!("redhold-inherited-{}", std::process::id()));
        let socket = UnixListener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut all =
            Inherited { succeeds: false, tcp: vec![(address, listener)], unix: vec![(path.clone(), socket)] };
        let left = all.none_left().unwrap_err();
        assert!(left.ends_with(&format!("does: {address}, unix:{}", path.display())), "{left}");
        assert!(
            all.tcp("127.0.0.1:1".parse().unwrap()).is_none() && all.unix(Path::new("/elsewhere")).is_none()
        );
        assert!(all.tcp(address).is_some() && all.tcp(address).is_none());
        assert!(all.unix(&path).is_some() && all.unix(&path).is_none());
        assert_eq!(all.none_left(), Ok(()));
    }
}
