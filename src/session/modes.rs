//! What a client has asked of its connection and what stands until it is taken back: CLIENT TRACKING, NO-EVICT, NO-TOUCH,
//! IMPORT-SOURCE, MONITOR, and which replies it does not want. Pure.
//!
//! They add up. Each that the server has accepted is kept as it was said, so that another connection can be told the
//! same.

use bytes::BytesMut;

use crate::command::{Spec, redirected_to};
use crate::resp::{Limits, RequestScanner, Scan};

/// Most bytes of requests that are kept. Beyond them nothing can be said again: a client that loses its connection then
/// is closed, since a mode that silently stays away would be worse.
pub const KEPT_MAX: usize = 64 << 10;

/// Which replies a client does not want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Silence {
    /// It wants all.
    #[default]
    Over,
    /// Not the next request's.
    Skip,
    /// None, until REPLY ON.
    Off,
}

impl Silence {
    /// The request that asks for it, unless none is needed.
    fn request(self) -> Option<&'static [u8]> {
        match self {
            Self::Over => None,
            Self::Skip => Some(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n"),
            Self::Off => Some(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n"),
        }
    }
}

/// One mode and the request that set it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mode {
    /// Of its row.
    name: &'static str,
    request: Vec<u8>,
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// In the order in which they were set.
    standing: Vec<Mode>,
    silence: Silence,
    /// More than [`KEPT_MAX`] would have had to be kept, or an id that means nothing on another connection.
    unsayable: bool,
    redirects: bool,
}

impl Modes {
    /// Notes a request that is about to be sent; false when no reply will come to it. `wanted`: it is a CLIENT REPLY with
    /// this word, and the server obeys it.
    pub fn on_request(&mut self, wanted: Option<&[u8]>) -> bool {
        let before = self.silence;
        self.silence = match wanted.map(<[u8]>::to_ascii_lowercase).as_deref() {
            Some(b"off") => Silence::Off,
            Some(b"skip") if before != Silence::Off => Silence::Skip,
            Some(b"on") => Silence::Over,
            _ if before == Silence::Off => Silence::Off,
            _ => {
                self.silence = Silence::Over;
                return before == Silence::Over;
            }
        };
        self.silence == Silence::Over
    }

    /// The server has accepted `request`, which is empty when it was too large to be kept.
    pub fn on_accepted(&mut self, spec: &Spec, request: &[u8]) {
        let name = spec.name;
        let is_mode = matches!(
            name,
            "client|tracking" | "client|no-evict" | "client|no-touch" | "client|import-source" | "monitor"
        );
        if !is_mode {
            return;
        }
        let mut scanner = RequestScanner::default();
        let whole = matches!(scanner.scan(request, &Limits::default()), Ok(Scan::Complete { .. }));
        let words = scanner.request(if whole { request } else { &[] });
        let is = |index: usize, word: &[u8]| words.arg(index).eq_ignore_ascii_case(word);
        // Prefixes of a broadcasting client add up; any other request says all there is to say.
        let adds = name == "client|tracking" && (3..words.len()).any(|index| is(index, b"bcast"));
        self.standing.retain(|mode| mode.name != name || (adds && mode.request != request));
        if !is(2, b"off") {
            self.standing.push(Mode { name, request: request.to_vec() });
        }
        let kept: usize = self.standing.iter().map(|mode| mode.request.len()).sum();
        if name == "client|tracking" {
            self.redirects = !is(2, b"off") && redirected_to(&words).is_some();
        }
        self.unsayable |= self.redirects || !whole || kept > KEPT_MAX;
        if self.standing.is_empty() {
            self.unsayable = false;
        } else if self.unsayable {
            self.standing.iter_mut().for_each(|mode| mode.request = Vec::new());
        }
    }

    /// Whether the client needs the connection for what stands.
    #[must_use]
    pub fn stand(&self) -> bool {
        !self.standing.is_empty() || self.silence != Silence::Over
    }

    /// Every request is answered.
    #[must_use]
    pub fn is_loud(&self) -> bool {
        self.silence == Silence::Over
    }

    /// No reply is wanted until the client takes that back.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.silence == Silence::Off
    }

    /// Keys may change unseen while no connection stands.
    #[must_use]
    pub fn tracks(&self) -> bool {
        self.is_set("client|tracking")
    }

    /// Invalidations go to another client.
    #[must_use]
    pub fn redirects(&self) -> bool {
        self.redirects
    }

    /// Lines of MONITOR come.
    #[must_use]
    pub fn watches(&self) -> bool {
        self.is_set("monitor")
    }

    /// Whether the command of this name set something that stands.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.standing.iter().any(|mode| mode.name == name)
    }

    /// Appends what sets on a new connection all that is set here; returns how many confirmations will come. `None`: it
    /// was too much to be kept.
    pub fn replay(&self, out: &mut BytesMut) -> Option<u32> {
        if self.unsayable {
            return None;
        }
        // Behind MONITOR lines come between the replies.
        let last = |mode: &&Mode| mode.name == "monitor";
        let standing = &self.standing;
        for mode in standing.iter().filter(|mode| !last(mode)).chain(standing.iter().filter(last)) {
            out.extend_from_slice(&mode.request);
        }
        u32::try_from(self.standing.len()).ok()
    }

    /// Appends what tells a new connection which replies are not wanted.
    pub fn replay_silence(&self, out: &mut BytesMut) {
        out.extend_from_slice(self.silence.request().unwrap_or_default());
    }

    /// Every request is answered from now on; returns the request that takes that back.
    pub fn lift_silence(&mut self) -> Option<&'static [u8]> {
        std::mem::take(&mut self.silence).request()
    }
}

#[cfg(test)]
mod tests;
