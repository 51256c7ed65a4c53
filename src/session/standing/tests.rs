use super::*;
use crate::command::classify;
use crate::resp::encode;

fn bytes(text: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
    let mut bytes = BytesMut::new();
    encode::command(&mut bytes, &words);
    bytes.to_vec()
}

/// Sends requests to a server that does what a server does with them.
struct Scene {
    standing: Standing,
    proto: Proto,
}

impl Scene {
    fn new(proto: Proto) -> Self {
        Self { standing: Standing::default(), proto }
    }

    fn send(&mut self, text: &str) -> Send {
        let bytes = Bytes::from(bytes(text));
        let scanner = RequestScanner::of_kept(&bytes).expect("a request");
        let request = scanner.request(&bytes);
        self.standing.on_request(&classify(&request), &request, &bytes, None, self.proto)
    }

    fn must_wait(&self, text: &str) -> bool {
        let bytes = Bytes::from(bytes(text));
        let scanner = RequestScanner::of_kept(&bytes).expect("a request");
        self.standing.must_wait(&classify(&scanner.request(&bytes)))
    }

    fn read(&mut self, frame: &str) -> Verdict {
        self.standing.on_frame(frame.as_bytes(), self.proto)
    }

    #[track_caller]
    fn play(&mut self, dialogue: &[(&str, &str)]) {
        for (text, reply) in dialogue {
            assert_eq!(self.send(text), Send::Owed, "{text}");
            assert_eq!(self.read(reply), Verdict::Reply, "{text}");
            if *reply == "+OK\r\n" {
                let bytes = bytes(text);
                let scanner = RequestScanner::of_kept(&bytes).expect("a request");
                self.standing.accept(classify(&scanner.request(&bytes)).row.spec(), &bytes);
            }
        }
    }

    /// What the next connection is told, and what becomes of the requests.
    fn lose(&mut self, owed: bool) -> Option<(Vec<u8>, Vec<Fate>)> {
        let mut out = BytesMut::new();
        let anew = self.standing.begin_anew(owed, 0, self.proto, &mut out)?;
        Some((out.to_vec(), anew.fates))
    }
}

const OK: &str = "+OK\r\n";
const QUEUED: &str = "+QUEUED\r\n";
const SUBSCRIBED: &str = ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";

fn all(requests: &[&str]) -> Vec<u8> {
    requests.iter().flat_map(|text| bytes(text)).collect()
}

