//! Clients that speak TLS by themselves: redis-py over the death of the primary, and redis-cli.

use std::io::Write;
use std::process::Stdio;

use crate::libraries::REDIS_PY;
use crate::support::{CertificateFolder, Proxy, ProxyOptions, Server, dying_with_us};

/// With one for clients beside that of the proxy.
fn certificates() -> CertificateFolder {
    let folder = CertificateFolder::new();
    folder.write("client", &folder.authority.issue(&["app"]));
    folder
}

/// What redis-cli prints that is given this input.
#[track_caller]
fn redis_cli(folder: &CertificateFolder, proxy: &Proxy, arguments: &[&str], input: &[u8]) -> String {
    let file = |name| folder.at(name).display().to_string();
    let (host, port) = (proxy.address().ip().to_string(), proxy.address().port().to_string());
    let mut command = dying_with_us("redis-cli".as_ref());
    command.args(["-h", &host, "-p", &port, "--tls", "--cacert", &file("ca.crt")]);
    command.args(["--cert", &file("client.crt"), "--key", &file("client.key")]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("redis-cli can be started");
    let mut pipe = child.stdin.take().expect("it is a pipe");
    let input = input.to_vec();
    let writes = std::thread::spawn(move || pipe.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    writes.join().expect("it does not panic").expect("it reads its input");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn redis_cli_works_as_without() {
    let (folder, server) = (certificates(), Server::start());
    let options = ProxyOptions::new(&[server.address()]);
    let proxy = folder.asked_by(folder.shown_by(options)).start();
    assert_eq!(redis_cli(&folder, &proxy, &["PING"], b""), "PONG\n");
    let large = "x".repeat(3 << 20);
    assert_eq!(redis_cli(&folder, &proxy, &["-x", "SET", "large"], large.as_bytes()), "OK\n");
    assert_eq!(redis_cli(&folder, &proxy, &["GET", "large"], b""), format!("{large}\n"));
    let many: String = (0..20_000).map(|at| format!("SET k:{at} {at}\r\n")).collect();
    let said = redis_cli(&folder, &proxy, &["--pipe"], many.as_bytes());
    assert!(said.contains("errors: 0, replies: 20000"), "{said}");
    let scanned = redis_cli(&folder, &proxy, &["--scan", "--pattern", "k:*"], b"");
    assert_eq!(scanned.lines().count(), 20_000);
    redis_cli(&folder, &proxy, &["HSET", "h", "f", "v"], b"");
    assert_eq!(redis_cli(&folder, &proxy, &["-3", "HGETALL", "h"], b""), "f v\n");
}

#[test]
fn redis_py_over_the_death_of_the_primary() {
    crate::play(&REDIS_PY, Some(&certificates()));
}
