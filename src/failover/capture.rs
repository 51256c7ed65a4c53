//! What only an old primary has when it returns: which part of its history that is, and what became of it.

use crate::topology::Replication;

/// The part of an old primary's history that the present primary does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Number of the decision that made it an old primary.
    pub epoch: u64,
    /// The old primary's own history.
    pub replid: String,
    /// Offset of its first byte.
    pub from: u64,
    /// Offset of its last byte; `from - 1` when there is none.
    pub to: u64,
}

impl Divergence {
    /// `None`: the offsets of the two cannot be compared.
    pub(super) fn between(old: &Replication, new: &Replication, epoch: u64) -> Option<Self> {
        let from = u64::try_from(new.second_offset).ok().filter(|_| old.replid == new.replid2)?;
        Some(Self { epoch, replid: old.replid.clone(), from, to: old.offset.max(from.saturating_sub(1)) })
    }

    /// How long it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.to + 1).saturating_sub(self.from)
    }
}

/// What became of a [`Divergence`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Captured {
    /// It was read whole.
    Read {
        /// Commands in it that are not noise.
        commands: u64,
        /// Their bytes.
        bytes: u64,
        /// The file that holds them, or why none does.
        kept: Result<String, String>,
    },
    /// It was not; why.
    Unread(String),
}

impl Captured {
    /// Half a sentence for people; `total` is the length of the divergence.
    pub(super) fn words(&self, total: u64) -> String {
        match self {
            Self::Read { commands: 0, .. } => {
                format!("nothing of its history but pings and the like ({total} bytes) was never replicated")
            }
            Self::Read { commands, bytes, kept } => {
                let noun = if *commands == 1 { "command" } else { "commands" };
                let verb = if *commands == 1 { "was" } else { "were" };
                let lost =
                    format!("{commands} {noun} ({bytes} bytes) of its history {verb} never replicated");
                let noise = total.saturating_sub(*bytes);
                let noise = if noise == 0 {
                    String::new()
                } else {
                    format!("; beside {noise} bytes of pings and the like")
                };
                match kept {
                    Ok(file) => format!("{lost}; kept in {file}{noise}"),
                    Err(why) => format!("{lost} and given up, not kept: {why}{noise}"),
                }
            }
            Self::Unread(why) => format!(
                "{total} bytes of its history, pings among them, were never replicated and are given up; what they say is unknown: {why}"
            ),
        }
    }
}
