//! The status page as people see it: in a real browser, Debian's chromium, in front of real groups. Without the browser, and unless
//! `REDHOLD_ALL` is set, a test says so and is over.
#![allow(unreachable_pub, reason = "the modules of a test binary are not seen from outside")]

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod hostile;
mod orders;
mod picture;
mod shown;

use browser::{Browser, is_installed};
use support::Proxy;

/// The page of this proxy, once it has drawn something; `None` without a browser.
#[track_caller]
fn opened(proxy: &Proxy) -> Option<Browser> {
    if !is_installed() {
        return None;
    }
    let mut browser = Browser::start();
    browser.go(&url(proxy));
    browser.wait_text("epoch", "the page shows the epoch", |epoch| !epoch.is_empty());
    Some(browser)
}

fn url(proxy: &Proxy) -> String {
    format!("http://{}/", proxy.admin_address())
}

/// The page asked for itself, for the status, and gave these orders; nothing went wrong meanwhile.
#[track_caller]
fn assert_sound(browser: &mut Browser, proxy: &Proxy, orders: &[&str]) {
    let page = url(proxy);
    let mut given: Vec<String> = Vec::new();
    for asked in browser.asked() {
        let path = asked.url.strip_prefix(&page).unwrap_or_else(|| panic!("asked elsewhere: {asked:?}"));
        match asked.method.as_str() {
            "GET" => assert!(["", "api/status"].contains(&path), "{asked:?}"),
            _ => given.push(format!("{} /{path}", asked.method)),
        }
    }
    given.dedup();
    assert_eq!(given, orders);
    assert_eq!(browser.faults(), Vec::<String>::new());
}
