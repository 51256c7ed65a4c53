//! Tokens with a role each: every route of the admin endpoint, asked by everybody.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::support::{LONG, Proxy, ProxyOptions, Server, eventually};
use super::{Ended, File, redhold};

/// What a route asks of who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Look,
    Details,
    Order,
    /// Of who may do everything.
    Upgrade,
}

/// Every route. A drain ends the proxy, so it is the last.
const ROUTES: &[(&str, &str, Asks)] = &[
    ("GET", "/", Asks::Look),
    ("GET", "/metrics", Asks::Look),
    ("GET", "/livez", Asks::Look),
    ("GET", "/readyz", Asks::Look),
    ("GET", "/api/log-level", Asks::Look),
    ("GET", "/api/status", Asks::Details),
    ("PUT", "/api/log-level", Asks::Order),
    ("POST", "/api/switchover", Asks::Order),
    ("POST", "/api/failover", Asks::Order),
    ("POST", "/api/adopt", Asks::Order),
    ("POST", "/api/pause", Asks::Order),
    ("POST", "/api/resume", Asks::Order),
    ("POST", "/api/readonly/on", Asks::Order),
    ("POST", "/api/readonly/off", Asks::Order),
    ("POST", "/api/reload", Asks::Order),
    ("POST", "/api/upgrade", Asks::Upgrade),
    ("POST", "/api/drain", Asks::Order),
];

/// Who comes: with whose token, under which name the log tells of him, and whether he may see details and order.
type Caller = (Option<&'static str>, &'static str, [bool; 2]);

const CALLERS: &[Caller] = &[
    (None, "", [false, false]),
    (Some("0123456789abcdef-none"), "", [false, false]),
    (Some("0123456789abcdef-view"), "dashboard", [true, false]),
    (Some("0123456789abcdef-ops"), "night-shift", [true, true]),
    (Some("0123456789abcdef-admin"), "boss", [true, true]),
    (Some("0123456789abcdef-whole"), "admin.token_file", [true, true]),
];

/// The files of the tokens.
struct Files {
    view: File,
    ops: File,
    admin: File,
    whole: File,
}

impl Files {
    fn new() -> Self {
        let [view, ops, admin, whole] =
            ["view", "ops", "admin", "whole"].map(|name| File::new(&format!("0123456789abcdef-{name}\n")));
        Self { view, ops, admin, whole }
    }

    fn roles(&self) -> String {
        let row = |name: &str, file: &File, role: &str| {
            format!("{{ name = {name:?}, token_file = {:?}, role = {role:?} }}", file.path())
        };
        let rows = [
            row("dashboard", &self.view, "viewer"),
            row("night-shift", &self.ops, "operator"),
            row("boss", &self.admin, "admin"),
        ];
        format!("[{}]", rows.join(", "))
    }

    fn proxy(&self, server: &Server) -> Proxy {
        ProxyOptions::new(&[server.address()])
            .set("admin.token_file", &format!("{:?}", self.whole.path()))
            .set("admin.roles", &self.roles())
            .start()
    }
}

/// Status code, head and body of the answer to one request that has all that an order needs but the token.
#[track_caller]
fn asked(proxy: &Proxy, method: &str, path: &str, token: Option<&str>) -> (u16, String, String) {
    let mut stream = TcpStream::connect(proxy.admin_address()).expect("it listens");
    stream.set_read_timeout(Some(LONG)).expect("a timeout above zero is accepted");
    let bearer = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let body = if method == "PUT" { "info" } else { "" };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Redhold: 1\r\n{bearer}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("it speaks HTTP");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("it speaks HTTP");
    (code, head.to_ascii_lowercase(), body.to_owned())
}

