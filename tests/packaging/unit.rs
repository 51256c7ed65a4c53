//! The systemd unit, as systemd's own tools judge it without running it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the unit expects the program.
const PROGRAM: &str = "/usr/bin/redhold";

/// `systemd-analyze security` gives from 0 to 10, times ten here; what is open is the network, on which the proxy lives.
const EXPOSURE_MAX: &str = "15";

/// The unit with the program under test, since none is installed, in a folder of its own.
struct Unit(PathBuf);

impl Unit {
    fn with(change: impl Fn(&str) -> String) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("redhold-unit-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let text = std::fs::read_to_string(shipped()).expect("a unit");
        assert!(text.contains(PROGRAM), "the unit starts {PROGRAM}");
        let file = folder.join("redhold.service");
        std::fs::write(&file, change(&text.replace(PROGRAM, env!("CARGO_BIN_EXE_redhold"))))
            .expect("the temporary folder is writable");
        Self(file)
    }

    /// The socket unit beside it.
    fn socket(change: impl Fn(&str) -> String) -> Self {
        let mut unit = Self::with(str::to_owned);
        let text =
            std::fs::read_to_string(shipped().with_file_name("optional/redhold.socket")).expect("a unit");
        unit.0 = unit.0.with_extension("socket");
        std::fs::write(&unit.0, change(&text)).expect("the temporary folder is writable");
        unit
    }

    fn analyze(&self, words: &[&str]) -> Output {
        let call = Command::new("systemd-analyze").args(words).arg(&self.0).output();
        call.expect("systemd-analyze (Debian: systemd) can be started")
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().expect("it lies in a folder"));
    }
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd/redhold.service")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn systemd_understands_every_line() {
    let verdict = Unit::with(str::to_owned).analyze(&["verify", "--man=no"]);
    assert!(verdict.status.success() && said(&verdict).is_empty(), "{}", said(&verdict));
    let broken = Unit::with(|unit| unit.replace("WatchdogSec=30", "WatchdogSec=soon"));
    assert!(said(&broken.analyze(&["verify", "--man=no"])).contains("soon"), "a fault is found");
    let socket = Unit::socket(str::to_owned).analyze(&["verify", "--man=no"]);
    assert!(socket.status.success() && said(&socket).is_empty(), "{}", said(&socket));
    let broken = Unit::socket(|unit| unit.replace("127.0.0.1:6380", "nowhere:x"));
    assert!(said(&broken.analyze(&["verify", "--man=no"])).contains("nowhere"), "a fault is found");
}

/// At every address at which systemd listens Redhold would, with the configuration that comes along.
#[test]
fn the_socket_is_where_the_package_listens() {
    let units = shipped().with_file_name("optional/redhold.socket");
    let unit = std::fs::read_to_string(units).expect("a unit");
    let listens: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/debian/redhold.toml");
    let config: toml::Table = std::fs::read_to_string(file).expect("it is there").parse().expect("TOML");
    let addresses = config["proxy"]["listen"].as_array().expect("a list");
    assert!(addresses.iter().map(|address| address.as_str().expect("an address")).eq(listens));
}

#[test]
fn the_process_is_shut_in() {
    let words = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX];
    let verdict = Unit::with(str::to_owned).analyze(&words);
    assert!(verdict.status.success(), "{}", said(&verdict));
    let open = Unit::with(|unit| unit.replace("\nCapabilityBoundingSet=\n", "\n"));
    assert!(!open.analyze(&words).status.success(), "an open one is found");
}

/// What the unit promises of times: it waits for the whole drain of a proxy at its defaults.
#[test]
fn it_waits_for_the_drain() {
    let unit = std::fs::read_to_string(shipped()).expect("a unit");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let seconds = value("TimeoutStopSec").and_then(|text| text.parse::<u64>().ok());
    let full = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/full.toml"));
    let full: toml::Table = full.expect("every default").parse().expect("TOML");
    let default = |key: &str| {
        let text = full["proxy"][key].as_str().expect("a duration").to_owned();
        text.strip_suffix('s').and_then(|text| text.parse::<u64>().ok()).expect("whole seconds")
    };
    let ending = default("drain_delay") + default("drain_timeout") + 10;
    assert!(seconds.is_some_and(|seconds| seconds > ending), "{seconds:?} is not more than {ending} s");
}
