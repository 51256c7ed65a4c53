//! The switchover by button, and who finds one.

use crate::browser::{Browser, PATIENCE};
use crate::support::{Group, Proxy, ProxyOptions, eventually, scratch_folder};
use crate::{assert_sound, opened, url};

/// Chooses this node in the dialog and confirms until it is carried out: a server that gets no processor for a moment is a
/// reason to refuse.
#[track_caller]
fn confirm(browser: &mut Browser, node: &str) {
    let choose = format!(
        "(t => {{ t.value = '{node}'; t.dispatchEvent(new Event('change')) }})(document.getElementById('target'))"
    );
    browser.evaluate(&choose);
    browser
        .wait_text("confirm", "the button names the target", |text| text == format!("Switch over to {node}"));
    eventually(PATIENCE, "the order is carried out", || {
        browser.click("confirm");
        let result = browser.wait_text("result", "how it ended", |result| {
            result.starts_with("Done: ") || result.starts_with("Not done: ")
        });
        println!("{result}");
        result.starts_with("Done: ")
    });
}

#[test]
fn a_switchover_is_ordered_by_button_and_confirmed() {
    let group = Group::plain(2);
    let proxy = Proxy::start(&group.addresses());
    let Some(mut browser) = opened(&proxy) else { return };
    let [first, target] = [0, 2].map(|index: usize| group.addresses()[index].to_string());
    proxy.wait_well();
    browser.click("switch");
    assert_eq!(browser.text("dialog-primary"), first);
    assert_eq!(browser.text("confirm"), "Switch over to the best");
    assert_eq!(browser.evaluate("document.activeElement.id"), "cancel", "what does nothing has the focus");
    browser.press("Escape", 27);
    eventually(PATIENCE, "the dialog is closed", || browser.text("dialog").is_empty());
    assert_sound(&mut browser, &proxy, &[]);
    assert_eq!(group.primaries(), [0]);
    // By keyboard alone.
    browser.evaluate("document.getElementById('switch').focus()");
    browser.press("Enter", 13);
    eventually(PATIENCE, "the dialog is open", || browser.text("dialog-primary") == first);
    confirm(&mut browser, &target);
    assert_eq!(group.primaries(), [2]);
    browser.wait_text("result", "what it took", |result| result.contains("writes were held for"));
    let again = browser.evaluate("document.getElementById('confirm').disabled");
    assert_eq!(again, true, "a second press is not a second order");
    browser.click("cancel");
    browser.wait_text("primary", "the new primary", |primary| primary == target);
    let change = format!("switchover {first} → {target}");
    browser.wait_text("episodes", "the timeline", |told| told.contains(&change));
    let order = format!("POST /api/switchover?to={}", target.replace(':', "%3A"));
    let faults = browser.faults();
    assert!(faults.iter().all(|fault| fault.contains("409")), "{faults:?}");
    if faults.is_empty() {
        assert_sound(&mut browser, &proxy, &[&order]);
    }
}

#[test]
fn a_primary_that_changed_meanwhile_is_not_the_one_that_was_agreed_on() {
    let group = Group::plain(1);
    let proxy = Proxy::start(&group.addresses());
    let Some(mut browser) = opened(&proxy) else { return };
    proxy.wait_well();
    browser.click("switch");
    proxy.switch_over();
    browser.wait_text("result", "the change", |result| result.contains("The primary has changed meanwhile"));
    assert_eq!(browser.evaluate("document.getElementById('confirm').disabled"), true);
    assert_sound(&mut browser, &proxy, &[]);
}

#[test]
fn without_the_token_there_is_no_button_and_nothing_that_clients_asked_for() {
    const TOKEN: &str = "0123456789abcdef";
    let folder = scratch_folder("page");
    let file = folder.join("token");
    std::fs::write(&file, TOKEN).expect("it can be written");
    let group = Group::plain(1);
    let options = ProxyOptions::new(&group.addresses())
        .set("admin.token_file", &format!("{file:?}"))
        .set("log.slowlog", "\"0s\"");
    let proxy = options.start();
    assert_eq!(proxy.client().call("GET secret-key").text(), None);
    let Some(mut browser) = opened(&proxy) else { return };
    browser.wait_text("refused", "why not", |told| told.contains("the token of admin.token_file"));
    let says = |browser: &mut Browser| browser.evaluate("document.body.textContent.includes('secret-key')");
    assert_eq!((browser.text("switch").as_str(), browser.text("details").as_str()), ("", ""));
    assert!(says(&mut browser) == false && !proxy.status().to_string().contains("secret-key"));
    let enter = |browser: &mut Browser, token: &str| {
        browser.click("token");
        browser.write(token);
        browser.press("Enter", 13);
    };
    enter(&mut browser, "fedcba9876543210");
    browser.wait_text("refused", "another token will not do", |told| told.contains("not the token"));
    assert_eq!((browser.text("switch").as_str(), says(&mut browser)), ("", false.into()));
    enter(&mut browser, TOKEN);
    browser.wait_text("slow", "the slow log and its columns", |slow| {
        ["GET secret-key", "took", "held", "in Redis"].iter().all(|text| slow.contains(text))
    });
    assert_eq!(browser.text("switch"), "Switch over …");
    browser.go(&url(&proxy));
    browser.wait_text("slow", "the tab knows the token", |slow| slow.contains("GET secret-key"));
    proxy.wait_well();
    browser.click("switch");
    confirm(&mut browser, &group.addresses()[1].to_string());
    assert_eq!(group.primaries(), [1]);
    browser.click("cancel");
    browser.click("forget");
    browser.wait_text("refused", "it is forgotten", |told| told.contains("who has the token"));
    assert_eq!(
        (browser.text("switch").as_str(), says(&mut browser)),
        ("", false.into()),
        "nor left in the page"
    );
    let faults = browser.faults();
    assert!(faults.iter().all(|fault| fault.contains("409")), "{faults:?}");
    std::fs::remove_dir_all(folder).expect("it is there");
}