fn lines(proxy: &Proxy, words: &[&str]) -> usize {
    let log = proxy.log();
    log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// What the table says becomes of this request.
#[track_caller]
fn is_answered_as_it_may(
    proxy: &Proxy,
    (method, path, asks): (&str, &str, Asks),
    (token, name, [sees, orders]): Caller,
) {
    let who = format!("{method} {path} with {token:?}");
    let received = ["order received", &format!("{path}\""), &format!("\"{name}\"")];
    let before = lines(proxy, &received);
    let (code, head, body) = asked(proxy, method, path, token);
    let challenge = head.contains("www-authenticate: bearer");
    match asks {
        Asks::Upgrade if orders && name == "night-shift" => {
            assert!(
                (code, challenge) == (403, true) && body.contains("needs admin"),
                "{who}: {head}\n{body}"
            );
        }
        // The file is none, and nobody takes over.
        Asks::Upgrade if orders => assert!(code == 409 && body.contains("1 fault"), "{who}: {head}\n{body}"),
        Asks::Order if orders => {
            assert!(!challenge && ![401, 403, 503].contains(&code), "{who}: {head}\n{body}");
            eventually(LONG, &format!("{who}: the log names him"), || lines(proxy, &received) > before);
        }
        Asks::Order | Asks::Upgrade => {
            let (refused, scope) = if sees { (403, true) } else { (401, false) };
            assert_eq!((code, challenge), (refused, true), "{who}: {head}\n{body}");
            assert_eq!(head.contains("insufficient_scope"), scope, "{who}: {head}");
        }
        Asks::Look => assert_eq!((code, challenge), (200, false), "{who}: {head}\n{body}"),
        Asks::Details => {
            assert_eq!((code, challenge), (200, false), "{who}: {head}\n{body}");
            let body: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
            let found = (body["details"].is_object(), body["details_refused"].is_null(), &body["may_order"]);
            assert_eq!(found, (sees, sees, &orders.into()), "{who}: {body}");
            assert_eq!(body["token_needed"], true, "{who}");
        }
    }
    if method == "GET" {
        assert_eq!(asked(proxy, "HEAD", path, token).0, code, "HEAD, {who}");
    }
}

#[test]
fn every_route_is_in_the_table() {
    let (server, files) = (Server::start(), Files::new());
    let proxy = files.proxy(&server);
    let (code, _, told) = asked(&proxy, "GET", "/nowhere", None);
    let words = told.split([' ', ',', '\n']);
    let told: BTreeSet<&str> = words.filter(|word| word.starts_with('/')).collect();
    let listed: BTreeSet<&str> = ROUTES.iter().map(|(_, path, _)| *path).collect();
    assert_eq!((code, &told), (404, &listed));
    for path in listed {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let is_listed = ROUTES.iter().any(|(of, at, _)| (*of, *at) == (method, path));
            let (code, ..) = asked(&proxy, method, path, None);
            assert_eq!(code != 405, is_listed, "{method} {path}: {code}");
        }
    }
}

#[test]
fn each_may_what_its_role_may_and_no_more() {
    let (server, files) = (Server::start(), Files::new());
    let mut proxy = files.proxy(&server);
    let (may, may_not): (Vec<&Caller>, Vec<&Caller>) =
        CALLERS.iter().partition(|(_, _, [_, orders])| *orders);
    for caller in may_not {
        ROUTES.iter().for_each(|route| is_answered_as_it_may(&proxy, *route, *caller));
    }
    assert_eq!(lines(&proxy, &["order received"]), 0, "{}", proxy.log());
    // Whoever has none was refused just before.
    assert_eq!(lines(&proxy, &["order refused", "by=\"dashboard\""]), 1, "{}", proxy.log());
    let status = proxy.status();
    assert!(status["read_only"] == false && status["paused"] == false && status["draining"] == false);
    let most = may.len();
    for (nth, caller) in may.into_iter().enumerate() {
        std::fs::write(proxy.config_file(), "[proxy]\nnonsense = 1\n").expect("its folder is writable");
        ROUTES.iter().for_each(|route| is_answered_as_it_may(&proxy, *route, *caller));
        assert!(proxy.wait_exit().success(), "{}", proxy.log());
        assert!(!proxy.log().contains("0123456789abcdef"), "no token is told: {}", proxy.log());
        if nth + 1 < most {
            proxy = files.proxy(&server);
        }
    }
}

