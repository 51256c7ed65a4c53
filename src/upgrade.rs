//! Another process of this program takes over from this one: it is started, given the listening sockets, which are closed at no
//! time, and serves once this one decides nothing any more.
//!
//! They talk over a pair of sockets that keeps packets apart; the successor finds its end of it as its standard input. In this
//! order: [`Successor::start`] sends the sockets, the successor does everything that may fail and says [`PREPARED`], is told
//! [`YOURS`], and says [`SERVING`]. Whoever ends before that closes its end, and the other goes on as if nothing had been. From then
//! on each packet is a client, until the predecessor ends.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use socket2::SockRef;
use zeroize::{Zeroize, Zeroizing};

use crate::net::Inherited;

/// Holds the process id of the predecessor, which has to be the parent: others may have inherited it.
const VARIABLE: &str = "_REDHOLD_SUCCEEDS";

/// First packet of the protocol; behind it stands how the predecessor is called among brains.
const HELLO: &str = "redhold-upgrade 1 ";

/// Everything that may fail has been done, but for taking `failover.state_dir`.
const PREPARED: &str = "prepared";

/// Nothing is decided by the predecessor any more.
const YOURS: &str = "yours";

/// Clients are served.
const SERVING: &str = "serving";

/// Longest packet: a client with what it has sent so far.
const PACKET_MAX: usize = 128 << 10;

/// Sockets that are handed over at most; the system takes 253 in a packet.
const SOCKETS_MAX: usize = 128;

/// Names are looked up and files read meanwhile; nobody waits for it.
const PREPARING: Duration = Duration::from_secs(60);

/// Between two looks at whether it is waited for in vain.
const LOOK: Duration = Duration::from_millis(50);

/// Nobody decides meanwhile.
const TAKING_OVER: Duration = Duration::from_secs(10);

/// The process that is to take over, as its predecessor sees it. Dropped before it serves it is killed.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Child,
    line: OwnedFd,
    serves: bool,
}

impl Successor {
    /// Starts the program that lies now where this one was started from, with the same arguments, and waits until it is prepared.
    /// Blocks, unless `gives_up` says that this process is to end itself. `instance`: how that is called among brains; `first_id`:
    /// where the successor's ids of clients are to begin.
    ///
    /// # Errors
    /// One sentence: why not; the process that was started has ended then.
    pub(crate) fn start(
        sockets: &[OwnedFd],
        instance: &str,
        first_id: u64,
        mut gives_up: impl FnMut() -> bool,
    ) -> Result<Self, String> {
        if sockets.len() > SOCKETS_MAX {
            return Err(format!("more than {SOCKETS_MAX} sockets can not be handed over"));
        }
        let failed = |error: io::Error| format!("it cannot be started: {error}");
        let (line, theirs) = pair().map_err(failed)?;
        let program = program().map_err(failed)?;
        let mut command = Command::new(&program);
        command
            .args(std::env::args_os().skip(1))
            .env(VARIABLE, std::process::id().to_string())
            // Named this process; without it the signs of life are asked of whoever is the service's main one.
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(theirs));
        let child =
            command.spawn().map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        // The other end lives in `command` as well, and has to end with the process.
        drop(command);
        let mut successor = Self { child, line, serves: false };
        let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        let hello = format!("{HELLO}{instance} {first_id}");
        let sent = send(&successor.line, hello.as_bytes(), &sockets, SendFlags::empty());
        sent.map_err(|error| successor.fate(&error))?;
        for _ in 0..PREPARING.as_millis() / LOOK.as_millis() {
            if gives_up() {
                return Err("this process is to end".to_owned());
            }
            if has_said(&successor.line) {
                break;
            }
        }
        successor.await_word(PREPARED, LOOK)?;
        Ok(successor)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it that nothing is decided here any more, and waits until it serves. Blocks.
    ///
    /// # Errors
    /// As [`Successor::start`].
    pub(crate) fn take_over(mut self) -> Result<Line, String> {
        let line = self.line.try_clone().map_err(|error| error.to_string())?;
        send(&self.line, YOURS.as_bytes(), &[], SendFlags::empty()).map_err(|error| self.fate(&error))?;
        self.await_word(SERVING, TAKING_OVER)?;
        self.serves = true;
        Ok(Line(line))
    }

