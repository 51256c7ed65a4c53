//! The command line as it is used: the real program, its words, and its exit codes (0 done, 1 failed at run time,
//! 2 bad usage or bad configuration).

#[path = "../support/mod.rs"]
mod support;

mod admin_hostile;
mod admin_roles;
mod admin_tls;
mod names;
mod preflight;
mod proxy;
mod sockets;
mod supervisor;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::{Server, free_port};

/// How a call ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Calls the program with these arguments and no variables of its own.
fn redhold(arguments: &[&str]) -> Ended {
    redhold_with(arguments, &[])
}

fn redhold_with(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redhold"));
    let inherited = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("REDHOLD_"));
    for (name, _) in inherited {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().expect("the program can be started");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    Ended { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// A file with this text, in a folder that is removed at the end.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        let path = support::scratch_folder("cli").join("redhold.toml");
        fs::write(&path, text).expect("the temporary folder is writable");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the temporary folder has a plain name")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().expect("it lies in a folder of its own"));
    }
}

#[test]
fn bad_usage_is_2_and_says_what_is_missing() {
    for (arguments, says) in [
        (&[][..], "Usage: redhold <COMMAND>"),
        (&["serve"][..], "unrecognized subcommand 'serve'"),
        (&["check", "--conf", "x"], "unexpected argument '--conf'"),
        (&["failover"], "--force"),
        (&["adopt"], "<NODE>"),
        (&["completions", "tcsh"], "invalid value 'tcsh'"),
    ] {
        let ended = redhold(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.err.contains(says) && ended.out.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn help_and_version_are_answers() {
    let ended = redhold(&["--version"]);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), concat!("redhold ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    let help = redhold(&["--help"]);
    assert_eq!(help.code, Some(0));
    for command in ["run", "check", "config", "status", "switchover", "failover", "adopt", "completions"] {
        assert!(
            help.out.lines().any(|line| line.trim_start().starts_with(command)),
            "{command}: {}",
            help.out
        );
    }
}

#[test]
fn config_prints_the_full_file_and_check_accepts_it() {
    let ended = redhold(&["config"]);
    let full = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/full.toml")).unwrap();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), full.as_str()));
    let file = File::new(&ended.out);
    let checked = redhold(&["check", "--config", file.path()]);
    assert_eq!(
        (checked.code, checked.out.as_str()),
        (Some(0), "The configuration has no faults.\n"),
        "{checked:?}"
    );
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = redhold(&["completions", shell]);
        assert_eq!(ended.code, Some(0));
        assert!(ended.out.contains("switchover") && ended.out.contains("connect"), "{shell}");
    }
}

#[test]
fn every_fault_of_a_configuration_is_told_by_check_and_run() {
    let file = File::new("[proxy]\nworkers = -1\n\n[coordinator]\nmode = \"raft\"\n");
    for command in ["check", "run"] {
        let ended = redhold(&[command, "--config", file.path()]);
        let expected = format!(
            "redhold: {}: 2 faults\n\
             proxy.workers: `-1` is not between 0 and 1024 (line 2)\n\
             coordinator.mode: `raft` is not yet supported; only \"local\" works in this version (line 5)\n",
            file.path()
        );
        assert_eq!((ended.code, ended.err.as_str(), ended.out.as_str()), (Some(2), expected.as_str(), ""));
    }
}

#[test]
fn without_a_file_the_way_to_one_is_told() {
    for command in ["check", "run"] {
        let ended = redhold(&[command]);
        assert_eq!(ended.code, Some(2));
        assert!(ended.err.contains("`redhold config > redhold.toml`"), "{ended:?}");
        let ended = redhold(&[command, "--config", "/no/such.toml"]);
        assert_eq!(ended.code, Some(2));
        assert!(
            ended.err.contains("/no/such.toml") && ended.err.contains("`redhold config > redhold.toml`"),
            "{ended:?}"
        );
    }
}

#[test]
fn variables_are_checked_and_noted() {
    let file = File::new("[backend]\nnodes = [\"127.0.0.1:1\"]\n");
    let check = ["check", "--config", file.path()];
    let ended = redhold_with(&check, &[("REDHOLD_FAILOVER_HOLD", "soon")]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("failover.hold: `soon` is not a duration"), "{ended:?}");
    assert!(ended.err.contains("(REDHOLD_FAILOVER_HOLD)"), "{ended:?}");
    let ended = redhold_with(&check, &[("REDHOLD_FAILOVER_HOLT", "5s"), ("REDHOLD_FAILOVER_HOLD", "5s")]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.err.contains("REDHOLD_FAILOVER_HOLT names no key"), "{ended:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_redhold"))
        .arg("config")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    // The text may fit into the pipe before it is closed.
    assert!(matches!(status.code(), Some(0 | 1)), "{status:?}");
    assert_eq!(String::from_utf8_lossy(&stderr), "");
}

#[test]
fn orders_and_questions_to_nobody_are_1() {
    let url = format!("http://127.0.0.1:{}", free_port());
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["switchover"],
        &["switchover", "--to", "127.0.0.1:1"],
        &["failover", "--force"],
        &["adopt", "127.0.0.1:1"],
    ] {
        let ended = redhold(&[arguments, &["--admin", &url]].concat());
        let expected = format!("redhold: nobody listens at {url}: is the proxy running?\n");
        assert_eq!((ended.code, ended.err), (Some(1), expected), "{arguments:?}");
    }
}

#[test]
fn a_redis_server_is_not_taken_for_a_proxy() {
    let server = Server::start();
    let ended = redhold(&["status", "--admin", &server.address().to_string()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("no answer from"), "{ended:?}");
}
