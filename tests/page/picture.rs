//! The picture of the page in the README: `make picture`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::opened;
use crate::support::{Client, Group, Proxy, ProxyOptions};

/// How long the plots go back.
const WHILE: Duration = Duration::from_secs(150);

/// Some hundred requests a second, half of them for one key in ten.
fn ask(proxy: &Proxy, until: &AtomicBool, name: &str) {
    let mut client = Client::connect(proxy.plain());
    client.cmd(&["CLIENT", "SETNAME", name]);
    for n in 0_u64.. {
        if until.load(Ordering::Relaxed) {
            return;
        }
        let key = if n % 2 == 0 { n % 5 } else { n * 7_919 % 50 };
        client.cmd(&["SET", &format!("cart:{key}"), "three apples"]);
        client.cmd(&["GET", &format!("session:{key}")]);
        if n % 4_000 == 999 {
            client.cmd(&["EVAL", "local n = 0 for i = 1, 4e6 do n = n + i end return n", "1", "report"]);
        }
        // Not always as much.
        std::thread::sleep(Duration::from_millis(2 + n / 900 % 3));
    }
}

#[test]
#[ignore = "writes docs/status-page.png; make picture"]
fn the_page_after_a_failover() {
    let mut group = Group::plain(2);
    let options = ProxyOptions::new(&group.addresses())
        .set("log.hotkeys_one_in", "10")
        .set("log.slowlog", "\"10ms\"")
        .noticing_silence();
    let proxy = options.start();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for name in ["shop-1", "shop-2", "billing"] {
            let (proxy, over) = (&proxy, &over);
            scope.spawn(move || ask(proxy, over, name));
        }
        let began = Instant::now();
        while began.elapsed() < WHILE / 2 {
            std::thread::sleep(Duration::from_secs(1));
        }
        group.node(0).kill9();
        proxy.wait_replaced();
        group.node(0).restart();
        while began.elapsed() < WHILE {
            std::thread::sleep(Duration::from_secs(1));
        }
        let mut browser = opened(&proxy).expect("chromium is installed");
        browser.look_like(1200, 900, "light");
        browser.wait_text("episodes", "the timeline", |told| told.contains("failover"));
        // What stands below is more of the same kind.
        let below = "Math.round(document.getElementById('episodes').closest('section').getBoundingClientRect().bottom) + 18";
        let height = browser.evaluate(below).as_u64().and_then(|height| u32::try_from(height).ok());
        browser.look_like(1200, height.expect("a height"), "light");
        browser.wait_text("state", "all is well", |state| state == "writable");
        browser.picture(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status-page.png"));
        over.store(true, Ordering::Relaxed);
    });
}
