//! Chromium without a screen, spoken to in its own protocol (JSON that ends in a NUL) over its standard input and output.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::{dying_with_us, eventually_some, scratch_folder};

/// For whatever an idle browser does within two or three seconds, its start included.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What is read and not yet taken; a page tells less by far.
const READ_AHEAD: usize = 10_000;

/// The program, if it is there. Where everything has to be tested it must be.
pub(crate) fn is_installed() -> bool {
    let found =
        Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(std::env::var_os("REDHOLD_ALL").is_none(), "chromium is not installed");
    eprintln!("not installed, so not tested: chromium (tests/tools/need.sh chromium)");
    false
}

/// One tab of one browser. Killed when dropped.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    heard: Receiver<Json>,
    next: u64,
    session: Option<String>,
    /// What it told unasked.
    told: Vec<Json>,
    folder: PathBuf,
}

/// A request of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) url: String,
}

impl Browser {
    /// Starts it with an empty tab.
    pub(crate) fn start() -> Self {
        let folder = scratch_folder("browser");
        // It takes and gives messages at the descriptors 3 and 4.
        let mut command = dying_with_us("sh".as_ref());
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "chromium"]);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--no-first-run", "--disable-extensions", "--disable-component-update"]);
        command.args(["--disable-background-networking", "--hide-scrollbars", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", folder.display())).arg("about:blank");
        command.env("HOME", &folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("setpriv (util-linux) and sh can be started");
        let input = child.stdin.take().expect("a pipe");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (tell, heard) = sync_channel(READ_AHEAD);
        std::thread::spawn(move || {
            loop {
                let mut message = Vec::new();
                let read = output.read_until(0, &mut message);
                if read.is_err() || message.pop() != Some(0) {
                    return;
                }
                let message = serde_json::from_slice(&message).expect("it speaks JSON");
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self { child, input, heard, next: 0, session: None, told: Vec::new(), folder };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].clone();
        let attach = json!({"targetId": target, "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach)["sessionId"].clone();
        browser.session = session.as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Says one word of the protocol and waits for what it gives.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: &Json) -> Json {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let bytes = format!("{message}\0");
        self.input.write_all(bytes.as_bytes()).expect("the browser lives");
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self.heard.recv_timeout(left).unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["id"] == self.next {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.told.push(message);
        }
    }

    /// Goes to a page.
    #[track_caller]
    pub(crate) fn go(&mut self, url: &str) {
        let went = self.call("Page.navigate", &json!({"url": url}));
        assert!(went["errorText"].is_null(), "{url}: {went}");
    }

    /// What an expression gives in the page.
    #[track_caller]
    pub(crate) fn evaluate(&mut self, expression: &str) -> Json {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let result = self.call("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// The text of the element with this id as it is rendered; empty where it is hidden or not there.
    #[track_caller]
    pub(crate) fn text(&mut self, id: &str) -> String {
        let text = self.evaluate(&format!(
            "(e => e && e.checkVisibility() ? e.innerText ?? e.textContent : '')(document.getElementById('{id}'))"
        ));
        text.as_str().expect("a text").to_owned()
    }

    /// Waits until the rendered text of this element is as wanted, and gives it.
    #[track_caller]
    pub(crate) fn wait_text(&mut self, id: &str, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            last = self.text(id);
            if wanted(&last) {
                return last;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("not within {PATIENCE:?}: {what}; #{id} shows {last:?}");
    }

    /// Presses the mouse in the middle of an element.
    #[track_caller]
    pub(crate) fn click(&mut self, id: &str) {
        let place = eventually_some(PATIENCE, &format!("#{id} can be clicked"), || {
            let place = self.evaluate(&format!(
                "(e => {{ if (!e || !e.checkVisibility() || e.disabled) return null;
                    e.scrollIntoView({{block: 'center', behavior: 'instant'}});
                    const b = e.getBoundingClientRect(), [x, y] = [b.x + b.width / 2, b.y + b.height / 2];
                    return e.contains(document.elementFromPoint(x, y)) ? [x, y] : null; }})(document.getElementById('{id}'))"
            ));
            (!place.is_null()).then_some(place)
        });
        for kind in ["mousePressed", "mouseReleased"] {
            let (x, y) = (&place[0], &place[1]);
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Presses a key where the focus is.
    #[track_caller]
    pub(crate) fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Types a text where the focus is.
    #[track_caller]
    pub(crate) fn write(&mut self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// A window of this size, in points, on a light or a dark system.
    #[track_caller]
    pub(crate) fn look_like(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &features);
    }

    /// What is in the window, as PNG.
    #[track_caller]
    pub(crate) fn picture(&mut self, path: &Path) {
        let picture = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let mut decoder = Command::new("base64");
        decoder
            .arg("--decode")
            .stdin(Stdio::piped())
            .stdout(fs::File::create(path).expect("it can be written"));
        let mut decoder = decoder.spawn().expect("base64 (coreutils) can be started");
        let text = picture["data"].as_str().expect("a text").to_owned();
        decoder.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
        assert!(decoder.wait().expect("it ends").success());
    }

    /// All that pages asked for so far.
    #[track_caller]
    pub(crate) fn asked(&mut self) -> Vec<Asked> {
        self.evaluate("0");
        let sent = self.told.iter().filter(|told| told["method"] == "Network.requestWillBeSent");
        let text = |value: &Json| value.as_str().expect("a text").to_owned();
        let request = |told: &Json| {
            let request = &told["params"]["request"];
            Asked { method: text(&request["method"]), url: text(&request["url"]) }
        };
        sent.map(request).collect()
    }

    /// What went wrong in the page: exceptions, what it or the browser wrote to its console as an error, violations of its policy.
    #[track_caller]
    pub(crate) fn faults(&mut self) -> Vec<String> {
        self.evaluate("0");
        let is_fault = |told: &&Json| {
            let parameters = &told["params"];
            match told["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Runtime.consoleAPICalled") => parameters["type"] == "error",
                Some("Log.entryAdded") => parameters["entry"]["level"] != "verbose",
                _ => false,
            }
        };
        self.told.iter().filter(is_fault).map(Json::to_string).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
