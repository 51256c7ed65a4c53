//! The real program in front of real or scripted nodes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::Signal;

use super::certificates::Authority;
use super::client::Client;
use super::client_list::row_field;
use super::process::{Home, free_port, is_listened_at, rss_bytes, signal};
use super::server::{Server, info_field, scratch_folder};
use super::tunnel::{Tunnel, trusting};
use super::value::Value;
use super::versions::chosen;
use super::wait::{LONG, eventually, eventually_some};

/// How the proxy is to be started.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    sections: BTreeMap<String, BTreeMap<String, String>>,
    /// What stands behind them.
    tables: String,
    full_disk: bool,
    /// It is waited for until it has looked at everybody as often as it does after a start.
    rested: bool,
    /// Which program it is, if not the one that is tested everywhere else.
    program: Option<PathBuf>,
    home: Home,
    variables: Vec<(String, String)>,
    /// Where it listens, open before it starts and after its end.
    socket: Option<Arc<TcpListener>>,
}

impl ProxyOptions {
    /// In front of these nodes, two workers, and patient: a server that gets no processor for a second is silent for a second. A node
    /// that is gone shows at once all the same. Every other key is at its default.
    pub fn new(nodes: &[SocketAddr]) -> Self {
        let list: Vec<String> = nodes.iter().map(|node| format!("\"{node}\"")).collect();
        let (sections, home) = (BTreeMap::new(), Home::default());
        Self {
            sections,
            tables: String::new(),
            full_disk: false,
            rested: false,
            program: None,
            home,
            variables: Vec::new(),
            socket: None,
        }
        .set("backend.nodes", &format!("[{}]", list.join(", ")))
        .set("proxy.workers", "2")
        .set("health.timeout", "\"10s\"")
        .set("log.format", "\"text\"")
    }

