use super::*;

const GROUP: [NodeId; 3] = [NodeId(0), NodeId(1), NodeId(2)];

struct Stage {
    keeper: Keeper,
    now: Instant,
    settings: [&'static str; 3],
}

impl Stage {
    fn new() -> Self {
        let now = Instant::now();
        let mut stage = Self { keeper: Keeper::new(true, now), now, settings: ["0"; 3] };
        stage.keeper.declare(GROUP.into_iter().zip(["a", "b", "c"].map(str::to_owned)));
        stage.look([true; 3], ["x", "y", "z"]);
        stage
    }

    fn look(&mut self, up: [bool; 3], run_ids: [&str; 3]) {
        let seen = (0..).map(NodeId).zip(up).zip(run_ids).map(|((id, up), run_id)| (id, up, Some(run_id)));
        self.keeper.look(Some(NodeId(0)), seen, self.now);
    }

    fn accept(&mut self, value: &'static str) {
        self.settings[0] = value;
        let change = Change::to_set("timeout", value);
        assert_eq!(self.keeper.accepted(NodeId(0), &change, self.now), GROUP[1..]);
    }

    /// Compares when it is due; what is said to whom.
    fn compare(&mut self) -> Vec<(NodeId, String)> {
        self.now = self.now.max(self.keeper.due());
        let round = self.keeper.begin(self.now).expect("there is a primary");
        let snapshot = |id: &NodeId| {
            let settings = [("timeout".to_owned(), self.settings[id.slot()].to_owned())].into();
            (*id, Snapshot { settings, users: Some(BTreeMap::new()), ..Snapshot::default() })
        };
        let found = round.asked.iter().map(snapshot).collect();
        let said = self.keeper.compared(&round, &found, &[], self.now);
        said.into_iter().map(|(node, change)| (node, change.told)).collect()
    }

    fn parity(&self) -> [Option<bool>; 3] {
        let report = self.keeper.report();
        GROUP.map(|id| report.of(id).in_parity)
    }
}

#[test]
fn a_difference_is_told_when_it_is_found_twice_and_forgotten_when_it_is_gone() {
    let mut stage = Stage::new();
    assert_eq!(stage.parity(), [None; 3]);
    stage.settings[2] = "7";
    let began = stage.now;
    assert_eq!(stage.compare(), []);
    assert_eq!(stage.parity(), [Some(true); 3]);
    assert_eq!(stage.keeper.due(), began + CONFIRM);
    assert_eq!(stage.compare(), [], "nobody changed it through the proxy: it is told and left");
    assert_eq!(stage.parity(), [Some(true), Some(true), Some(false)]);
    let fault = &stage.keeper.report().nodes[&NodeId(2)].faults[0];
    assert!(fault.starts_with("timeout differs: a `0`, c `7`; set the same"), "{fault}");
    assert_eq!(stage.keeper.due(), stage.now + MINUTE);
    stage.settings[2] = "0";
    stage.compare();
    assert_eq!(stage.parity(), [Some(true); 3]);
}

#[test]
fn who_missed_a_change_is_brought_it_and_who_refuses_is_not_asked_for_ever() {
    let mut stage = Stage::new();
    stage.compare();
    stage.accept("5");
    stage.settings[1] = "5";
    let change = Arc::new(Change::to_set("timeout", "5"));
    stage.keeper.ended(NodeId(1), &change, &End::Done);
    stage.keeper.ended(NodeId(2), &change, &End::Missed);
    assert_eq!(stage.parity(), [Some(true), Some(true), Some(false)]);
    let expected = [(NodeId(2), "CONFIG SET timeout".to_owned())];
    assert_eq!(stage.compare(), expected);
    for _ in 0..REPAIRS_MAX {
        stage.keeper.ended(NodeId(2), &change, &End::Refused("ERR what is 'secret' to you".to_owned()));
        assert_eq!(stage.compare(), expected);
    }
    let report = stage.keeper.report().of(NodeId(2));
    assert_eq!(report.faults[0], "refused CONFIG SET timeout: ERR what is '…' to you");
    while stage.keeper.due() < stage.now + MINUTE {
        stage.compare();
    }
    stage.settings[2] = "5";
    assert_eq!(stage.compare(), []);
    assert_eq!(stage.parity(), [Some(true); 3], "somebody set it by hand");
}

/// A user that may not use ACL is refused what it tells of, and does not learn later what became of it.
#[test]
fn what_a_node_would_not_tell_settles_no_refusal() {
    let mut stage = Stage::new();
    stage.compare();
    let change = Arc::new(Change::to_give("app", &[]));
    stage.keeper.accepted(NodeId(0), &change, stage.now);
    stage.keeper.ended(NodeId(2), &change, &End::Refused("NOPERM".to_owned()));
    for tells in [false, true] {
        assert_eq!(stage.parity()[2], Some(false), "before it {}", if tells { "tells" } else { "does not" });
        let round = stage.keeper.begin(stage.now).expect("there is a primary");
        let users = |told: bool| told.then(|| [("app".to_owned(), Vec::new())].into());
        let found =
            GROUP.map(|id| (id, Snapshot { users: users(tells || id != NodeId(2)), ..Snapshot::default() }));
        assert_eq!(stage.keeper.compared(&round, &found.into(), &[], stage.now), []);
    }
    assert_eq!(stage.parity()[2], Some(true));
}

#[test]
fn who_comes_back_is_brought_what_clients_changed_while_the_primary_is_what_it_is() {
    let mut stage = Stage::new();
    stage.accept("5");
    (stage.settings[1], stage.settings[2]) = ("5", "5");
    stage.compare();
    stage.look([true, false, true], ["x", "y", "z"]);
    assert_eq!(stage.parity(), [Some(true), None, Some(true)]);
    stage.settings[1] = "0";
    stage.look([true; 3], ["x", "y", "z"]);
    assert_eq!(stage.keeper.due(), stage.now, "it is looked at at once");
    assert_eq!(stage.compare(), [], "it is the same process, so somebody set it there by hand");
    stage.look([true; 3], ["x", "other", "z"]);
    assert_eq!(stage.keeper.due(), stage.now, "nobody saw it away");
    assert_eq!(stage.compare(), [(NodeId(1), "CONFIG SET timeout".to_owned())]);
    // The primary was started again as well and has lost it: who is behind gets what it has, who is not keeps what he has.
    stage.settings = ["0", "5", "5"];
    stage.look([true; 3], ["new", "other", "z"]);
    assert_eq!(stage.compare(), [(NodeId(1), "CONFIG SET timeout".to_owned())]);
}

#[test]
fn what_was_read_before_a_change_repairs_nothing() {
    let mut stage = Stage::new();
    stage.accept("5");
    let round = stage.keeper.begin(stage.now).expect("there is a primary");
    stage.accept("6");
    let found = GROUP.map(|id| (id, Snapshot::default())).into();
    assert_eq!(stage.keeper.compared(&round, &found, &[], stage.now), []);
    assert!(stage.keeper.due() <= stage.now + SETTLE);
}

#[test]
fn who_did_not_tell_is_asked_again() {
    let mut stage = Stage::new();
    let round = stage.keeper.begin(stage.now).expect("there is a primary");
    let found = [NodeId(0), NodeId(1)].map(|id| (id, Snapshot::default())).into();
    stage.keeper.compared(&round, &found, &[], stage.now);
    assert_eq!(stage.parity(), [Some(true), Some(true), None]);
    assert_eq!(stage.keeper.due(), stage.now + CONFIRM);
}
