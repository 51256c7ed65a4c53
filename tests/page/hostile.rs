//! What clients and nodes write is shown as what it is, and the page keeps its shape, on a phone and in the dark as well.

use crate::browser::{Browser, PATIENCE};
use crate::support::{Group, ProxyOptions, Value, eventually};
use crate::{assert_sound, opened};

const MARKUP: &str = "<img/src=x/onerror=window.hit=1>";
const SCRIPT: &str = "<script>window.hit=1</script>";

/// What is wider than the window, but for heads of tables that are read out and not drawn.
fn wide(browser: &mut Browser) -> String {
    let found = "[document.documentElement, ...document.querySelectorAll('body :not(thead, thead *)')]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5 || e === document.documentElement && e.scrollWidth > innerWidth)
        .map(e => `${e.tagName}#${e.id}.${e.getAttribute('class')}`).join(' ')";
    browser.evaluate(found).as_str().expect("a text").to_owned()
}

#[test]
fn names_and_keys_of_clients_are_text_and_secrets_are_left_out() {
    let group = Group::plain(1);
    let proxy = ProxyOptions::new(&group.addresses())
        .set("log.slowlog", "\"0s\"")
        .set("log.hotkeys_one_in", "1")
        .set("log.bigkeys_min", "\"40B\"")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["CLIENT", "SETNAME", MARKUP]), Value::ok());
    let long = format!("{SCRIPT}{}", "k".repeat(150));
    for key in [MARKUP, SCRIPT, &long] {
        assert_eq!(client.cmd(&["SET", key, "\u{202e}\x1b[2J<b>v</b>"]), Value::ok());
        (0..5).for_each(|_| drop(client.cmd(&["GET", key])));
    }
    assert_eq!(client.call("ACL SETUSER app on >correct-horse ~* +@all"), Value::ok());
    let Some(mut browser) = opened(&proxy) else { return };
    browser.wait_text("slow", "the slow requests", |slow| {
        slow.contains(MARKUP) && slow.contains("\\u{202e}\\u{1b}[2J<b>v</b>")
    });
    browser.wait_text("hot", "the hot keys", |hot| hot.contains(MARKUP) && hot.contains(SCRIPT));
    browser.wait_text("big", "the big keys", |big| big.contains(MARKUP) && big.contains(SCRIPT));
    browser.wait_text("clients", "the client's name", |clients| clients.contains(MARKUP));
    let slow = browser.wait_text("slow", "a request with a secret", |slow| slow.contains("SETUSER"));
    assert!(slow.contains("(redacted)") && !proxy.status().to_string().contains("correct-horse"), "{slow}");
    assert_eq!(browser.evaluate("String(window.hit)"), "undefined");
    assert_eq!(browser.evaluate("document.querySelectorAll('img, b b, script').length"), 1, "its own script");
    let kinds =
        "[...document.querySelectorAll('td *')].map(e => e.tagName).filter(name => name !== 'CODE').join()";
    assert_eq!(browser.evaluate(kinds), "", "nothing in a cell is more than text");
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        for width in [360, 700, 1200] {
            browser.look_like(width, 740, scheme);
            eventually(PATIENCE, "what is drawn fits", || {
                browser.evaluate("document.getElementById('topology').viewBox.baseVal.width <= innerWidth")
                    == true
            });
            assert_eq!(wide(&mut browser), "", "{scheme} {width}");
        }
        grounds.push(browser.evaluate("getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(grounds[0], grounds[1]);
    assert_sound(&mut browser, &proxy, &[]);
}