#[test]
fn a_token_without_the_right_is_named_in_the_log_and_shown_nowhere() {
    let (server, files) = (Server::start(), Files::new());
    let proxy = files.proxy(&server);
    let view = Some("0123456789abcdef-view");
    let (code, _, why) = asked(&proxy, "POST", "/api/pause", view);
    assert!(code == 403 && why.contains("needs operator or admin"), "{why}");
    eventually(LONG, "the log tells who", || lines(&proxy, &["order refused", "dashboard"]) == 1);
    let url = format!("http://{}", proxy.admin_address());
    let checked = redhold(&["check", "--config", proxy.config_file().to_str().expect("a plain name")]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let ended = redhold(&["status", "--json", "--admin", &url, "--token-file", files.view.path()]);
    assert!(ended.code == Some(0) && ended.out.contains("\"slow\":"), "{ended:?}");
    let without = redhold(&["status", "--json", "--admin", &url]);
    assert!(
        without.out.contains("or one of admin.roles") && !without.out.contains("\"slow\":"),
        "{without:?}"
    );
    let order = redhold(&["switchover", "--admin", &url, "--token-file", files.view.path()]);
    assert!(order.code == Some(1) && order.err.contains("refused with 403: the role of"), "{order:?}");
    let answers =
        ["/", "/metrics", "/api/status", "/nowhere"].map(|path| asked(&proxy, "GET", path, view).2).concat();
    let told = |ended: &Ended| [ended.out.as_str(), ended.err.as_str()].concat();
    let said = [proxy.log(), answers, told(&checked), told(&ended), told(&without), told(&order)].concat();
    assert!(!said.contains("0123456789abcdef"), "{said}");
}

#[test]
fn another_token_in_a_file_is_taken_at_once_and_one_that_is_gone_harms_its_holder_alone() {
    let (server, files) = (Server::start(), Files::new());
    let proxy = files.proxy(&server);
    let order = |token: &str| asked(&proxy, "PUT", "/api/log-level", Some(token)).0;
    let sees = |token: &str| asked(&proxy, "GET", "/api/status", Some(token)).2.contains("\"details\":");
    assert_eq!(order("0123456789abcdef-ops"), 200);
    std::fs::write(files.ops.path(), "fedcba9876543210-ops").expect("it can be overwritten");
    assert_eq!((order("0123456789abcdef-ops"), order("fedcba9876543210-ops")), (401, 200));
    assert!(sees("0123456789abcdef-view"));
    std::fs::remove_file(files.view.path()).expect("it is there");
    assert!(!sees("0123456789abcdef-view"));
    assert_eq!(order("0123456789abcdef-view"), 503);
    assert_eq!((order("fedcba9876543210-ops"), order("0123456789abcdef-whole")), (200, 200));
    eventually(LONG, "the log tells", || lines(&proxy, &["cannot read", "dashboard"]) == 1);
    // To look takes no file.
    assert_eq!(asked(&proxy, "GET", "/livez", Some("0123456789abcdef-view")).0, 200);
}

#[test]
fn with_a_role_alone_this_machine_orders_no_more_without_a_token() {
    let (server, files) = (Server::start(), Files::new());
    let proxy = ProxyOptions::new(&[server.address()]).set("admin.roles", &files.roles()).start();
    let order = |token| asked(&proxy, "PUT", "/api/log-level", token).0;
    assert_eq!((order(None), order(Some("0123456789abcdef-whole"))), (401, 401));
    assert_eq!((order(Some("0123456789abcdef-view")), order(Some("0123456789abcdef-ops"))), (403, 200));
}
