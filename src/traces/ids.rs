//! Numbers by which traces and spans are told apart. Pure but for the seed, which is passed in.

/// A stream of them (splitmix64): from another seed another one, each of 64 bits once in a period.
#[derive(Debug)]
pub(super) struct Ids(u64);

impl Ids {
    /// `seed`: any number that no other process has.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Of a span; never 0, which stands for none.
    pub(super) fn span(&mut self) -> u64 {
        loop {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = mixed ^ (mixed >> 31);
            if id != 0 {
                return id;
            }
        }
    }

    /// Of a trace; never 0.
    pub(super) fn trace(&mut self) -> u128 {
        u128::from(self.span()) << 64 | u128::from(self.span())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_are_the_same_and_none_is_nothing() {
        let mut ids = Ids::new(0);
        let spans: BTreeSet<u64> = (0..10_000).map(|_| ids.span()).collect();
        assert!(spans.len() == 10_000 && !spans.contains(&0));
        let [mut one, mut other] = [Ids::new(1), Ids::new(2)];
        assert_ne!(one.trace(), other.trace());
    }
}
