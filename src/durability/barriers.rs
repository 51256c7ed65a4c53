//! The barriers of one connection: one on its way at a time, numbered as they begin.

/// See the module's text.
#[derive(Debug)]
pub struct Barriers {
    /// Number of the barrier that begins next.
    next: u64,
    /// Somebody waits for that one.
    wanted: bool,
    flight: Option<u64>,
}

impl Default for Barriers {
    fn default() -> Self {
        Self { next: 1, wanted: false, flight: None }
    }
}

impl Barriers {
    /// A write was answered: number of the barrier that covers it. It has not begun, since one that has may lie before the
    /// write.
    pub fn await_next(&mut self) -> u64 {
        self.wanted = true;
        self.next
    }

    /// The number of the barrier that is to be sent now, if one is.
    pub fn begin(&mut self) -> Option<u64> {
        if self.flight.is_some() || !self.wanted {
            return None;
        }
        self.flight = Some(self.next);
        self.next += 1;
        self.wanted = false;
        self.flight
    }

    /// The barrier on its way.
    #[must_use]
    pub fn flight(&self) -> Option<u64> {
        self.flight
    }

    /// The barrier on its way was answered.
    pub fn end(&mut self) -> Option<u64> {
        self.flight.take()
    }

    /// Nobody waits for anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.flight.is_none() && !self.wanted
    }

    /// What has begun and what is awaited will never be answered: number of the last barrier that anybody can have been
    /// told.
    pub fn give_up(&mut self) -> u64 {
        let last = self.next;
        *self = Self { next: last + 1, ..Self::default() };
        last
    }
}

#[cfg(test)]
mod tests {
    use super::Barriers;

    #[test]
    fn what_comes_while_one_is_on_its_way_waits_for_the_next() {
        let mut barriers = Barriers::default();
        assert_eq!(barriers.begin(), None);
        assert_eq!(barriers.await_next(), 1);
        assert_eq!(barriers.await_next(), 1);
        assert_eq!(barriers.begin(), Some(1));
        assert_eq!(barriers.await_next(), 2);
        assert_eq!(barriers.begin(), None, "one at a time");
        assert_eq!(barriers.end(), Some(1));
        assert!(!barriers.is_idle());
        assert_eq!(barriers.begin(), Some(2));
        assert_eq!(barriers.begin(), None);
        assert_eq!(barriers.end(), Some(2));
        assert!(barriers.is_idle());
    }

    #[test]
    fn no_later_barrier_has_the_number_of_one_that_was_given_up() {
        let mut barriers = Barriers::default();
        barriers.await_next();
        barriers.begin();
        assert_eq!(barriers.await_next(), 2);
        assert_eq!(barriers.give_up(), 2);
        assert!(barriers.is_idle());
        assert_eq!(barriers.await_next(), 3);
    }
}
