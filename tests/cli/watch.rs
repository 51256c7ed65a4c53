//! `status --watch`: the view on a terminal, and the stream of text or JSON elsewhere.

use std::fs::{File as Device, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use super::support::{LONG, Proxy, ProxyOptions, Server, eventually, scratch_folder};
use super::{File, redhold};

/// What switches to the screen of a program that fills the terminal, and back.
const FILLS: &str = "\x1b[?1049h";
const LEAVES: &str = "\x1b[?1049l";

/// A terminal of 80 columns and 24 lines, and what was written to it.
struct Screen {
    keys: Device,
    device: Device,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Screen {
    fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("it has a name").into_string().expect("plain");
        let device = OpenOptions::new().read(true).write(true).open(name).expect("it can be opened");
        tcsetwinsize(&device, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })
            .expect("a size");
        let keys = Device::from(master);
        let (mut reader, seen) = (keys.try_clone().expect("a handle"), Arc::<Mutex<Vec<u8>>>::default());
        let into = seen.clone();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                into.lock().expect("nobody panics").extend_from_slice(&chunk[..count]);
            }
        });
        Self { keys, device, seen }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("nobody panics")).into_owned()
    }

    /// Without the control modes, in which setting any of them notes the speed of the line.
    fn modes(&self) -> [u32; 3] {
        let Termios { input_modes, output_modes, local_modes, .. } =
            tcgetattr(&self.device).expect("a terminal");
        [input_modes.bits(), output_modes.bits(), local_modes.bits()]
    }

    fn watch(&self, proxy: &Proxy) -> Child {
        let url = format!("http://{}", proxy.admin_address());
        let end = || Stdio::from(self.device.try_clone().expect("a handle"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_redhold"));
        command.args(["status", "--watch", "--admin", &url]).env("TERM", "xterm");
        command.env_remove("REDHOLD_ADMIN_TOKEN_FILE").stdin(end()).stdout(end()).stderr(end());
        command.spawn().expect("the program can be started")
    }
}

fn ended(child: &mut Child) -> Option<i32> {
    let mut code = None;
    eventually(LONG, "it ends", || match child.try_wait().expect("it is ours") {
        Some(status) => {
            code = status.code();
            true
        }
        None => false,
    });
    code
}

#[test]
fn the_view_fills_the_terminal_and_leaves_it_as_it_was() {
    let server = Server::start();
    let proxy = Proxy::start(&[server.address()]);
    for end in ["q", "\x03", "SIGTERM"] {
        let screen = Screen::new();
        let before = screen.modes();
        let mut child = screen.watch(&proxy);
        let primary = server.address().to_string();
        eventually(LONG, "the primary is shown", || screen.text().contains(&primary));
        assert!(screen.text().contains(FILLS) && !screen.text().contains(LEAVES), "{end}");
        let raw = screen.modes();
        assert!(raw[2] & LocalModes::ICANON.bits() == 0, "keys come one by one");
        if end == "SIGTERM" {
            let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
            kill_process(id, Signal::TERM).expect("it lives");
        } else {
            (&screen.keys).write_all(end.as_bytes()).expect("it takes keys");
        }
        let code = ended(&mut child);
        assert_eq!(screen.modes(), before, "{end}");
        eventually(LONG, "the screen before is back", || screen.text().contains(LEAVES));
        if end == "SIGTERM" {
            eventually(LONG, "it says why", || screen.text().contains("ended by SIGTERM"));
            assert_eq!(code, Some(1));
        } else {
            assert_eq!(code, Some(0), "{end:?}: {}", screen.text());
        }
    }
}

#[test]
fn a_token_in_a_pipe_is_read_once_and_one_that_is_none_is_told() {
    let (server, token) = (Server::start(), File::new("0123456789abcdef-whole"));
    let options = ProxyOptions::new(&[server.address()]);
    let proxy = options.set("admin.token_file", format!("\"{}\"", token.path()).as_str()).start();
    let url = format!("http://{}", proxy.admin_address());
    let pipe = scratch_folder("pipe").join("token");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("coreutils are there");
    assert!(made.success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_redhold"));
    command.args(["status", "--watch", "--json", "--admin", &url]).env("REDHOLD_ADMIN_TOKEN_FILE", &pipe);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program can be started");
    std::fs::write(&pipe, "0123456789abcdef-whole\n").expect("it reads");
    let mut told = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    while told.matches("\"details\":").count() < 2 {
        assert!(out.read_line(&mut told).expect("text") > 0, "it goes on: {told}");
    }
    assert!(!told.contains("\"details_refused\":"), "{told}");
    child.kill().and_then(|()| child.wait()).expect("it lives");
    std::fs::remove_dir_all(pipe.parent().expect("a folder")).expect("it is ours");
    let gone =
        redhold(&["status", "--watch", "--json", "--admin", &url, "--token-file", "/nonexistent/token"]);
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(
        gone.out.is_empty() && gone.err.contains("--token-file: cannot read `/nonexistent/token`"),
        "{gone:?}"
    );
}
