//! What the page shows: the group, its change, and that nothing is known any more.

use std::net::SocketAddr;

use crate::browser::{Browser, PATIENCE};
use crate::support::{Group, Proxy, ProxyOptions, Value, eventually};
use crate::{assert_sound, opened, url};

/// What one row of the table of nodes shows.
fn row(browser: &mut Browser, node: SocketAddr) -> String {
    let found = format!(
        "[...document.querySelectorAll('#nodes tbody tr')].map(row => row.innerText).find(text => text.includes('{node}')) ?? ''"
    );
    browser.evaluate(&found).as_str().expect("a text").to_owned()
}

#[test]
fn the_new_primary_is_read_off_the_page_after_the_old_one_was_killed() {
    let mut group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    let Some(mut browser) = opened(&proxy) else { return };
    let [first, second, third] = group.addresses()[..] else { panic!("three nodes") };
    browser.wait_text("primary", "the primary", |primary| primary == first.to_string());
    assert_eq!((browser.text("state").as_str(), browser.text("epoch").as_str()), ("writable", "1"));
    for node in [second, third] {
        eventually(PATIENCE, "the replicas are drawn as such", || {
            row(&mut browser, node).contains("replica\tup")
        });
        assert!(row(&mut browser, node).contains(&first.to_string()), "whom it follows");
        eventually(PATIENCE, "how far it is behind", || row(&mut browser, node).contains("\t0 B\t"));
    }
    assert!(row(&mut browser, first).contains("primary\tup"));
    // One arrow from the proxy to the primary and one from there to each replica, all of them whole.
    let arrows = "document.querySelectorAll('#topology .arrow.live').length";
    eventually(PATIENCE, "three arrows", || browser.evaluate(arrows) == 3);
    let drawn = browser.text("topology");
    assert!([first, second, third].iter().all(|node| drawn.contains(&node.to_string())), "{drawn}");
    assert!(browser.text("episodes").contains("first primary found"));

    let mut client = proxy.client();
    eventually(PATIENCE, "requests are plotted", || {
        assert_eq!(client.call("SET k v"), Value::ok());
        browser.text("requests-now") != "0 now" && !browser.text("latency-now").contains("none")
    });
    let plotted = "document.querySelector('#requests .line').getAttribute('d').split('L').length > 1";
    eventually(PATIENCE, "a line is drawn", || browser.evaluate(plotted) == true);
    for line in [".line:not(.second)", ".line.second"] {
        let plotted = plotted.replace("#requests .line", &format!("#latency {line}"));
        eventually(PATIENCE, "and one for each latency", || browser.evaluate(&plotted) == true);
    }
    group.wait_in_sync(0);
    group.node(0).kill9();
    let others = [second.to_string(), third.to_string()];
    let leads =
        browser.wait_text("primary", "another primary", |primary| others.contains(&primary.to_owned()));
    assert_eq!(leads, proxy.status()["primary"]);
    browser.wait_text("epoch", "the next epoch", |epoch| epoch == "2");
    browser.wait_text("state", "writes go on", |state| state == "writable");
    let change = format!("{first} → {leads}, epoch 1 → 2");
    let told = browser.wait_text("episodes", "the timeline", |told| told.contains(&change));
    assert!(told.contains("failover") && told.contains("release"), "the newest is unfolded: {told}");
    eventually(PATIENCE, "the dead one is shown as such", || {
        let row = row(&mut browser, first);
        row.contains("was primary") && row.contains("down for")
    });
    eventually(PATIENCE, "the new primary has one replica", || browser.evaluate(arrows) == 2);
    assert_eq!(client.call("SET k w"), Value::ok());
    let replica = if leads == others[0] { 2 } else { 1 };
    group.node(replica).kill9();
    eventually(PATIENCE, "a dead replica follows nobody", || browser.evaluate(arrows) == 1);
    assert_sound(&mut browser, &proxy, &[]);
}

#[test]
fn a_hold_is_told_with_its_reason_and_age() {
    let mut group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses()).set("failover.mode", "\"manual\"").start();
    let Some(mut browser) = opened(&proxy) else { return };
    group.node(0).kill9();
    browser.wait_text("state", "the hold", |state| state == "writes held");
    let reason = proxy.status()["held"]["reason"].as_str().expect("a reason").to_owned();
    let told = browser.wait_text("held", "its reason", |held| held.contains(&reason));
    assert!(told.starts_with("For "), "{told}");
    assert!(browser.text("topology").contains("writes held for"));
    assert_eq!(browser.evaluate("document.querySelectorAll('#topology .arrow.live').length"), 0);
    assert_sound(&mut browser, &proxy, &[]);
}

#[test]
fn a_proxy_that_is_gone_is_told_and_its_return_is_noticed() {
    let group = Group::plain(0);
    let mut proxy = Proxy::start(&group.addresses());
    let Some(mut browser) = opened(&proxy) else { return };
    let gray = "getComputedStyle(document.getElementById('main')).filter.includes('grayscale')";
    assert_eq!((browser.text("stale").as_str(), browser.evaluate(gray)), ("", false.into()));
    assert_sound(&mut browser, &proxy, &[]);
    proxy.kill9();
    browser.wait_text("stale", "that nobody answers", |told| {
        told.contains("This proxy does not answer. What stands here is ") && told.contains(" s old")
    });
    assert_eq!(browser.evaluate(gray), true);
    assert_eq!(browser.text("primary"), group.addresses()[0].to_string(), "what was known stays");
    proxy.start_again();
    browser.wait_text("stale", "that it is back", str::is_empty);
    assert_eq!(browser.evaluate(gray), false);
}

#[test]
fn who_runs_no_scripts_is_told_where_to_look() {
    let group = Group::plain(0);
    let proxy = Proxy::start(&group.addresses());
    let Some(mut browser) = opened(&proxy) else { return };
    browser.call("Emulation.setScriptExecutionDisabled", &serde_json::json!({"value": true}));
    browser.go(&url(&proxy));
    eventually(PATIENCE, "the notice is rendered", || {
        let told = browser.evaluate("document.body?.innerText ?? ''");
        told.as_str()
            .is_some_and(|told| told.contains("redhold status") && told.contains("scripts are switched off"))
    });
}
