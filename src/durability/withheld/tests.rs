use super::*;

fn ticket(number: u64) -> Ticket {
    Ticket { level: Level::SemiSync, number, reads: false }
}

/// An output and what waits in it.
#[derive(Default)]
struct Scene {
    output: BytesMut,
    withheld: Withheld,
}

impl Scene {
    fn plain(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
    }

    fn waits(&mut self, text: &str, number: u64) {
        self.plain(text);
        self.withheld.withhold(self.output.len(), text.len(), 1, ticket(number));
    }

    fn shows(&mut self, text: &str, number: u64) {
        self.plain(text);
        let ticket = Ticket { reads: true, ..ticket(number) };
        self.withheld.withhold(self.output.len(), text.len(), 1, ticket);
    }

    fn piece(&mut self, text: &str, end: Option<u64>) {
        self.plain(text);
        self.withheld.withhold_piece(self.output.len(), text.len(), end.map(ticket));
    }

    /// Writes what may be written, three bytes at a time.
    fn written(&mut self) -> String {
        let mut written = Vec::new();
        loop {
            let count = self.withheld.writable(self.output.len()).min(3);
            if count == 0 {
                return String::from_utf8(written).unwrap();
            }
            written.extend_from_slice(&self.output.split_to(count));
            self.withheld.wrote(count);
        }
    }

    fn replace(&mut self, number: u64, instead: &str) -> u32 {
        let instead = Instead { write: instead.as_bytes(), read: b"" };
        self.withheld.replace(ticket(number), instead, &mut self.output).writes
    }
}

#[test]
fn a_reply_waits_and_those_behind_it_queue() {
    let mut scene = Scene::default();
    scene.plain("read1 ");
    scene.waits("write1 ", 1);
    scene.plain("read2 ");
    scene.waits("write2 ", 2);
    scene.waits("write3 ", 2);
    scene.plain("read3 ");
    assert_eq!(scene.written(), "read1 ");
    scene.withheld.release(ticket(1));
    assert_eq!(scene.written(), "write1 read2 ");
    scene.plain("read4 ");
    assert_eq!(scene.written(), "");
    scene.withheld.release(ticket(2));
    assert_eq!(scene.written(), "write2 write3 read3 read4 ");
    scene.waits("write4 ", 3);
    assert_eq!(scene.written(), "");
    scene.withheld.release(ticket(7));
    assert_eq!(scene.written(), "write4 ");
}

#[test]
fn what_was_not_covered_is_replaced_reply_by_reply() {
    let mut scene = Scene::default();
    scene.plain("a ");
    scene.output.extend_from_slice(b"w1 w2 ");
    scene.withheld.withhold(scene.output.len(), 6, 2, ticket(1));
    scene.plain("b ");
    scene.waits("w3 ", 2);
    scene.plain("c ");
    assert_eq!(scene.replace(1, "no "), 2);
    assert_eq!(scene.replace(1, "no "), 0);
    assert_eq!(scene.written(), "a no no b ");
    assert_eq!(scene.replace(2, "lost "), 1);
    assert_eq!(scene.written(), "lost c ");
}

#[test]
fn each_level_has_barriers_of_its_own() {
    let other = Ticket { level: Level::Async, number: 9, reads: false };
    let mut scene = Scene::default();
    scene.waits("w1 ", 1);
    scene.plain("w2 ");
    scene.withheld.withhold(scene.output.len(), 3, 1, other);
    scene.waits("w3 ", 1);
    scene.withheld.release(other);
    assert_eq!(scene.written(), "");
    assert_eq!(scene.replace(1, "x "), 2);
    assert_eq!(scene.written(), "x w2 x ");
}

#[test]
fn a_reply_in_pieces_waits_as_a_whole() {
    let mut scene = Scene::default();
    scene.waits("w1 ", 1);
    scene.piece("begin ", None);
    scene.piece("middle ", None);
    assert_eq!(scene.withheld.unfinished(), 13);
    scene.withheld.release(ticket(1));
    assert_eq!(scene.written(), "w1 ");
    scene.piece("end ", Some(2));
    assert_eq!(scene.withheld.unfinished(), 0);
    scene.plain("r ");
    assert_eq!(scene.replace(2, "no "), 1);
    assert_eq!(scene.written(), "no r ");
}

#[test]
fn of_a_reply_that_will_not_end_nothing_is_given() {
    let mut scene = Scene::default();
    scene.plain("a ");
    scene.waits("w1 ", 1);
    scene.plain("b ");
    scene.piece("begin ", None);
    scene.plain("c ");
    scene.withheld.cut_unfinished(&mut scene.output);
    scene.withheld.release(ticket(1));
    assert_eq!(scene.written(), "a w1 b c ");
    scene.withheld.cut_unfinished(&mut scene.output);
    assert_eq!(scene.written(), "");
}

#[test]
fn who_has_read_is_told_another_text_than_who_has_written() {
    let mut scene = Scene::default();
    scene.shows("r1 ", 1);
    scene.shows("r2 ", 1);
    scene.waits("w1 ", 1);
    scene.shows("r3 ", 1);
    scene.plain("a ");
    scene.shows("r4 ", 2);
    scene.waits("w2 ", 2);
    assert!(scene.withheld.ends_with(Ticket { reads: true, ..ticket(2) }), "one barrier covers both");
    assert!(scene.withheld.ends_with(ticket(1)) && !scene.withheld.ends_with(ticket(3)));
    let instead = Instead { write: b"not safe ", read: b"no " };
    let replaced = scene.withheld.replace(ticket(1), instead, &mut scene.output);
    assert_eq!(replaced, Replaced { writes: 1, reads: 3 });
    assert_eq!(scene.written(), "no no not safe no a ");
    scene.withheld.release(ticket(2));
    assert_eq!(scene.written(), "r4 w2 ");
}

#[test]
fn what_is_given_up_waits_no_more_and_what_has_not_ended_does() {
    for reads in [true, false] {
        let mut scene = Scene::default();
        scene.plain("first ");
        scene.shows("read1 ", 1);
        scene.waits("write1 ", 1);
        scene.plain("next ");
        scene.shows("read2 ", 2);
        scene.piece("begun ", None);
        let instead = Instead { write: b"w ", read: b"r " };
        let replaced = scene.withheld.give_up(reads, instead, &mut scene.output);
        assert_eq!(replaced, Replaced { reads: 2, writes: u32::from(!reads) });
        assert_eq!(scene.written(), if reads { "first r " } else { "first r w next r " });
        scene.withheld.release(ticket(1));
        assert_eq!(scene.written(), if reads { "write1 next r " } else { "" });
        scene.piece("ended ", Some(3));
        scene.withheld.release(ticket(3));
        assert_eq!(scene.written(), "begun ended ");
    }
}
