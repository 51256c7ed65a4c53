//! The bytes of requests that are not answered yet. Pure.
//!
//! A pipeline has to keep what it sent until the reply came, or a read could not be sent again when the node
//! dies. So there is one buffer for both jobs: bytes are appended, written from the front of the unwritten
//! part, and dropped only when their reply arrived. Sending costs no second copy.

use bytes::{Buf, BytesMut};

/// A buffer that outgrew this is given back when it runs empty, so that a burst does not cost memory for ever.
const KEEP_CAPACITY: usize = 256 << 10;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct SendLog {
    bytes: BytesMut,
    written: usize,
}

impl SendLog {
    /// Appends requests.
    pub(crate) fn push(&mut self, requests: &[u8]) {
        self.bytes.extend_from_slice(requests);
    }

    /// What still has to be written.
    pub(crate) fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Notes that the first `count` unwritten bytes went out.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.written += count;
        debug_assert!(self.written <= self.bytes.len());
    }

    /// Drops the first `count` bytes: their replies arrived.
    pub(crate) fn answered(&mut self, count: usize) {
        // A reply to a request that was never wholly written breaks the protocol; the caller checks first.
        debug_assert!(count <= self.written);
        self.written -= count;
        self.bytes.advance(count);
        if self.bytes.is_empty() {
            if self.bytes.capacity() > KEEP_CAPACITY {
                self.bytes = BytesMut::new();
            } else {
                self.bytes.clear();
            }
        }
    }

    /// Keeps no memory, if it keeps nothing.
    pub(crate) fn rest(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    /// Everything kept, oldest first.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.bytes
    }

    /// How much of [`Self::kept`] was written.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// Bytes kept.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::SendLog;

    #[test]
    fn keeps_what_was_written_until_it_is_answered() {
        let mut log = SendLog::default();
        log.push(b"first");
        log.push(b"second");
        log.wrote(7);
        assert_eq!(log.unwritten(), b"cond");
        assert_eq!(log.kept(), b"firstsecond");
        log.answered(5);
        assert_eq!(log.kept(), b"second");
        assert_eq!(log.written(), 2);
        assert_eq!(log.unwritten(), b"cond");
    }
}