#[test]
fn all_that_stands_is_said_in_one_order() {
    let mut scene = Scene::new(Proto::Resp3);
    scene.play(&[("CLIENT TRACKING ON", OK), ("SUBSCRIBE c", SUBSCRIBED), ("MULTI", OK), ("INCR k", QUEUED)]);
    scene.send("INCR k");
    let (said, fates) = scene.lose(true).expect("it can be said");
    assert_eq!(said, all(&["CLIENT TRACKING ON", "SUBSCRIBe c", "MULTI", "INCR k"]));
    assert!(matches!(&fates[..], [Fate::SendAgain { .. }]), "{fates:?}");
    scene.send("INCR k");
    assert_eq!(scene.read(SUBSCRIBED), Verdict::Drop);
    assert_eq!(scene.read(OK), Verdict::Drop);
    assert_eq!(scene.read(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n"), Verdict::Extra);
    assert_eq!([scene.read(QUEUED), scene.read(QUEUED)], [Verdict::Drop, Verdict::Reply]);
    scene.send("EXEC");
    assert_eq!(scene.read("*2\r\n:1\r\n:2\r\n"), Verdict::Executed(Executed::default()));
    assert!(scene.standing.stands());
}

#[test]
fn what_a_node_refused_as_a_whole_is_sent_again_in_its_place() {
    let mut scene = Scene::new(Proto::Resp3);
    scene.play(&[("SUBSCRIBE c", SUBSCRIBED), ("MULTI", OK), ("GET k", QUEUED)]);
    scene.send("INCR k");
    scene.send("INCR n");
    let refusal = "-READONLY You can't write against a read only replica.\r\n";
    assert_eq!(scene.read(refusal), Verdict::PlayAgain);
    let (said, fates) = scene.lose(true).expect("it can be said");
    assert_eq!(said, all(&["SUBSCRIBe c", "MULTI", "GET k"]));
    let requests = fates.iter().map(|fate| match fate {
        Fate::SendAgain { request, .. } => &request[..],
        _ => b"",
    });
    assert_eq!(requests.collect::<Vec<_>>(), [bytes("INCR k"), bytes("INCR n")]);
}

#[test]
fn what_exec_has_set_stands() {
    let mut scene = Scene::new(Proto::Resp3);
    scene.play(&[("MULTI", OK), ("CLIENT NO-EVICT ON", QUEUED), ("SUBSCRIBE c", QUEUED)]);
    scene.send("EXEC");
    let Verdict::Executed(executed) = scene.read("*2\r\n") else { panic!("it is executed") };
    for ((at, request), spec) in executed.left.iter().zip(["client|no-evict", "subscribe"]) {
        let row = crate::command::find(spec.as_bytes()).expect("a row");
        assert_eq!(request, &all(&[["CLIENT NO-EVICT ON", "SUBSCRIBE c"][*at]]));
        scene.standing.accept(row.spec(), request);
    }
    let (said, _) = scene.lose(false).expect("it can be said");
    assert_eq!(said, all(&["CLIENT NO-EVICT ON", "SUBSCRIBe c"]));
}

#[test]
fn silence_comes_behind_what_must_be_confirmed() {
    let mut scene = Scene::new(Proto::Resp3);
    assert_eq!(scene.send("CLIENT REPLY OFF"), Send::Silent(vec![]));
    assert_eq!(scene.send("SUBSCRIBE c"), Send::Silent(vec![]));
    assert_eq!(scene.send("SELECT 3"), Send::Silent(vec![bytes("SELECT 3").into()]));
    assert_eq!(scene.read(SUBSCRIBED), Verdict::Extra);
    let (said, _) = scene.lose(false).expect("it can be said");
    assert_eq!(said, all(&["SUBSCRIBe c", "CLIENT REPLY OFF"]));
    assert_eq!(scene.send("CLIENT REPLY ON"), Send::Owed);
    assert_eq!([scene.read(SUBSCRIBED), scene.read(OK)], [Verdict::Drop, Verdict::Reply]);
    scene.standing.forget();
    assert!(scene.lose(false).is_none());
}

#[test]
fn what_can_not_be_asked_for_without_replies_is_not() {
    for (proto, requests, owed) in [
        (Proto::Resp2, &["CLIENT REPLY OFF", "SUBSCRIBE c", "CLIENT REPLY ON"][..], false),
        (Proto::Resp3, &["CLIENT REPLY OFF", "SUBSCRIBE c"], true),
        (Proto::Resp3, &["CLIENT REPLY OFF", "MULTI", "CLIENT REPLY ON"], false),
    ] {
        let mut scene = Scene::new(proto);
        if owed {
            scene.send("GET k");
        }
        requests.iter().for_each(|text| assert_eq!(scene.send(text), Send::Silent(vec![]), "{text}"));
        assert!(scene.lose(owed).is_none(), "{requests:?}");
    }
}

#[test]
fn a_skipped_beginning_is_no_reason_to_lose_a_transaction() {
    let mut scene = Scene::new(Proto::Resp2);
    scene.send("CLIENT REPLY SKIP");
    assert_eq!(scene.send("MULTI"), Send::Silent(vec![]));
    scene.play(&[("INCR k", QUEUED)]);
    assert!(
        !scene.standing.obeys_reply(b"skip", Proto::Resp2)
            && !scene.standing.obeys_reply(b"on", Proto::Resp2)
    );
    assert_eq!(scene.lose(false).expect("it can be said").0, all(&["MULTI", "INCR k"]));
}

#[test]
fn who_is_confined_begins_nothing() {
    let mut scene = Scene::new(Proto::Resp2);
    scene.send("SUBSCRIBE c");
    assert!(scene.must_wait("MULTI"), "whether it is subscribed is not known yet");
    assert_eq!(scene.read("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"), Verdict::Reply);
    assert!(!scene.must_wait("MULTI"));
    scene.send("MULTI");
    assert!(!scene.standing.transaction().is_queueing(), "the server refuses it");
    scene.send("PING");
    scene.send("SUBSCRIBE d");
    let (said, fates) = scene.lose(true).expect("it can be said");
    assert_eq!(said, all(&["SUBSCRIBe c"]));
    assert_eq!(fates, [Fate::ByRetryClass, Fate::ByRetryClass, Fate::Subscribe(bytes("subscribe d"))]);
}

#[test]
fn whether_somebody_is_subscribed_is_waited_for_before_replies_are_taken_away() {
    let mut scene = Scene::new(Proto::Resp2);
    scene.send("UNSUBSCRIBE");
    assert!(scene.must_wait("CLIENT REPLY SKIP"));
    scene.read("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
    assert!(!scene.must_wait("CLIENT REPLY SKIP"));
    assert_eq!(scene.send("CLIENT REPLY SKIP"), Send::Silent(vec![]));
}

#[test]
fn what_decides_about_others_is_waited_for() {
    let mut scene = Scene::new(Proto::Resp3);
    scene.send("GET k");
    scene.send("MULTI");
    assert!(scene.must_wait("SUBSCRIBE c") && !scene.must_wait("GET k"));
    assert_eq!([scene.read("_\r\n"), scene.read(OK)], [Verdict::Reply, Verdict::Reply]);
    assert!(!scene.must_wait("SUBSCRIBE c"));
    scene.send("EXEC");
    assert!(scene.must_wait("GET k"));
    scene.read("*0\r\n");
    scene.send("GET k");
    scene.send("CLIENT REPLY OFF");
    assert!(scene.must_wait("MULTI") && !scene.must_wait("SET k v"));
}

#[test]
fn a_connection_on_which_nothing_was_set_serves_others() {
    for (requests, touched) in [
        (&[("WATCH k", OK), ("UNWATCH", OK)][..], false),
        (&[("WATCH k", OK), ("SELECT 3", OK), ("UNWATCH", OK)], true),
        (&[("CLIENT NO-EVICT ON", OK), ("CLIENT NO-EVICT OFF", OK)], true),
        (&[("MULTI", OK), ("SELECT 3", QUEUED), ("DISCARD", OK)], false),
        (&[("MULTI", OK), ("NOSUCH x", QUEUED), ("DISCARD", OK)], true),
    ] {
        let mut scene = Scene::new(Proto::Resp2);
        scene.play(requests);
        assert_eq!((scene.standing.stands(), scene.standing.is_touched()), (false, touched), "{requests:?}");
    }
}

#[test]
fn a_second_monitor_waits_for_the_first_and_is_not_answered() {
    let mut scene = Scene::new(Proto::Resp2);
    let monitor = classify(&["MONITOR"][..]).row.spec();
    assert_eq!(scene.send("MONITOR"), Send::Owed);
    assert!(scene.must_wait("MONITOR") && !scene.must_wait("PING"));
    scene.standing.accept(monitor, &bytes("MONITOR"));
    assert_eq!(scene.send("MONITOR"), Send::Silent(vec![]));
    assert_eq!(scene.send("PING"), Send::Owed);
    assert_eq!(scene.send("MONITOR too-many"), Send::Owed, "it is refused");
}
