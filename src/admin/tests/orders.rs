//! Orders, and who may give them.

use super::*;

#[test]
fn an_order_is_placed_and_answered_with_its_timeline() {
    let mut fixture = Fixture::new();
    let (order, code, body) = fixture.answering(Ok("b:2 leads"), |f| f.order("/api/switchover?to=b:2", ""));
    assert_eq!(order, Order::Switchover { to: Some(NodeId(1)) });
    assert_eq!((code, body.ok, body.answer.as_str()), (200, true, "b:2 leads"));
    assert_eq!(body.episode.unwrap().notes.len(), 2);

    let mut fixture = Fixture::new();
    let (order, code, body) =
        fixture.answering(Err("no candidate"), |f| f.order("/api/failover", "force=true"));
    assert_eq!(order, Order::Failover { to: None });
    assert_eq!((code, body.ok, body.answer.as_str()), (409, false, "no candidate"));

    let mut fixture = Fixture::new();
    let (order, code, _) = fixture.answering(Ok("adopted"), |f| f.order("/api/adopt", "{\"to\": \"a:1\"}"));
    assert_eq!((order, code), (Order::Adopt { node: NodeId(0) }, 200));
}

#[test]
fn an_order_that_makes_no_sense_is_refused_before_it_is_placed() {
    let mut fixture = Fixture::new();
    for (path, body, reason) in [
        ("/api/switchover", "to=c:3", "there is no node `c:3`; there are a:1, b:2"),
        ("/api/failover", "", "say force=true"),
        ("/api/adopt", "", "name the node"),
        ("/api/switchover", "where=b:2", "`where` is neither to nor force"),
    ] {
        let (code, answer) = fixture.order(path, body);
        assert!(code == 400 && answer.contains(reason), "{path}: {code} {answer}");
    }
    assert!(fixture.orders.try_recv().is_err());
}

#[test]
fn orders_without_the_guards_signs_are_refused() {
    let mut fixture = Fixture::new();
    for path in [
        "/api/switchover",
        "/api/failover?force=true",
        "/api/adopt?to=a:1",
        "/api/drain",
        "/api/reload",
        "/api/upgrade",
    ] {
        let (code, reason) = fixture.ask(&format!("POST {path} HTTP/1.1"), "");
        assert!(code == 403 && reason.contains("X-Redhold: 1"), "{path}: {code} {reason}");
        let rebound = format!("POST {path} HTTP/1.1\r\nX-Redhold: 1\r\nHost: evil.example\r\n\r\n");
        let (code, reason) = split(&fixture.raw(rebound.as_bytes()));
        assert!(code == 403 && reason.contains("Host"), "{path}: {code} {reason}");
    }
    assert_eq!(fixture.ask("PUT /api/log-level HTTP/1.1", "debug").0, 403);
    assert!(fixture.orders.try_recv().is_err() && !fixture.drain.begun());
}

#[test]
fn an_order_of_the_process_that_nobody_carries_out_is_a_conflict() {
    for path in ["/api/reload", "/api/upgrade"] {
        let (code, answer) = Fixture::new().order(path, "");
        assert!(code == 409 && answer.contains("the proxy is stopping; nothing was done"), "{code} {answer}");
    }
}

#[test]
fn who_is_about_to_be_succeeded_says_so() {
    let fixture = Fixture::new();
    fixture.change(|status| status.machine.yielded = true);
    let says = "another process is about to take over, and nothing is decided here";
    assert_eq!(fixture.get("/readyz"), (200, format!("ready, but {says}\n")));
    let status: StatusBody = serde_json::from_str(&fixture.get("/api/status").1).unwrap();
    assert_eq!(status.upgrade.as_deref(), Some(says));
}

#[test]
fn a_drain_is_begun_once() {
    let fixture = Fixture::new();
    assert_eq!(fixture.order("/api/drain", ""), (202, "draining\n".to_owned()));
    assert!(fixture.drain.begun());
    assert_eq!(fixture.order("/api/drain", ""), (202, "draining already\n".to_owned()));
}
