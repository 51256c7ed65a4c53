//! The task that owns a pipeline's socket: opens it, writes once a turn, reads, delivers.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Stream;
use crate::resp::{Fed, ReplyScanner};
use crate::telemetry::{Direction, Side};

use super::dial::{Busy, DialError, Dialled, dial};
use super::owed::Owed;
use super::pipeline::{Inner, Phase, Pipeline, first_len, nth};
use super::trouble::Trouble;
use super::{Caller, ROW_BITS, Slow, Traced};

/// A reply longer than this is passed on in pieces as it comes, instead of being gathered first. A loss in the
/// middle of such a reply can not be repaired: the caller is told that it is broken.
pub(super) const GATHER_MAX: usize = 64 << 10;

/// What is around a value: its header and its end.
const SPARE: usize = 64;

/// Reads in one turn, after which the other tasks of the thread get theirs.
const READS_PER_TURN: usize = 8;

/// Runs until the connection ends: true when the node ended it with something owed; the error is why it could not be opened. A
/// node that just refused is not asked at full speed.
pub(super) async fn run<C: Caller>(pipeline: Pipeline<C>, trouble: &Trouble) -> io::Result<bool> {
    let delay = trouble.delay();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let inner = &pipeline.0;
    if pipeline.is_closed() {
        return Ok(false);
    }
    let marks = inner.around.marks.of(inner.target.node);
    let opened =
        dial(&inner.target, &inner.around.settings, inner.around.tls.as_deref(), marks, Busy::Refuses).await;
    if pipeline.is_closed() {
        return Ok(false);
    }
    match opened {
        Ok(Dialled { stream, admitted, .. }) => {
            inner.admitted.set(admitted);
            inner.local.set(stream.local_addr().ok());
            inner.phase.set(Phase::Open);
            trouble.note(None, Instant::now());
            let mut reader = Reader {
                stream,
                touched: Vec::new(),
                scanner: ReplyScanner::default(),
                partial: BytesMut::new(),
                now: Instant::now(),
            };
            let ended = poll_fn(|cx| turn(&pipeline, &mut reader, cx)).await;
            if pipeline.is_closed() {
                return Ok(false);
            }
            inner.phase.set(Phase::Closed);
            if let Err(error) = &ended {
                tracing::debug!(node = %inner.target.address, %error, "pipeline lost");
            }
            // A server may close an idle connection; that is no sign of trouble.
            let lost = inner.owed.borrow().requests() > 0;
            if lost {
                pipeline.note_loss();
            }
            pipeline.hand_back(None);
            Ok(lost)
        }
        Err(DialError::Refused(error)) => {
            trouble.note(None, Instant::now());
            inner.phase.set(Phase::Closed);
            pipeline.hand_back(Some(&error));
            Ok(false)
        }
        Err(DialError::Io(error)) => {
            tracing::debug!(node = %inner.target.address, %error, "pipeline not opened");
            inner.phase.set(Phase::Closed);
            pipeline.note_loss();
            pipeline.hand_back(None);
            Err(error)
        }
    }
}

struct Reader<C> {
    stream: Stream,
    /// Callers that got something in this turn; kept for its allocation.
    touched: Vec<C>,
    scanner: ReplyScanner,
    /// The beginning of a reply that did not arrive whole.
    partial: BytesMut,
    /// When the bytes at hand came.
    now: Instant,
}

fn turn<C: Caller>(
    pipeline: &Pipeline<C>,
    reader: &mut Reader<C>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    pipeline.0.waker.replace(Some(cx.waker().clone()));
    if pipeline.is_closed() {
        return Poll::Ready(Ok(()));
    }
    write(pipeline, reader, cx)?;
    let scratch = pipeline.0.around.scratch.clone();
    for _ in 0..READS_PER_TURN {
        let mut scratch = scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut reader.stream).poll_read(cx, &mut buffer))?;
        let chunk = buffer.filled();
        if chunk.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut touched = std::mem::take(&mut reader.touched);
        let received = deliver(pipeline, reader, chunk, &mut touched);
        for caller in touched.drain(..) {
            caller.settle();
        }
        reader.touched = touched;
        make_room(pipeline);
        if !received {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the node does not speak RESP",
            )));
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn write<C: Caller>(pipeline: &Pipeline<C>, reader: &mut Reader<C>, cx: &mut Context<'_>) -> io::Result<()> {
    let mut log = pipeline.0.log.borrow_mut();
    while !log.unwritten().is_empty() {
        match Pin::new(&mut reader.stream).poll_write(cx, log.unwritten()) {
            Poll::Ready(Ok(count)) => {
                pipeline.0.around.metrics.bytes(Side::Backend, Direction::Out, count as u64);
                log.wrote(count);
            }
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Ok(()),
        }
    }
    match Pin::new(&mut reader.stream).poll_flush(cx) {
        Poll::Ready(flushed) => flushed,
        Poll::Pending => Ok(()),
    }
}

