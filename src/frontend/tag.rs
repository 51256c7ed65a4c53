//! What a request on a shared pipeline is called there until its reply comes: its row, and whether the reply waits for nothing
//! although those of other requests of the row may.

use crate::backend::ROW_BITS;
use crate::command::RowId;

/// The reply waits for no barrier, because of the request's keys.
const SPARED: u16 = 1 << 15;

/// The tag of a request of this row.
pub(super) fn tag_of(row: RowId, spared: bool) -> u16 {
    if spared { row.0 | SPARED } else { row.0 }
}

/// The row that a tag says.
#[inline]
pub(super) fn row_of(tag: u16) -> RowId {
    RowId(tag & ROW_BITS)
}

/// Whether the reply to a request with this tag waits for nothing.
pub(super) fn is_spared(tag: u16) -> bool {
    tag & SPARED != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::rows;

    #[test]
    fn a_tag_tells_the_row_and_what_was_spared() {
        assert!(rows().len() <= usize::from(ROW_BITS) && ROW_BITS & SPARED == 0);
        for spared in [false, true] {
            let tag = tag_of(RowId::UNKNOWN, spared);
            assert_eq!((row_of(tag), is_spared(tag)), (RowId::UNKNOWN, spared));
        }
    }
}