    fn await_word(&mut self, word: &str, patience: Duration) -> Result<(), String> {
        match hear(&self.line, Some(patience)) {
            Ok((said, _)) if said == word => Ok(()),
            Ok((said, _)) => Err(format!("process {} said '{said}' instead of '{word}'", self.pid())),
            Err(error) => Err(self.fate(&error)),
        }
    }

    fn fate(&mut self, error: &io::Error) -> String {
        let pid = self.pid();
        match error.kind() {
            io::ErrorKind::WouldBlock => format!("process {pid} did not come to it in time"),
            // Its words stand in the log, which it shares.
            _ => {
                let _ = self.child.kill();
                let status =
                    self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                format!("process {pid} ended before it served ({status})")
            }
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.serves {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What is left between the two once the successor serves.
#[derive(Debug)]
pub(crate) struct Line(OwnedFd);

impl Line {
    /// Gives the successor a client. Does not wait.
    ///
    /// # Errors
    /// `WouldBlock`: it has not read what it was given before; any other: it has ended, or can not be given so much.
    pub(crate) fn give(&self, words: &[u8], socket: BorrowedFd<'_>) -> io::Result<()> {
        send(&self.0, words, &[socket], SendFlags::DONTWAIT)
    }

    /// The next client of the predecessor; `None`: it has ended, or gets rid of no more. Blocks.
    pub(crate) fn next(&self) -> Option<(Zeroizing<Vec<u8>>, OwnedFd)> {
        loop {
            match receive(&self.0, None) {
                Ok((words, mut sockets)) => match sockets.pop() {
                    Some(socket) => return Some((words, socket)),
                    // It has ended thereby.
                    None => tracing::error!("a client came without its socket: no descriptor is left"),
                },
                Err(error) => {
                    if error.kind() != io::ErrorKind::UnexpectedEof {
                        tracing::error!(%error, "clients of the process before can not be taken up");
                    }
                    // Others have this end too, and what is given from now on would be nobody's.
                    let _ = SockRef::from(&self.0).shutdown(std::net::Shutdown::Both);
                    return None;
                }
            }
        }
    }
}

/// The process that this one takes over from.
#[derive(Debug)]
pub(crate) struct Predecessor {
    line: OwnedFd,
    instance: String,
    first_id: u64,
}

impl Predecessor {
    /// Whoever started this process to be succeeded by it, and the sockets; `None`: it was started by somebody else. Blocks.
    ///
    /// # Errors
    /// One sentence: it speaks of a version that this one does not understand, or a socket can not be used.
    pub(crate) fn find() -> Result<Option<(Self, Inherited)>, String> {
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_pid().to_string());
        if parent.is_none() || std::env::var(VARIABLE).ok() != parent {
            return Ok(None);
        }
        let failed = |error: io::Error| format!("the process that is to be succeeded: {error}");
        let line = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        let (hello, sockets) = hear(&line, Some(PREPARING)).map_err(failed)?;
        let names = hello.strip_prefix(HELLO).and_then(|names| names.split_once(' '));
        let understood = names.and_then(|(instance, id)| Some((instance.to_owned(), id.parse().ok()?)));
        let Some((instance, first_id)) = understood else {
            return Err(format!(
                "the process that is to be succeeded says '{hello}', which is not understood"
            ));
        };
        let inherited = Inherited::of(sockets).map_err(failed)?;
        Ok(Some((Self { line, instance, first_id }, inherited)))
    }

    /// How it is called among brains.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Where ids of clients begin.
    pub(crate) fn first_id(&self) -> u64 {
        self.first_id
    }

    /// Says that everything is prepared, and waits until nothing is decided there any more. Blocks.
    ///
    /// # Errors
    /// It has ended, or goes on by itself.
    pub(crate) fn wait_for_turn(&self) -> Result<(), String> {
        let turn = send(&self.line, PREPARED.as_bytes(), &[], SendFlags::empty())
            .and_then(|()| hear(&self.line, None));
        match turn {
            Ok((said, _)) if said == YOURS => Ok(()),
            Ok((said, _)) => Err(format!("the process that is to be succeeded said '{said}'")),
            Err(_) => Err("the process that was to be succeeded goes on or has ended".to_owned()),
        }
    }

    /// Its clients come by this.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn line(&self) -> io::Result<Line> {
        self.line.try_clone().map(Line)
    }

    /// Says that clients are served.
    pub(crate) fn succeed(self) {
        // If it has ended nobody waits for it.
        let _ = send(&self.line, SERVING.as_bytes(), &[], SendFlags::empty());
    }
}

/// Waits for it for a moment.
fn has_said(line: &OwnedFd) -> bool {
    let patience = Timespec::try_from(LOOK).ok();
    poll(&mut [PollFd::new(line, PollFlags::IN)], patience.as_ref()).is_ok_and(|ready| ready > 0)
}

/// Where this program lies, also when another lies there now.
fn program() -> io::Result<std::path::PathBuf> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let path = std::env::current_exe()?.into_os_string();
    let path = path.as_bytes().strip_suffix(b" (deleted)").unwrap_or(path.as_bytes());
    Ok(std::ffi::OsString::from_vec(path.to_vec()).into())
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn send(line: &OwnedFd, words: &[u8], sockets: &[BorrowedFd<'_>], how: SendFlags) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut handed = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() && !handed.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::Error::other("too many sockets"));
    }
    sendmsg(line, &[IoSlice::new(words)], &mut handed, how | SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next packet. `patience`: how long it is waited for at most, for ever without.
fn receive(line: &OwnedFd, patience: Option<Duration>) -> io::Result<(Zeroizing<Vec<u8>>, Vec<OwnedFd>)> {
    SockRef::from(line).set_read_timeout(patience)?;
    let mut buffer = vec![0; PACKET_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut handed = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(line, &mut [IoSliceMut::new(&mut buffer)], &mut handed, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let sockets = handed.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let sockets = sockets.flatten().collect();
    // Only so much has to be overwritten, each time.
    let words = Zeroizing::new(buffer[..received.bytes].to_vec());
    buffer[..received.bytes].zeroize();
    Ok((words, sockets))
}

/// A packet of one word or several.
fn hear(line: &OwnedFd, patience: Option<Duration>) -> io::Result<(String, Vec<OwnedFd>)> {
    let (words, sockets) = receive(line, patience)?;
    Ok((String::from_utf8_lossy(&words).into_owned(), sockets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_apart_and_sockets_listen_where_they_did() {
        let (ours, theirs) = pair().unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let path = std::env::temp_dir().join(format!("redhold-upgrade-{}", std::process::id()));
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        send(&ours, b"one", &[tcp.as_fd(), unix.as_fd()], SendFlags::empty()).unwrap();
        send(&ours, b"two", &[], SendFlags::empty()).unwrap();
        let (said, sockets) = hear(&theirs, None).unwrap();
        assert_eq!((said.as_str(), sockets.len()), ("one", 2));
        let mut inherited = Inherited::of(sockets).unwrap();
        let address = tcp.local_addr().unwrap();
        drop(tcp);
        assert_eq!(inherited.tcp(address).unwrap().local_addr().unwrap(), address);
        assert!(inherited.unix(&path).is_some());
        assert_eq!(hear(&theirs, None).unwrap().0, "two");
        let late = hear(&theirs, Some(Duration::from_millis(1))).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::WouldBlock);
        drop(ours);
        assert_eq!(hear(&theirs, None).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
