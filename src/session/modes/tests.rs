use super::*;
use crate::command::find;
use crate::resp::encode;

fn bytes(text: &str) -> BytesMut {
    let mut out = BytesMut::new();
    let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
    encode::command(&mut out, &words);
    out
}

fn spec(text: &str) -> &'static Spec {
    let words: Vec<&str> = text.split(' ').collect();
    let whole = format!("{}|{}", words[0], words.get(1).unwrap_or(&"")).to_lowercase();
    let row = find(whole.as_bytes()).or_else(|| find(words[0].as_bytes()));
    row.unwrap().spec()
}

/// Sends the request, which the server accepts; whether it is answered.
fn say(modes: &mut Modes, text: &str) -> bool {
    let answered = modes.on_request(text.strip_prefix("CLIENT REPLY ").map(str::as_bytes));
    modes.on_accepted(spec(text), &bytes(text));
    answered
}

#[track_caller]
fn assert_replays(modes: &Modes, confirmations: u32, expected: &[&str]) {
    let mut out = BytesMut::new();
    assert_eq!(modes.replay(&mut out), Some(confirmations));
    modes.replay_silence(&mut out);
    let expected: Vec<u8> = expected.iter().flat_map(|text| bytes(text)).collect();
    assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
}

#[test]
fn modes_add_up_and_go_one_by_one() {
    let mut modes = Modes::default();
    for text in ["CLIENT TRACKING ON OPTIN", "CLIENT NO-EVICT ON", "CLIENT NO-TOUCH ON", "CLIENT REPLY OFF"] {
        say(&mut modes, text);
    }
    let all = ["CLIENT TRACKING ON OPTIN", "CLIENT NO-EVICT ON", "CLIENT NO-TOUCH ON", "CLIENT REPLY OFF"];
    assert_replays(&modes, 3, &all);
    say(&mut modes, "CLIENT REPLY ON");
    say(&mut modes, "client no-evict off");
    assert_replays(&modes, 2, &["CLIENT TRACKING ON OPTIN", "CLIENT NO-TOUCH ON"]);
    say(&mut modes, "CLIENT TRACKING ON NOLOOP");
    assert_replays(&modes, 2, &["CLIENT NO-TOUCH ON", "CLIENT TRACKING ON NOLOOP"]);
    say(&mut modes, "CLIENT TRACKING OFF");
    assert!(modes.stand() && !modes.tracks());
    say(&mut modes, "CLIENT NO-TOUCH OFF");
    assert!(!modes.stand());
    assert_replays(&modes, 0, &[]);
}

#[test]
fn prefixes_of_a_broadcasting_client_add_up() {
    let mut modes = Modes::default();
    let requests = ["CLIENT TRACKING ON BCAST PREFIX a", "CLIENT TRACKING ON BCAST PREFIX b NOLOOP"];
    requests.iter().for_each(|text| assert!(say(&mut modes, text)));
    say(&mut modes, requests[1]);
    assert_replays(&modes, 2, &requests);
}

#[test]
fn one_reply_is_skipped_whatever_it_says() {
    let mut modes = Modes::default();
    assert!(!say(&mut modes, "CLIENT REPLY SKIP") && modes.stand());
    assert_replays(&modes, 0, &["CLIENT REPLY SKIP"]);
    assert!(!say(&mut modes, "CLIENT NO-EVICT ON") && say(&mut modes, "GET k"));
    assert_replays(&modes, 1, &["CLIENT NO-EVICT ON"]);
    say(&mut modes, "CLIENT REPLY SKIP");
    assert!(!say(&mut modes, "CLIENT REPLY NONSENSE") && say(&mut modes, "GET k"));
}

#[test]
fn a_monitor_is_the_last_to_be_set_up() {
    let mut modes = Modes::default();
    say(&mut modes, "MONITOR");
    say(&mut modes, "CLIENT NO-TOUCH ON");
    assert_replays(&modes, 2, &["CLIENT NO-TOUCH ON", "MONITOR"]);
}

#[test]
fn beyond_the_bound_nothing_is_kept() {
    let mut modes = Modes::default();
    say(&mut modes, "CLIENT NO-TOUCH ON");
    for number in 0..3 {
        say(&mut modes, &format!("CLIENT TRACKING ON BCAST PREFIX {number}{}", "x".repeat(KEPT_MAX / 2)));
    }
    assert!(modes.stand() && modes.tracks());
    assert_eq!(modes.replay(&mut BytesMut::new()), None);
    say(&mut modes, "CLIENT TRACKING OFF");
    assert_eq!(modes.replay(&mut BytesMut::new()), None, "what was dropped does not come back");
    say(&mut modes, "CLIENT NO-TOUCH OFF");
    assert_replays(&modes, 0, &[]);
}
