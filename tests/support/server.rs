//! A real redis-server (or valkey-server) of one's own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use super::certificates::CertificateFolder;
use super::client::Client;
use super::process::{Home, free_port, is_listened_at, signal};
use super::value::Value;
use super::versions::{Version, chosen, named};
use super::wait::{LONG, eventually, eventually_some};

/// How a server is to be started.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    version: Option<Version>,
    settings: Vec<(String, String)>,
    home: Home,
    environment: Vec<(String, String)>,
    /// TLS is spoken on a port of its own, to others and to replicas.
    tls: bool,
}

impl ServerOptions {
    /// This version, whichever is chosen for the test program.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// One line of redis.conf, as Redis 7.0 has it; an older server has it by its own name, or not.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// It speaks TLS with everybody but the kit, under a certificate of this folder and asking for one.
    #[must_use]
    pub fn tls(mut self, folder: &CertificateFolder) -> Self {
        self.tls = true;
        self.tls_files(folder, "tls").set("tls-replication", "yes").set("tls-auth-clients", "yes")
    }

    /// As NAME.crt and NAME.key of the folder say it.
    #[must_use]
    pub fn tls_files(self, folder: &CertificateFolder, name: &str) -> Self {
        let file = |name: &str| folder.at(name).display().to_string();
        self.set("tls-cert-file", &file(&format!("{name}.crt")))
            .set("tls-key-file", &file(&format!("{name}.key")))
            .set("tls-ca-cert-file", &file("ca.crt"))
    }

    /// Elsewhere than on loopback.
    #[must_use]
    pub fn at(mut self, home: Home) -> Self {
        self.home = home;
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Server {
        let version = self.version.or_else(named);
        let binary = server_binary(version).unwrap_or_else(|| {
            let name = version.map_or("redis-server", |version| version.name);
            panic!("no server {name} is installed; tests/tools/servers.sh brings it")
        });
        Server::start_with(binary, self)
    }
}

/// The server binary of a version, where `tests/tools/servers.sh` puts it; without a version the one on PATH. `None`
/// when it is not installed.
pub fn server_binary(version: Option<Version>) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = match version {
        Some(version) => {
            let place = std::env::var_os("REDHOLD_SERVERS_DIR").map(PathBuf::from);
            let place = place.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/servers"));
            vec![place.join(version.name)]
        }
        None => std::env::split_paths(&std::env::var_os("PATH")?).collect(),
    };
    let candidates =
        folders.iter().flat_map(|folder| ["redis-server", "valkey-server"].map(|name| folder.join(name)));
    candidates.into_iter().find(|path| path.is_file())
}

/// Whether the chosen server was built with TLS; some distributors leave it out.
pub fn speaks_tls() -> bool {
    static SPEAKS: OnceLock<bool> = OnceLock::new();
    *SPEAKS.get_or_init(|| {
        let binary = server_binary(named()).expect("a server is installed");
        let folder = CertificateFolder::new();
        let options = ServerOptions::default().tls(&folder);
        let (scratch, port) = (scratch_folder("server"), free_port());
        let mut child = spawn(&binary, &scratch, (0, Some(port)), &options);
        let speaks = eventually_some(LONG, "it listens or ends", || {
            let ended = child.try_wait().expect("the child is ours to wait for").is_some();
            (ended || is_listened_at(child.id(), port)).then_some(!ended)
        });
        child.kill().ok();
        child.wait().ok();
        fs::remove_dir_all(&scratch).ok();
        speaks
    })
}

/// A server, running, stopped or killed. Killed and removed when dropped.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    options: ServerOptions,
    folder: PathBuf,
    port: u16,
    tls_port: Option<u16>,
    child: Child,
    alive: bool,
}

impl Server {
    /// One of the version on PATH, without persistence.
    #[track_caller]
    pub fn start() -> Self {
        ServerOptions::default().start()
    }

    /// Options to start one with.
    #[must_use]
    pub fn options() -> ServerOptions {
        ServerOptions::default()
    }