    /// A key of the configuration as `section.key`, and its value as TOML writes it.
    #[must_use]
    pub fn set(mut self, path: &str, value: &str) -> Self {
        let (section, key) = path.rsplit_once('.').expect("a key path has a section");
        self.sections.entry(section.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        self
    }

    /// One of `[[users]]`, by its keys as TOML writes them.
    #[must_use]
    pub fn user(mut self, keys: &str) -> Self {
        self.tables += &format!("[[users]]\n{keys}\n");
        self
    }

    /// As hasty about silent nodes as by default, for who freezes one.
    #[must_use]
    pub fn noticing_silence(self) -> Self {
        self.set("health.timeout", "\"1s\"")
    }

    /// What happens to a node behind its back is told by the data path or not at all: the looks that come with a start are over
    /// once it is started, and the next one is a minute away.
    #[must_use]
    pub fn looking_once_a_minute(mut self) -> Self {
        self.rested = true;
        self.set("health.interval", "\"60s\"")
            .set("health.timeout", "\"120s\"")
            .set("health.busy_timeout", "\"120s\"")
    }

    /// No file can be written, the log included, as on a full disk; until [`Proxy::free_disk`].
    #[must_use]
    pub fn on_full_disk(mut self) -> Self {
        self.full_disk = true;
        self
    }

    /// As another program, which takes the same words.
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// Elsewhere than on loopback.
    #[must_use]
    pub fn at(mut self, home: Home) -> Self {
        self.home = home;
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// It is given this socket for its clients, as systemd does.
    #[must_use]
    pub fn socket(mut self, socket: TcpListener) -> Self {
        self.socket = Some(Arc::new(socket));
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Proxy {
        let rested = self.rested;
        let proxy = self.start_unready();
        proxy.wait_ready();
        if rested {
            proxy.wait_rested();
        }
        proxy
    }

    /// Starts it and waits until it listens, ready or not.
    #[track_caller]
    pub fn start_unready(self) -> Proxy {
        eventually_some(LONG, "the proxy listens", || {
            let mut proxy = Proxy::spawn(&self, scratch_folder("proxy"));
            // It ends when somebody else took a port between the choice and the start.
            proxy.listens().then_some(proxy)
        })
    }
}

/// A running proxy. Killed when dropped; its log is shown when the test panics.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    home: Home,
    program: PathBuf,
    variables: Vec<(String, String)>,
    socket: Option<Arc<TcpListener>>,
    folder: PathBuf,
    listen: SocketAddr,
    /// Where it speaks no TLS, if it does where it listens.
    plain: Option<SocketAddr>,
    /// Where clients come in that are served over TLS and do not know it.
    tunnel: Option<Tunnel>,
    admin: SocketAddr,
    ended: Option<ExitStatus>,
}

impl Proxy {
    /// Default options in front of these nodes, started and ready.
    #[track_caller]
    pub fn start(nodes: &[SocketAddr]) -> Self {
        ProxyOptions::new(nodes).start()
    }

    fn spawn(options: &ProxyOptions, folder: PathBuf) -> Self {
        let [listen, plain, admin] =
            [free_port(), free_port(), free_port()].map(|port| SocketAddr::from((options.home.ip, port)));
        let given = options.socket.as_ref().map(|socket| socket.local_addr().expect("it is bound"));
        let listen = given.unwrap_or(listen);
        let plain = options.sections.contains_key("proxy.tls").then_some(plain);
        let (options, tunnel) = if through_tls() && plain.is_none() && options.home.ip.is_loopback() {
            in_tls(options, listen, &folder)
        } else {
            (options.clone(), None)
        };
        let beside = plain.map(|plain| format!(", \"plain:{plain}\"")).unwrap_or_default();
        let options = options
            .set("proxy.listen", &format!("[\"{listen}\"{beside}]"))
            .set("admin.listen", &format!("\"{admin}\""))
            .set("failover.state_dir", &format!("\"{}\"", folder.join("state").display()));
        let log = options.sections.get("log");
        let slow_log = log.is_some_and(|keys| keys.keys().any(|key| key.starts_with("slowlog")));
        // What is slow on a busy machine has its node asked about it, on a connection that no test expects.
        let options = if slow_log { options } else { options.set("log.slowlog_len", "0") };
        let mut text = String::new();
        for (section, keys) in &options.sections {
            text.push_str(&format!("[{section}]\n"));
            keys.iter().for_each(|(key, value)| text.push_str(&format!("{key} = {value}\n")));
        }
        text.push_str(&options.tables);
        let file = folder.join("redhold.toml");
        fs::create_dir_all(folder.join("state")).expect("the temporary folder is writable");
        fs::write(&file, text).expect("the temporary folder is writable");
        let log =
            File::options().create(true).append(true).open(folder.join("log")).expect("the log can be made");
        let (home, program, variables) = (options.home, program(options.program), options.variables);
        let socket = options.socket;
        let child = run(&home, &program, &variables, socket.as_deref(), &file, log, options.full_disk);
        Self { child, home, program, variables, socket, folder, listen, plain, tunnel, admin, ended: None }
    }

    /// Starts it once more after its end, on the same ports and with what it wrote down.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.has_exited(), "it still runs");
        // Somebody else may try one of its ports for a moment.
        eventually(LONG, "it has its ports again", || {
            let log = File::options().append(true).open(self.folder.join("log")).expect("the log is there");
            let (socket, file) = (self.socket.as_deref(), self.config_file());
            self.child = run(&self.home, &self.program, &self.variables, socket, &file, log, false);
            self.ended = None;
            self.listens()
        });
    }

    /// The disk is full no longer.
    #[track_caller]
    pub fn free_disk(&self) {
        let pid = self.pid().to_string();
        let done = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status();
        assert!(done.is_ok_and(|status| status.success()), "prlimit (util-linux) raises the soft limit");
    }

    #[track_caller]
    fn listens(&mut self) -> bool {
        eventually_some(LONG, "the proxy listens or ends", || {
            if self.has_exited() {
                let log = self.log();
                assert!(log.contains("in use"), "the proxy ended at its start:\n{log}");
                return Some(false);
            }
            let at = [self.listen, self.plain.unwrap_or(self.listen), self.admin];
            at.iter().all(|at| is_listened_at(self.pid(), at.port())).then_some(true)
        })
    }

    /// Waits until `/readyz` says 200 and a PING through it is answered with PONG.
    #[track_caller]
    pub fn wait_ready(&self) {
        eventually(LONG, "the proxy is ready", || {
            let ready = self.http("GET", "/readyz").is_some_and(|(status, _)| status == 200);
            ready
                && Client::try_connect(self.plain()).is_ok_and(|mut client| {
                    client.try_cmd(&["PING"]).is_ok_and(|reply| reply == Value::Simple("PONG".to_owned()))
                })
        });
    }

    /// Until no node has said anything for half a second, since it was not asked.
    #[track_caller]
    fn wait_rested(&self) {
        eventually(LONG, "the looks that come with a start are over", || {
            let status = self.status();
            let nodes = status["nodes"].as_array().expect("a list of nodes");
            nodes.iter().all(|node| node["silent_for_ms"].as_u64().is_some_and(|ms| ms >= 500))
        });
    }

    /// Where clients connect; with a certificate, those who speak TLS.
    pub fn address(&self) -> SocketAddr {
        self.tunnel.as_ref().map_or(self.listen, Tunnel::address)
    }

    /// Where clients connect who speak no TLS.
    pub fn plain(&self) -> SocketAddr {
        self.plain.unwrap_or_else(|| self.address())
    }

    /// Where the admin page listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new client connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.plain())
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        rss_bytes(self.pid())
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the process lives").count()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Where the record of decisions is kept.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Where its configuration was written.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("redhold.toml")
    }

