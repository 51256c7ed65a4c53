//! Another process of this program takes over from this one: it is started, given the listening sockets, which are closed at no
//! time, and serves once this one decides nothing any more.
//!
//! They talk over a pair of sockets that keeps packets apart; the successor finds its end of it as its standard input. In this
//! order: [`Successor::start`] sends the sockets, the successor does everything that may fail and says [`PREPARED`], is told
//! [`YOURS`], and says [`SERVING`]. Whoever ends before that closes its end, and the other goes on as if nothing had been; the
//! successor says why, by [`FAILED`]. From then on each packet is a client, until the predecessor ends.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use socket2::SockRef;
use zeroize::{Zeroize, Zeroizing};

use crate::net::Inherited;

/// Holds the process id of the predecessor, which has to be the parent: others may have inherited it.
const VARIABLE: &str = "_REDHOLD_SUCCEEDS";

/// First packet of the protocol; behind it stands what is left to the successor beside the sockets, a [`Legacy`].
const HELLO: &str = "redhold-upgrade 1 ";

/// Everything that may fail has been done, but for taking `failover.state_dir`.
const PREPARED: &str = "prepared";

/// Nothing is decided by the predecessor any more.
const YOURS: &str = "yours";

/// Clients are served.
const SERVING: &str = "serving";

/// Behind it stands why the successor ends without having served.
const FAILED: &str = "failed: ";

/// Bytes of that that are told; a file that is no configuration may have thousands of faults.
const WHY_MAX: usize = 4096;

/// What it says last to others, and its end, take less.
const ENDING: Duration = Duration::from_secs(1);

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

/// How long a process waits for its successor at most, beside what it does itself.
pub(crate) const LONGEST: Duration = PREPARING.saturating_add(TAKING_OVER).saturating_add(ENDING);

/// The process that is to take over, as its predecessor sees it. Dropped before it serves it is killed.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Child,
    line: OwnedFd,
    serves: bool,
}

impl Successor {
    /// Starts the program that lies now where this one was started from, with the same arguments, and waits until it is prepared.
    /// Blocks, unless `gives_up` says that this process is to end itself.
    ///
    /// # Errors
    /// One sentence: why not; the process that was started has ended then.
    pub(crate) fn start(
        sockets: &[OwnedFd],
        legacy: &Legacy,
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
        successor.tell(&format!("{HELLO}{}", legacy.words()), &sockets)?;
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
        self.tell(YOURS, &[])?;
        self.await_word(SERVING, TAKING_OVER)?;
        self.serves = true;
        Ok(Line(line))
    }

    fn tell(&mut self, words: &str, sockets: &[BorrowedFd<'_>]) -> Result<(), String> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        match send(&self.line, words.as_bytes(), sockets, SendFlags::empty()) {
            // Who has ended may have said why, which is heard next.
            Err(error) if !matches!(error.kind(), BrokenPipe | ConnectionReset) => Err(self.fate(&error)),
            _ => Ok(()),
        }
    }

    fn await_word(&mut self, word: &str, patience: Duration) -> Result<(), String> {
        match hear(&self.line, Some(patience)) {
            Ok((said, _)) if said == word => Ok(()),
            Ok((said, _)) if said.starts_with(FAILED) => {
                // What it tells the log comes after.
                let _ = hear(&self.line, Some(ENDING));
                let why = said[FAILED.len()..].replace(char::is_control, " ");
                Err(format!("process {} ended before it served: {why}", self.pid()))
            }
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
    legacy: Legacy,
    pid: u32,
}

/// What a process leaves to the one that succeeds it beside its sockets and clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Legacy {
    /// How both are called among brains.
    pub(crate) instance: String,
    /// Where the successor's ids of clients begin.
    pub(crate) first_id: u64,
    /// Numbers of notices go on after this one.
    pub(crate) last_notice: i64,
}

impl Legacy {
    fn words(&self) -> String {
        let Self { instance, first_id, last_notice } = self;
        format!("{instance} {first_id} {last_notice}")
    }

    /// `None`: it is not understood. What a later version says beyond this is passed over.
    fn of(words: &str) -> Option<Self> {
        let mut words = words.split(' ');
        let instance = words.next()?.to_owned();
        Some(Self {
            instance,
            first_id: words.next()?.parse().ok()?,
            last_notice: words.next()?.parse().ok()?,
        })
    }
}

impl Predecessor {
    /// Whoever started this process to be succeeded by it, and the sockets; `None`: it was started by somebody else. Blocks.
    ///
    /// # Errors
    /// One sentence: it speaks of a version that this one does not understand, a socket can not be used, or it has ended.
    pub(crate) fn find() -> Result<Option<(Self, Inherited)>, String> {
        if !succeeds_its_parent()? {
            return Ok(None);
        }
        // Nobody would end this process if its parent ended while names are waited for.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
        // It may have been just before.
        succeeds_its_parent()?;
        let failed = |error: io::Error| format!("the process that is to be succeeded: {error}");
        let line = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        let (hello, sockets) = hear(&line, Some(PREPARING)).map_err(failed)?;
        let Some(legacy) = hello.strip_prefix(HELLO).and_then(Legacy::of) else {
            return Err(format!(
                "the process that is to be succeeded says '{hello}', which is not understood"
            ));
        };
        let inherited = Inherited::of(sockets).map_err(failed)?;
        let pid = getppid().and_then(|pid| u32::try_from(pid.as_raw_pid()).ok()).unwrap_or_default();
        Ok(Some((Self { line, legacy, pid }, inherited)))
    }