/// Hands the replies in `chunk` to their callers; false when the node breaks the protocol.
fn deliver<C: Caller>(
    pipeline: &Pipeline<C>,
    reader: &mut Reader<C>,
    chunk: &[u8],
    touched: &mut Vec<C>,
) -> bool {
    let inner = &pipeline.0;
    reader.now = Instant::now();
    inner.around.marks.heard(inner.target.node, reader.now);
    inner.around.metrics.bytes(Side::Backend, Direction::In, chunk.len() as u64);
    let mut at = 0;
    while at < chunk.len() {
        let fresh = reader.partial.is_empty() && inner.passed_on.get() == 0;
        let taken = if fresh {
            deliver_run(pipeline, reader, &chunk[at..], touched)
        } else {
            finish(pipeline, reader, &chunk[at..], touched)
        };
        match taken {
            Some(taken) => at += taken,
            None => return false,
        }
        if pipeline.is_closed() {
            // A callback gave the connection up; the rest belongs to nobody.
            return true;
        }
    }
    true
}

/// Delivers as many whole replies of the front run as `bytes` begins with; returns how many bytes that took.
fn deliver_run<C: Caller>(
    pipeline: &Pipeline<C>,
    reader: &mut Reader<C>,
    bytes: &[u8],
    touched: &mut Vec<C>,
) -> Option<usize> {
    let wanted = pipeline.0.owed.borrow().front().map_or(0, |run| run.count - run.answered);
    let (mut end, mut count, mut errors) = (0, 0, false);
    let mut rest = bytes.len();
    loop {
        match reader.scanner.feed(&bytes[end..]).ok()? {
            Fed::Frame { end: length } => {
                let kind = reader.scanner.kind();
                if kind == b'>' {
                    // Pushes on a shared connection belong to no client.
                    if count > 0 {
                        rest = end + length;
                        break;
                    }
                    return Some(end + length);
                }
                end += length;
                count += 1;
                errors |= kind == b'-';
                if count >= wanted {
                    rest = end;
                    break;
                }
                if end == bytes.len() {
                    break;
                }
            }
            Fed::More => {
                let begun = &bytes[end..];
                let left = usize::try_from(reader.scanner.left()).unwrap_or(usize::MAX);
                // At once as large as it will be.
                reader.partial.reserve(begun.len().saturating_add(left).min(GATHER_MAX + SPARE));
                reader.partial.extend_from_slice(begun);
                break;
            }
        }
    }
    if count > wanted {
        return None;
    }
    if count > 0 {
        hand_over(pipeline, &bytes[..end], count, errors, touched, reader.now)?;
    }
    Some(rest)
}

/// Continues a reply whose beginning came earlier; returns how many of `bytes` belong to it.
fn finish<C: Caller>(
    pipeline: &Pipeline<C>,
    reader: &mut Reader<C>,
    bytes: &[u8],
    touched: &mut Vec<C>,
) -> Option<usize> {
    let fed = reader.scanner.feed(bytes).ok()?;
    let (taken, last) = match fed {
        Fed::Frame { end } => (end, true),
        Fed::More => (bytes.len(), false),
    };
    let push = reader.scanner.kind() == b'>';
    let streaming = pipeline.0.passed_on.get() > 0;
    if streaming {
        piece(pipeline, &bytes[..taken], last, touched, reader.now)?;
        return Some(taken);
    }
    reader.partial.extend_from_slice(&bytes[..taken]);
    if last {
        let mut frame = std::mem::take(&mut reader.partial);
        if reader.scanner.kind() == b'-' {
            hand_over(pipeline, &frame, 1, true, touched, reader.now)?;
        } else if !push {
            let (caller, tag) = front(pipeline)?;
            touch(touched, &caller);
            if is_big(pipeline, frame.len() as u64) {
                pipeline.tell_big(&caller, std::iter::once(frame.len() as u64), reader.now);
            }
            answer(pipeline, 1, reader.now)?;
            caller.gathered(tag, &mut frame);
        }
        reader.partial = recycled(frame);
    } else if reader.partial.len() > GATHER_MAX && !push {
        let begun = std::mem::take(&mut reader.partial);
        piece(pipeline, &begun, false, touched, reader.now)?;
    }
    Some(taken)
}