    /// `/api/status` as JSON.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let (status, body) = self.http("GET", "/api/status").expect("the admin page answers");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("/api/status is JSON")
    }

    /// How often the primary changed, by its own timeline.
    #[track_caller]
    pub fn primary_changes(&self) -> usize {
        let status = self.status();
        let episodes = status["episodes"].as_array().expect("a list of episodes");
        let known = episodes.iter().filter(|episode| !episode["primary_before"].is_null());
        known.filter(|episode| episode["primary_before"] != episode["primary_after"]).count()
    }

    /// Orders `node` to lead, whatever is lost. What an order of it was refused with before.
    #[track_caller]
    pub fn force_failover(&self, node: SocketAddr) -> Vec<String> {
        self.order(&format!("/api/failover?force=true&to={node}"))
    }

    /// Waits until every node could lead, and orders another one to. What an order of it was refused with before.
    #[track_caller]
    pub fn switch_over(&self) -> Vec<String> {
        self.wait_well();
        self.order("/api/switchover")
    }

    /// Orders `node` to lead as soon as that costs nothing. What an order of it was refused with before.
    #[track_caller]
    pub fn switch_over_to(&self, node: SocketAddr) -> Vec<String> {
        self.order(&format!("/api/switchover?to={node}"))
    }

    /// Waits until every node could lead and nothing is under way. One that was just made to follow may not be connected yet.
    #[track_caller]
    pub fn wait_well(&self) {
        eventually(2 * LONG, "every node is well", || {
            let status = self.status();
            let well = |node: &serde_json::Value| node["up"] == true && node["ineligible"].is_null();
            status["writable"] == true
                && status["phase"] == "steady"
                && status["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(well))
        });
    }

    /// Gives an order for another primary until it is carried out: each of its steps has a time of its own, which a server that gets no
    /// processor exceeds, and then nothing has changed. What it was refused with before.
    #[track_caller]
    pub fn order(&self, path: &str) -> Vec<String> {
        let (primary, mut refusals) = (self.status()["primary"].clone(), Vec::new());
        eventually(2 * LONG, &format!("{path} is carried out"), || {
            let leads = self.status()["primary"].clone();
            if !leads.is_null() && leads != primary {
                return true;
            }
            let (code, body) = self.http("POST", path).expect("the admin page answers");
            if code == 200 {
                return true;
            }
            assert_eq!(code, 409, "{path}: {body}");
            println!("{path}: {body}");
            refusals.push(body);
            false
        });
        refusals
    }

    /// Waits for the first change of primary, whatever follows it.
    #[track_caller]
    pub fn wait_replaced(&self) {
        eventually(LONG, "another node leads", || self.status()["epoch"].as_u64() >= Some(2));
    }

    /// The value of a metric, labels included as Prometheus writes them; `None` when it is not listed.
    #[track_caller]
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, body) = self.http("GET", "/metrics").expect("the admin page answers");
        body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.trim().parse().ok())
    }

    /// How many errors of this kind clients met, as the metrics tell.
    pub fn errors(&self, kind: &str) -> f64 {
        self.metric(&format!("redhold_errors_total{{kind=\"{kind}\"}}")).unwrap_or_default()
    }

    /// One HTTP request to the admin page: status and body, `None` when it does not answer.
    pub fn http(&self, method: &str, path: &str) -> Option<(u16, String)> {
        self.http_with_body(method, path, "")
    }

    /// Sends SIGHUP.
    pub fn sighup(&self) {
        signal(&self.child, Signal::HUP);
    }

    /// As `http`, with a body and the header that orders need.
    pub fn http_with_body(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.admin).ok()?;
        stream.set_read_timeout(Some(LONG)).ok()?;
        let length = body.len();
        let host = self.admin;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-Redhold: 1\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        Some((status, if chunked { unchunk(body) } else { body.to_owned() }))
    }

    /// Asks it to drain and end.
    pub fn sigterm(&self) {
        signal(&self.child, Signal::TERM);
    }

    /// Waits for its end and returns how it ended.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        eventually(LONG, "the proxy ends", || self.has_exited());
        self.ended.expect("it has ended")
    }

    /// Whether it ended.
    pub fn has_exited(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the child is ours to wait for");
        }
        self.ended.is_some()
    }

    /// Kills it in the way of a crash.
    pub fn kill9(&mut self) {
        if !self.has_exited() {
            signal(&self.child, Signal::KILL);
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- proxy (process {}), end of its log", self.pid());
            lines[lines.len().saturating_sub(60)..].iter().for_each(|line| eprintln!("{line}"));
        }
        self.kill9();
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Every test is to be run as it is, with TLS between its clients and the proxy.
fn through_tls() -> bool {
    std::env::var_os("REDHOLD_TLS").is_some()
}

fn in_tls(options: &ProxyOptions, listen: SocketAddr, folder: &Path) -> (ProxyOptions, Option<Tunnel>) {
    let (cert, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    let authority = Authority::new("tests");
    authority.issue(&[&listen.ip().to_string()]).write(&cert, &key);
    let options = options.clone().set("proxy.tls.cert", &format!("{cert:?}"));
    let tunnel = Tunnel::open(listen, trusting(&authority, None, rustls::ALL_VERSIONS));
    (options.set("proxy.tls.key", &format!("{key:?}")), Some(tunnel))
}

fn program(other: Option<PathBuf>) -> PathBuf {
    // `make faults` measures the release build.
    let named = || std::env::var_os("REDHOLD_PROGRAM").map(PathBuf::from);
    other.or_else(named).unwrap_or_else(|| env!("CARGO_BIN_EXE_redhold").into())
}

fn run(
    home: &Home,
    program: &Path,
    variables: &[(String, String)],
    socket: Option<&TcpListener>,
    config: &Path,
    log: File,
    full_disk: bool,
) -> Child {
    let stdin =
        socket.map(|socket| Stdio::from(OwnedFd::from(socket.try_clone().expect("descriptors are left"))));
    let mut command = if socket.is_some() {
        let mut shell = home.command("sh".as_ref());
        let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
        shell.args(["-c", script]).arg(program);
        shell
    } else if full_disk {
        // A limit of nothing for every file; the signal that comes with it would end the process.
        let mut shell = home.command("sh".as_ref());
        shell.args(["-c", "trap '' XFSZ; ulimit -S -f 0; exec \"$0\" \"$@\""]).arg(program);
        shell
    } else {
        home.command(program.as_ref())
    };
    command.args(["run", "--config"]).arg(config).stdin(stdin.unwrap_or_else(Stdio::null));
    // It would say that it knows no such keys.
    command.env_remove("REDHOLD_SERVER").env_remove("REDHOLD_TLS");
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdout(log.try_clone().expect("descriptors are left")).stderr(log);
    command.spawn().expect("setpriv (util-linux) and the proxy can be started")
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = rest.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        whole.push_str(chunk);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// Takes the spare connection that the proxy's one worker keeps open for clients in database 0, and lets it open no other one. The
/// client that has it must live as long as that is to hold. The node has room for one client meanwhile, and a proxy that looks at
/// it then takes its own bound from that, unless `backend.pinned_max` is set.
pub fn spend_spare(proxy: &Proxy, node: &Server) -> Client {
    let (mut direct, mut holder) = (node.client(), proxy.client());
    holder.call("EXISTS none");
    // The last that a connection is asked before it waits for somebody.
    let is_spare = |row: &str| {
        let is = |name: &str, value: &str| row_field(row, name).is_some_and(|told| told.contains(value));
        is("cmd", "info") && (is("flags", "e") || chosen().release < 70)
    };
    eventually(LONG, "a spare connection is open", || {
        direct.call("CLIENT LIST").text().expect("text").lines().any(is_spare)
    });
    let mut number = |field: &str| info_field(&mut direct, field).and_then(|text| text.parse::<u64>().ok());
    let (blocked, rejected) = (number("blocked_clients"), number("rejected_connections"));
    let mut limit = node.client();
    assert_eq!(limit.call("CONFIG SET maxclients 1"), Value::ok());
    holder.send(&["BLPOP", "none", "0"]);
    eventually(LONG, "it is taken, and no other was to be had", || {
        number("blocked_clients") > blocked && number("rejected_connections") > rejected
    });
    assert_eq!(limit.call("CONFIG SET maxclients 10000"), Value::ok());
    holder
}
