//! A connection lent to one caller: the caller's own task drives it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Stream;
use crate::resp::{Fed, ReplyScanner};
use crate::telemetry::{Direction, Side};

use super::task::GATHER_MAX;
use super::{Busy, DialError, Dialled, Surroundings, Target, dial};

/// What came.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// One whole reply or push; `kind` is its first byte, attributes skipped.
    Frame {
        /// First byte of the reply proper.
        kind: u8,
        /// All of it.
        bytes: &'a [u8],
    },
    /// A piece of a large one.
    Part {
        /// First byte of the reply proper.
        kind: u8,
        /// What came of it.
        bytes: &'a [u8],
        /// True when it ends here.
        last: bool,
    },
}

/// A connection of one caller.
#[derive(Debug)]
pub struct Pinned {
    target: Target,
    opened: Instant,
    local: Option<SocketAddr>,
    stream: Stream,
    /// Written, but for what the session with the node may keep.
    unflushed: bool,
    admitted: bool,
    out: BytesMut,
    scanner: ReplyScanner,
    partial: BytesMut,
    streaming: bool,
    around: Surroundings,
    server_id: Option<i64>,
    barrier: Option<&'static [u8]>,
}

impl Pinned {
    /// Opens one and brings it to its identity.
    ///
    /// # Errors
    /// As [`dial()`].
    pub async fn open(target: Target, around: Surroundings, busy: Busy) -> Result<Self, DialError> {
        let opened =
            dial(&target, &around.settings, around.tls.as_deref(), around.marks.of(target.node), busy).await;
        if let Err(DialError::Io(_)) = &opened {
            around.note_loss(target.node);
        }
        let Dialled { stream, admitted, id } = opened?;
        Ok(Self {
            target,
            opened: Instant::now(),
            local: stream.local_addr().ok(),
            stream,
            unflushed: false,
            admitted,
            out: BytesMut::new(),
            scanner: ReplyScanner::default(),
            partial: BytesMut::new(),
            streaming: false,
            around,
            server_id: id,
            barrier: None,
        })
    }

    /// When it was opened.
    #[must_use]
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Tells the monitor that the node ended it in the middle of something.
    pub fn note_loss(&self) {
        self.around.note_loss(self.target.node);
    }

    /// The node serves it; false: it answers `-NOAUTH`.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// How the server calls this connection, if its user may ask.
    #[must_use]
    pub fn server_id(&self) -> Option<i64> {
        self.server_id
    }

    /// The message that moved the replication offset on this connection, once somebody has tried and noted it.
    #[must_use]
    pub fn barrier(&self) -> Option<&'static [u8]> {
        self.barrier
    }

    /// Notes that the server took this message.
    pub fn note_barrier(&mut self, message: &'static [u8]) {
        self.barrier = Some(message);
    }

    /// Where it leads.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Its own end.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Appends bytes to what will be written.
    pub fn send(&mut self, request: &[u8]) {
        self.out.extend_from_slice(request);
    }

    /// Bytes not yet written; of the last ones that TLS keeps it is only known that there are some.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.out.len().max(usize::from(self.unflushed))
    }

    /// True when it stands between two replies and nothing waits to be written.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.out.is_empty() && !self.unflushed && self.scanner.is_idle() && self.partial.is_empty()
    }

    /// True when it is quiet and the node has neither spoken nor closed since.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.is_quiet() && self.stream.is_silent()
    }

    /// Gives back what a burst has left behind.
    pub fn rest(&mut self) {
        if self.out.is_empty() {
            self.out = BytesMut::new();
        }
    }

    /// Writes what it can.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.out) {
                Poll::Ready(Ok(count)) => {
                    self.around.metrics.bytes(Side::Backend, Direction::Out, count as u64);
                    self.out.advance(count);
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        if self.out.is_empty() && self.out.capacity() > GATHER_MAX {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    /// Reads once and hands `on_piece` what came; `Ready(Ok(()))` when something did.
    ///
    /// # Errors
    /// `UnexpectedEof` when the node closed, `InvalidData` when it does not speak RESP, else the socket's own.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut on_piece: impl FnMut(Piece<'_>),
    ) -> Poll<io::Result<()>> {
        let scratch = self.around.scratch.clone();
        let mut scratch = scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {}
        }
        let mut rest = buffer.filled();
        if rest.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.around.marks.heard(self.target.node, Instant::now());
        self.around.metrics.bytes(Side::Backend, Direction::In, rest.len() as u64);
        while !rest.is_empty() {
            let Ok(fed) = self.scanner.feed(rest) else {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            };
            let (taken, last) = match fed {
                Fed::Frame { end } => (end, true),
                Fed::More => (rest.len(), false),
            };
            self.hand_on(&rest[..taken], last, &mut on_piece);
            rest = &rest[taken..];
        }
        Poll::Ready(Ok(()))
    }

    fn hand_on(&mut self, bytes: &[u8], last: bool, on_piece: &mut impl FnMut(Piece<'_>)) {
        let kind = self.scanner.kind();
        if self.streaming {
            self.streaming = !last;
            on_piece(Piece::Part { kind, bytes, last });
        } else if last && self.partial.is_empty() {
            on_piece(Piece::Frame { kind, bytes });
        } else {
            self.partial.extend_from_slice(bytes);
            if last {
                on_piece(Piece::Frame { kind, bytes: &self.partial });
                self.partial = BytesMut::new();
            } else if self.partial.len() > GATHER_MAX {
                self.streaming = true;
                on_piece(Piece::Part { kind, bytes: &self.partial, last: false });
                self.partial = BytesMut::new();
            }
        }
    }
}
