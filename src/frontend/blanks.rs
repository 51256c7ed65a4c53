//! What no client has any more: its memory is the next one's, so that one transaction after another allocates nothing.

use std::cell::RefCell;

use bytes::BytesMut;

use super::lane::PinnedLane;

/// So many of a kind are kept by a worker, as many as clients of a worker commonly have at a time.
const MOST: usize = 64;

/// A larger buffer is not kept.
const BUFFER_MAX: usize = 16 << 10;

/// See the module's text.
#[derive(Default)]
pub(super) struct Blanks {
    #[expect(clippy::vec_box, reason = "it is the boxes that are kept")]
    lanes: RefCell<Vec<Box<PinnedLane>>>,
    buffers: RefCell<Vec<BytesMut>>,
}

impl Blanks {
    /// A place for a lane.
    pub(super) fn place(&self, lane: PinnedLane) -> Box<PinnedLane> {
        let blank = self.lanes.borrow_mut().pop();
        match blank {
            Some(blank) => lane.in_place_of(blank),
            None => Box::new(lane),
        }
    }

    /// The client has no more use for it.
    pub(super) fn give(&self, mut lane: Box<PinnedLane>) {
        lane.end();
        let mut lanes = self.lanes.borrow_mut();
        if lanes.len() < MOST {
            lanes.push(lane);
        }
    }

    /// An empty buffer.
    pub(super) fn buffer(&self) -> BytesMut {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// What is in it was served.
    pub(super) fn give_buffer(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < MOST && buffer.try_reclaim(1) && buffer.capacity() <= BUFFER_MAX {
            buffers.push(buffer);
        }
    }

    /// Half of what nobody uses goes.
    pub(super) fn sweep(&self) {
        halve(&mut self.lanes.borrow_mut());
        halve(&mut self.buffers.borrow_mut());
    }
}

fn halve<T>(kept: &mut Vec<T>) {
    kept.truncate(kept.len() / 2);
    kept.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_small_buffers_are_kept_and_nobody_finds_anything_in_them() {
        let blanks = Blanks::default();
        let used = |len: usize| BytesMut::from(&vec![b'x'; len][..]);
        (0..2 * MOST).for_each(|_| blanks.give_buffer(used(100)));
        blanks.give_buffer(used(2 * BUFFER_MAX));
        assert_eq!(blanks.buffers.borrow().len(), MOST);
        assert!(blanks.buffer().is_empty());
        blanks.sweep();
        assert_eq!(blanks.buffers.borrow().len(), (MOST - 1) / 2);
        let empty = Blanks::default();
        empty.give_buffer(used(2 * BUFFER_MAX));
        empty.give_buffer(BytesMut::new());
        assert!(empty.buffers.borrow().is_empty(), "neither is worth keeping");
    }
}