fn recycled(mut buffer: BytesMut) -> BytesMut {
    if buffer.capacity() > GATHER_MAX {
        return BytesMut::new();
    }
    buffer.clear();
    buffer
}

/// Whole replies of the front run. `None` when nobody asked for them.
fn hand_over<C: Caller>(
    pipeline: &Pipeline<C>,
    frames: &[u8],
    count: u32,
    errors: bool,
    touched: &mut Vec<C>,
    now: Instant,
) -> Option<()> {
    let front = |run: &Owed<C>| (run.caller.clone(), run.tag, run.past.resent);
    let (caller, tag, resent) = pipeline.0.owed.borrow().front().map(front)?;
    touch(touched, &caller);
    if is_big(pipeline, frames.len() as u64) {
        pipeline.tell_big(&caller, lengths(frames, count), now);
    }
    if errors {
        return one_by_one(pipeline, &caller, (tag, resent), frames, now);
    }
    answer(pipeline, count, now)?;
    caller.replies(tag, frames, count);
    Some(())
}

/// The slow road for replies of which at least one is an error: the caller gets the request with it.
fn one_by_one<C: Caller>(
    pipeline: &Pipeline<C>,
    caller: &C,
    (tag, resent): (u16, bool),
    frames: &[u8],
    now: Instant,
) -> Option<()> {
    let mut rest = frames;
    while !rest.is_empty() {
        let (frame, after) = rest.split_at(first_len(rest));
        if frame[0] == b'-' {
            let mut request = pipeline.0.refused.take();
            request.clear();
            pipeline.front_request(&mut request)?;
            let traced = traced(pipeline, now)?;
            let complete = strike(pipeline, 1, now)?;
            let kept_back = u32::from(caller.error(tag, frame, &request, resent));
            // What is kept back is not answered yet.
            if kept_back == 0 && !pipeline.0.around.tracer.passes(1) {
                pipeline.0.around.tracer.take(1, |_| caller.traced(&Traced { error: Some(frame), ..traced }));
            }
            match complete {
                Some(complete) => complete.count(pipeline, kept_back),
                // The run goes on, if the connection does.
                None => pipeline
                    .0
                    .owed
                    .borrow_mut()
                    .front_mut()
                    .into_iter()
                    .for_each(|run| run.kept_back += kept_back),
            }
            pipeline.0.refused.set(request);
        } else {
            answer(pipeline, 1, now)?;
            caller.replies(tag, frame, 1);
        }
        rest = after;
    }
    Some(())
}

fn piece<C: Caller>(
    pipeline: &Pipeline<C>,
    piece: &[u8],
    last: bool,
    touched: &mut Vec<C>,
    now: Instant,
) -> Option<()> {
    let (caller, tag) = front(pipeline)?;
    let passed_on = pipeline.0.passed_on.get() + piece.len() as u64;
    pipeline.0.passed_on.set(if last { 0 } else { passed_on });
    if last {
        if is_big(pipeline, passed_on) {
            pipeline.tell_big(&caller, std::iter::once(passed_on), now);
        }
        answer(pipeline, 1, now)?;
    }
    touch(touched, &caller);
    caller.part(tag, piece, last);
    Some(())
}

/// Whether one of some replies of so many bytes together may be big.
#[inline]
fn is_big<C: Caller>(pipeline: &Pipeline<C>, bytes: u64) -> bool {
    bytes >= pipeline.0.around.settings.big_bytes
}

/// How long each of `count` replies is that stand back to back.
fn lengths(frames: &[u8], count: u32) -> impl Iterator<Item = u64> {
    let mut rest = frames;
    (0..count).map(move |_| {
        let len = if count == 1 { rest.len() } else { first_len(rest) };
        rest = &rest[len..];
        len as u64
    })
}

/// Whose reply comes next, and its tag. `None` when nobody asked for one.
fn front<C: Caller>(pipeline: &Pipeline<C>) -> Option<(C, u16)> {
    pipeline.0.owed.borrow().front().map(|run| (run.caller.clone(), run.tag))
}