    /// Its process id; 0: it has ended.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What it leaves.
    pub(crate) fn legacy(&self) -> &Legacy {
        &self.legacy
    }

    /// Says that everything is prepared, and waits until nothing is decided there any more. Blocks.
    ///
    /// # Errors
    /// It has ended, or goes on by itself.
    pub(crate) fn wait_for_turn(&self) -> Result<(), String> {
        // From here on the line tells, and once it is this one's turn nobody else serves.
        set_parent_process_death_signal(None).map_err(|error| error.to_string())?;
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

/// Whether this process was started to succeed its parent.
///
/// # Errors
/// One sentence: it was to succeed a process that has ended.
fn succeeds_its_parent() -> Result<bool, String> {
    let parent = getppid().map(|pid| pid.as_raw_pid().to_string());
    is_named(std::env::var(VARIABLE).ok().as_deref(), parent.as_deref())
}

/// The same, by what [`VARIABLE`] holds.
fn is_named(named: Option<&str>, parent: Option<&str>) -> Result<bool, String> {
    match named {
        None => Ok(false),
        Some(named) if parent == Some(named) => Ok(true),
        // It must not serve: another may hold the sockets, and some clients.
        Some(named) => Err(format!("process {named}, which this one was to succeed ({VARIABLE}), has ended")),
    }
}

/// Says why this process ends without having served, if it was started to succeed another.
pub(crate) fn fail(why: &str) {
    if let (Ok(true), Ok(line)) = (succeeds_its_parent(), io::stdin().as_fd().try_clone_to_owned()) {
        let end = (0..=why.len().min(WHY_MAX)).rfind(|end| why.is_char_boundary(*end)).unwrap_or(0);
        let why = &why[..end];
        // If it has ended it is told to nobody.
        let _ = send(&line, format!("{FAILED}{why}").as_bytes(), &[], SendFlags::DONTWAIT);
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
            // Reset: the other end was closed without having read all; what it had said before comes next.
            Err(Errno::INTR | Errno::CONNRESET) => {}
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
    fn what_is_left_is_read_as_it_was_said_and_more_is_passed_over() {
        let legacy = Legacy { instance: "0123456789abcdef".to_owned(), first_id: 7, last_notice: 9 };
        assert_eq!(Legacy::of(&legacy.words()), Some(legacy.clone()));
        assert_eq!(Legacy::of(&format!("{} more", legacy.words())), Some(legacy));
        for words in ["", "a", "a 1", "a 1 x", "a x 1"] {
            assert_eq!(Legacy::of(words), None, "{words}");
        }
    }

    #[test]
    fn who_was_to_succeed_another_than_its_parent_is_nobodys_successor_and_does_not_serve() {
        assert_eq!(is_named(None, Some("7")), Ok(false));
        assert_eq!(is_named(Some("7"), Some("7")), Ok(true));
        for parent in [Some("1"), None] {
            assert!(is_named(Some("7"), parent).unwrap_err().contains("process 7"));
        }
    }

    /// The successor's end is in the test's hands.
    fn started() -> (Successor, OwnedFd) {
        let (line, theirs) = pair().unwrap();
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        (Successor { child, line, serves: false }, theirs)
    }

    #[test]
    fn why_it_does_not_serve_is_heard_also_of_who_has_ended_without_listening() {
        // What is told to it meanwhile, and what is heard of it, both meet its end first.
        for is_told in [false, true] {
            let (mut successor, theirs) = started();
            successor.tell("hello", &[]).unwrap();
            let why = format!("{FAILED}a file:\n- a fault");
            send(&theirs, why.as_bytes(), &[], SendFlags::empty()).unwrap();
            drop(theirs);
            if is_told {
                successor.tell(YOURS, &[]).unwrap();
            }
            let told = successor.await_word(PREPARED, LOOK).unwrap_err();
            assert_eq!(
                told,
                format!("process {} ended before it served: a file: - a fault", successor.pid())
            );
        }
    }

    #[test]
    fn who_ends_without_a_word_and_who_is_late_are_told_apart() {
        let (mut successor, theirs) = started();
        assert!(successor.await_word(PREPARED, LOOK).unwrap_err().contains("did not come to it in time"));
        drop(theirs);
        // A child of another test may have this end too, for a moment.
        let told = successor.await_word(PREPARED, PREPARING).unwrap_err();
        assert!(told.contains("ended before it served (signal: 9"), "{told}");
    }

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
