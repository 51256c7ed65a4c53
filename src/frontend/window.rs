//! How many requests of one client may be on their way at once. Pure.
//!
//! A node executes all that it was sent before it writes, so a client that pipelines thousands of reads of large
//! values would fill the node's memory and silence it for everybody. The window starts small, doubles while
//! replies are small, and shrinks to what keeps the replies on their way within [`REPLY_BYTES`].

/// Reply bytes that one client may have on their way, as far as its last replies tell.
const REPLY_BYTES: u64 = 4 << 20;

/// Requests that a client may have on their way before anything is known of its replies.
const FIRST: u32 = 64;

/// And at most; the bytes of requests are bounded by `limits.in_flight_per_client` besides.
const MOST: u32 = 16 << 10;

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    requests: u32,
    bytes: u64,
    replies: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self { requests: FIRST, bytes: 0, replies: 0 }
    }
}

impl Window {
    /// Requests that may be on their way.
    pub(super) fn requests(self) -> u32 {
        self.requests
    }

    /// Notes reply bytes, and how many replies ended with them.
    pub(super) fn noted(mut self, bytes: usize, replies: u32) -> Self {
        self.bytes += bytes as u64;
        self.replies += replies;
        self
    }

    /// Draws the consequence of what was noted since the last time.
    pub(super) fn adapted(self) -> Self {
        if self.replies == 0 {
            return self;
        }
        let mean = (self.bytes / u64::from(self.replies)).max(1);
        let fitting = u32::try_from(REPLY_BYTES / mean).unwrap_or(MOST).clamp(1, MOST);
        Self { requests: fitting.min(self.requests.saturating_mul(2)), bytes: 0, replies: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST, MOST, Window};

    #[test]
    fn small_replies_open_it_and_large_ones_close_it() {
        let mut window = Window::default();
        assert_eq!(window.requests(), FIRST);
        for _ in 0..20 {
            window = window.noted(64 * 10, 64).adapted();
        }
        assert_eq!(window.requests(), MOST);
        assert_eq!(window.noted(1 << 20, 1).adapted().requests(), 4);
        assert_eq!(window.noted(64 << 20, 1).adapted().requests(), 1);
    }

    #[test]
    fn a_reply_in_pieces_counts_when_it_has_ended() {
        let window = Window::default().noted(1 << 20, 0).adapted().noted(1 << 20, 0);
        assert_eq!(window.requests(), FIRST);
        assert_eq!(window.noted(0, 1).adapted().requests(), 2);
    }
}