fn touch<C: Caller>(touched: &mut Vec<C>, caller: &C) {
    if touched.last() != Some(caller) {
        touched.push(caller.clone());
    }
}

/// A run of which the last reply came.
struct Complete {
    row: u16,
    micros: u64,
    answered: u32,
}

impl Complete {
    /// Counts the time of its requests; so many of them are not answered yet, beside those that are known.
    fn count<C: Caller>(&self, pipeline: &Pipeline<C>, kept_back: u32) {
        let answered = self.answered.saturating_sub(kept_back);
        pipeline.0.around.metrics.duration(self.row, self.micros, u64::from(answered));
    }
}

/// Counts `count` replies of the front run. `None` when the node answered more than was sent to it.
fn answer<C: Caller>(pipeline: &Pipeline<C>, count: u32, now: Instant) -> Option<()> {
    if !pipeline.0.around.tracer.passes(count) {
        trace(pipeline, count, now);
    }
    if let Some(complete) = strike(pipeline, count, now)? {
        complete.count(pipeline, 0);
    }
    Some(())
}

/// Tells the caller which of the next `count` requests of the front run are traced, none of which was answered with an error. Nothing
/// tells them apart but that.
#[cold]
fn trace<C: Caller>(pipeline: &Pipeline<C>, count: u32, now: Instant) {
    let Some((caller, _)) = front(pipeline) else { return };
    if let Some(traced) = traced(pipeline, now) {
        pipeline.0.around.tracer.take(count, |_| caller.traced(&traced));
    }
}

/// What is told of a request of the front run that is traced.
fn traced<C: Caller>(pipeline: &Pipeline<C>, now: Instant) -> Option<Traced<'static>> {
    let Inner { target, owed, .. } = &*pipeline.0;
    let owed = owed.borrow();
    let Owed { tag, since, past, .. } = owed.front()?;
    let (waited, resent) = (past.waited, past.resent);
    Some(Traced { tag: *tag, node: target.node, since: *since, waited, resent, error: None, now })
}

/// Strikes `count` replies off the front run; the run, if these were its last ones. `None` when the node answered more than was sent
/// to it.
#[inline]
fn strike<C: Caller>(pipeline: &Pipeline<C>, count: u32, now: Instant) -> Option<Option<Complete>> {
    let inner = &pipeline.0;
    if let Some(run) = inner.owed.borrow_mut().answer(count) {
        let mut log = inner.log.borrow_mut();
        if run.bytes > log.written() {
            return None;
        }
        let micros = now.saturating_duration_since(run.since).as_micros();
        let (micros, count) = (u64::try_from(micros).unwrap_or(u64::MAX), u64::from(run.count));
        let slow = micros >= inner.around.settings.slow_micros;
        if slow || !inner.around.sampler.passes(run.count) {
            look_closer(inner, &run, &log.kept()[..run.bytes], slow.then_some((micros, now)));
        }
        log.answered(run.bytes);
        let kept = &inner.around.kept;
        kept.set(kept.get() - run.bytes);
        let answered = &inner.around.answered;
        answered.set(answered.get() + u64::from(run.count));
        inner.around.metrics.backend_duration(inner.target.node.0, micros, count);
        let micros = micros + u64::from(run.past.waited);
        let answered = run.count - run.kept_back;
        return Some(Some(Complete { row: run.tag & ROW_BITS, micros, answered }));
    }
    Some(None)
}

/// Tells the caller of answered requests what is remembered of them: that they were slow, if they were, and which are sampled.
#[cold]
fn look_closer<C: Caller>(inner: &Inner<C>, run: &Owed<C>, requests: &[u8], slow: Option<(u64, Instant)>) {
    let (tag, count, target) = (run.tag, run.count, &inner.target);
    if let Some((micros, now)) = slow {
        let (node, waited, local) = (target.node, run.past.waited, inner.local.get());
        run.caller.slow(&Slow { tag, requests, count, node, micros, waited, local, now });
    }
    let sampler = &inner.around.sampler;
    sampler.take(count, |at| run.caller.sampled(tag, nth(requests, at), target.identity.db));
}

fn make_room<C: Caller>(pipeline: &Pipeline<C>) {
    let inner = &pipeline.0;
    if !inner.waiting.borrow().is_empty()
        && (inner.log.borrow().len() == 0 || inner.around.kept.get() <= inner.around.kept_max / 2)
    {
        for caller in inner.waiting.take() {
            caller.settle();
        }
    }
}
