//! From a name to its row: an open-addressed hash table that the compiler builds.

use super::spec::{Rule, Spec};
use super::table::ROWS;

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RowId(pub u16);

impl RowId {
    /// The row of whatever has no row: a connection of its own, never sent again.
    pub const UNKNOWN: Self = Self(ROWS.len() as u16 - 1);

    /// The row itself.
    #[inline]
    pub fn spec(self) -> &'static Spec {
        &ROWS[usize::from(self.0)]
    }

    /// Whether it takes elements out of a key for its reply alone: when the reply is lost, they are lost with it.
    /// What moves them to another key (BLMOVE) or to a list of what is pending (XREADGROUP) does not.
    pub fn is_pop(self) -> bool {
        POPS.contains(&self.spec().name)
    }
}

const POPS: [&str; 14] = [
    "blmpop", "blpop", "brpop", "bzmpop", "bzpopmax", "bzpopmin", "getdel", "lmpop", "lpop", "rpop", "spop",
    "zmpop", "zpopmax", "zpopmin",
];

/// All rows by `RowId`, sorted by name but for the last, `RowId::UNKNOWN`.
pub fn rows() -> &'static [Spec] {
    &ROWS
}

/// The row of a name, in any case; a subcommand as `parent|sub`.
pub fn find(name: &[u8]) -> Option<RowId> {
    match name.iter().position(|&byte| byte == b'|') {
        Some(bar) => subcommand(command(&name[..bar])?, &name[bar + 1..]),
        None => command(name),
    }
}

/// The row of a command.
#[inline]
pub(super) fn command(name: &[u8]) -> Option<RowId> {
    probe(finish(absorb(SEED, name)), |row| row.eq_ignore_ascii_case(name))
}

/// The row of a container's subcommand.
pub(super) fn subcommand(parent: RowId, sub: &[u8]) -> Option<RowId> {
    let parent = parent.spec().name.as_bytes();
    probe(finish(absorb(absorb(absorb(SEED, parent), b"|"), sub)), |row| {
        row.len() == parent.len() + 1 + sub.len()
            && row.starts_with(parent)
            && row[parent.len()] == b'|'
            && row[parent.len() + 1..].eq_ignore_ascii_case(sub)
    })
}

/// Whether a request of this row goes where any other one goes that has the same name and as many arguments, whatever they are.
#[inline]
pub fn is_known_by_name(row: RowId) -> bool {
    INDEX.by_name[usize::from(row.0)]
}

/// Whether a command has subcommands with rows of their own.
#[inline]
pub fn is_container(row: RowId) -> bool {
    INDEX.containers[usize::from(row.0)]
}

#[inline]
fn probe(hash: u32, is_it: impl Fn(&[u8]) -> bool) -> Option<RowId> {
    let mut at = hash as usize % SLOTS;
    loop {
        let slot = INDEX.slots[at];
        if slot.row == EMPTY {
            return None;
        }
        if slot.tag == tag(hash) && is_it(ROWS[usize::from(slot.row)].name.as_bytes()) {
            return Some(RowId(slot.row));
        }
        at = (at + 1) % SLOTS;
    }
}

/// Four times the rows, so that most probes end at the first slot.
const SLOTS: usize = 2048;
const EMPTY: u16 = u16::MAX;
const SEED: u32 = 0x811c_9dc5;

#[derive(Clone, Copy)]
struct Slot {
    row: u16,
    tag: u16,
}

struct Index {
    slots: [Slot; SLOTS],
    containers: [bool; ROWS_LEN],
    by_name: [bool; ROWS_LEN],
}

const ROWS_LEN: usize = ROWS.len();
const _: () = assert!(ROWS_LEN * 2 < SLOTS);

static INDEX: Index = build();

const fn build() -> Index {
    let mut index = Index {
        slots: [Slot { row: EMPTY, tag: 0 }; SLOTS],
        containers: [false; ROWS_LEN],
        by_name: [false; ROWS_LEN],
    };
    let mut row = 0;
    while row < ROWS_LEN - 1 {
        let hash = finish(absorb(SEED, ROWS[row].name.as_bytes()));
        let mut at = hash as usize % SLOTS;
        while index.slots[at].row != EMPTY {
            at = (at + 1) % SLOTS;
        }
        index.slots[at] = Slot { row: row as u16, tag: tag(hash) };
        // The other rules say only whether it may be sent again.
        index.by_name[row] =
            !matches!(ROWS[row].rule, Rule::Block | Rule::Settings | Rule::Reserved | Rule::Redirect);
        row += 1;
    }
    mark_containers(index)
}

const fn mark_containers(mut index: Index) -> Index {
    let mut row = 0;
    while row < ROWS_LEN - 1 {
        let name = ROWS[row].name.as_bytes();
        let mut bar = 0;
        while bar < name.len() && name[bar] != b'|' {
            bar += 1;
        }
        if bar < name.len() {
            let mut parent = 0;
            while !is_prefix(ROWS[parent].name.as_bytes(), name, bar) {
                parent += 1;
            }
            index.containers[parent] = true;
            (index.by_name[parent], index.by_name[row]) = (false, false);
        }
        row += 1;
    }
    index
}

/// Whether `name` is what stands before the bar of `sub`.
const fn is_prefix(name: &[u8], sub: &[u8], bar: usize) -> bool {
    if name.len() != bar {
        return false;
    }
    let mut at = 0;
    while at < bar {
        if name[at] != sub[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// FNV-1a over the bytes with the bit set that tells the cases apart.
const fn absorb(state: u32, bytes: &[u8]) -> u32 {
    let mut state = state;
    let mut at = 0;
    while at < bytes.len() {
        state = (state ^ (bytes[at] | 0x20) as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    state
}

/// FNV mixes its low bits least, and the slot is taken from them.
const fn finish(state: u32) -> u32 {
    state ^ (state >> 15)
}

const fn tag(hash: u32) -> u16 {
    (hash >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::{POPS, find};
    use crate::command::{Effect, Retry};

    #[test]
    fn pops_are_writes_that_are_never_sent_twice_unless_they_were_parked() {
        for name in POPS {
            let row = find(name.as_bytes()).unwrap();
            assert!(row.is_pop() && row.spec().effect == Effect::Write, "{name}");
            assert!(matches!(row.spec().retry, Retry::Never | Retry::Parked), "{name}");
        }
        for name in ["blmove", "brpoplpush", "lmove", "rpoplpush", "xreadgroup", "del", "getex"] {
            assert!(
                !find(name.as_bytes()).unwrap().is_pop(),
                "{name} keeps what it takes, or says nothing of it"
            );
        }
    }
}