    #[track_caller]
    fn start_with(binary: PathBuf, options: ServerOptions) -> Self {
        eventually_some(LONG, "a free port for a server", || {
            let folder = scratch_folder("server");
            let (port, tls_port) = (free_port(), options.tls.then(free_port));
            let child = spawn(&binary, &folder, (port, tls_port), &options);
            let (binary, options) = (binary.clone(), options.clone());
            let mut server = Self { binary, options, folder, port, tls_port, child, alive: true };
            // Not so when somebody else took the port between the choice and the start.
            server.answers_as_our_child().then_some(server)
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.options.home.ip, self.port))
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where others than the kit connect: over TLS, if it speaks that.
    pub fn public(&self) -> SocketAddr {
        SocketAddr::from((self.options.home.ip, self.tls_port.unwrap_or(self.port)))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn call(&self, request: &str) -> Value {
        self.client().call(request)
    }

    /// A field of INFO.
    #[track_caller]
    pub fn info(&self, field: &str) -> Option<String> {
        info_field(&mut self.client(), field)
    }

    /// Kills it in the way of a crash and waits until the process is gone.
    pub fn kill9(&mut self) {
        if self.alive {
            signal(&self.child, Signal::KILL);
            self.reap();
        }
    }

    /// Asks it to end and waits until it has.
    pub fn sigterm(&mut self) {
        self.ask_to_end();
        self.reap();
    }

    /// Asks it to end.
    pub fn ask_to_end(&self) {
        signal(&self.child, Signal::TERM);
    }

    /// Freezes it: connections stay, nothing answers.
    pub fn sigstop(&self) {
        signal(&self.child, Signal::STOP);
    }

    /// Lets it go on.
    pub fn sigcont(&self) {
        signal(&self.child, Signal::CONT);
    }

    /// Waits until the process is gone, however it ended.
    pub fn reap(&mut self) {
        self.child.wait().expect("the child is ours to wait for");
        self.alive = false;
    }

    /// Whether the process ended by itself.
    pub fn has_exited(&mut self) -> bool {
        if self.alive && self.child.try_wait().expect("the child is ours to wait for").is_some() {
            self.alive = false;
        }
        !self.alive
    }

    /// Starts it again, on the same port, with the same configuration and whatever its folder holds.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill9();
        eventually(LONG, "the server answers again", || {
            self.child = spawn(&self.binary, &self.folder, (self.port, self.tls_port), &self.options);
            self.alive = true;
            self.answers_as_our_child()
        });
    }

    /// As `restart`, with another configuration.
    #[track_caller]
    pub fn restart_with(&mut self, options: ServerOptions) {
        self.options = options;
        self.restart();
    }

    /// Removes its data from the disk, once it is killed.
    pub fn lose_data(&self) {
        fs::remove_file(self.folder.join("dump.rdb")).ok();
        fs::remove_dir_all(self.folder.join("appendonlydir")).ok();
        fs::remove_file(self.folder.join("appendonly.aof")).ok();
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Waits for an answer and compares the process id; `false` when the process ended or another one answers.
    #[track_caller]
    fn answers_as_our_child(&mut self) -> bool {
        eventually_some(LONG, "the server answers or ends", || {
            if self.has_exited() {
                return Some(false);
            }
            let mut client = Client::try_connect(self.address()).ok()?;
            if client.try_cmd(&["PING"]).ok()?.error().is_some_and(|text| text.starts_with("LOADING")) {
                return None;
            }
            // A server that wants a password, and answers on a port where our child still runs, is our child.
            let process = try_info_field(&mut client, "process_id").ok()?;
            Some(process.is_none_or(|process| process == self.pid().to_string()))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            eprintln!("--- server {} (process {})", self.port, self.pid());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        self.kill9();
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// A field of `INFO everything`, asked on `client`.
#[track_caller]
pub fn info_field(client: &mut Client, field: &str) -> Option<String> {
    try_info_field(client, field).unwrap_or_else(|fault| panic!("INFO of {}: {fault}", client.address()))
}

fn try_info_field(client: &mut Client, field: &str) -> std::io::Result<Option<String>> {
    let text = client.try_cmd(&["INFO", "everything"])?.text().unwrap_or_default();
    Ok(text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned)))
}

/// A new folder of this process, under the system's place for temporary files.
pub fn scratch_folder(kind: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("redhold-test-{}-{kind}-{number}", std::process::id()));
    fs::create_dir_all(&folder).expect("the temporary folder is writable");
    folder
}

fn spawn(
    binary: &Path,
    folder: &Path,
    (port, tls_port): (u16, Option<u16>),
    options: &ServerOptions,
) -> Child {
    let ip = options.home.ip.to_string();
    let defaults = [
        ("bind", ip.as_str()),
        ("protected-mode", "no"),
        ("save", "\"\""),
        ("appendonly", "no"),
        // After a transfer without a disk the primary streams nothing before it has asked the replica, up to a second.
        ("repl-diskless-sync", "no"),
        ("rdb-del-sync-files", "yes"),
        ("repl-backlog-size", "64mb"),
        ("repl-ping-replica-period", "1"),
        ("client-output-buffer-limit", "replica 0 0 0"),
    ];
    let mut text = format!("port {port}\ndir {0}\nlogfile {0}/log\n", folder.display());
    if let Some(port) = tls_port {
        text.push_str(&format!("tls-port {port}\n"));
    }
    let own = options.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let version = options.version.unwrap_or_else(chosen);
    for (key, value) in defaults.into_iter().chain(own) {
        if let Some(key) = version.setting(key) {
            text.push_str(&format!("{key} {value}\n"));
        }
    }
    let file = folder.join("redis.conf");
    fs::write(&file, text).expect("the temporary folder is writable");
    let mut command = options.home.command(binary.as_os_str());
    command.envs(options.environment.iter().cloned());
    command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("setpriv (util-linux) and the server can be started")
}
