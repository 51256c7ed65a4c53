//! The admin endpoint over TLS, and the commands that ask it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use rustls::version::{TLS12, TLS13};

use super::support::{
    Authority, CertificateFolder, Group, LONG, Proxy, ProxyOptions, Server, Tunnel, eventually,
    scratch_folder, trusting,
};
use super::{Ended, File, redhold};

/// Its admin endpoint shows the folder's certificate.
fn shown(folder: &CertificateFolder, options: ProxyOptions) -> ProxyOptions {
    let options = options.set("admin.tls.cert", &format!("{:?}", folder.at("tls.crt")));
    options.set("admin.tls.key", &format!("{:?}", folder.at("tls.key")))
}

/// A command to the endpoint over TLS, by who trusts these authorities.
fn ask(proxy: &Proxy, ca: &Path, arguments: &[&str]) -> Ended {
    let (url, ca) = (format!("https://{}", proxy.admin_address()), ca.display().to_string());
    redhold(&[arguments, &["--admin", &url, "--ca", &ca]].concat())
}

fn is_answered(ended: &Ended) -> bool {
    ended.code == Some(0) && ended.out.contains("writable)")
}

#[test]
fn who_knows_its_authority_is_answered_and_nobody_is_over_plain_http() {
    let (folder, server) = (CertificateFolder::new(), Server::start());
    let proxy = shown(&folder, ProxyOptions::new(&[server.address()])).start_unready();
    eventually(LONG, "it is answered", || is_answered(&ask(&proxy, &folder.at("ca.crt"), &["status"])));
    let address = proxy.admin_address();
    // They wait for nothing, and nobody for them.
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    let others = CertificateFolder::new();
    let foreign = ask(&proxy, &others.at("ca.crt"), &["status"]);
    assert!(foreign.code == Some(1) && foreign.err.contains("invalid peer certificate"), "{foreign:?}");
    let none = redhold(&["status", "--admin", &format!("https://{address}")]);
    assert!(none.code == Some(1) && none.err.contains("needs --ca FILE"), "{none:?}");
    let missing = ask(&proxy, Path::new("/nonexistent/ca.crt"), &["status"]);
    assert!(
        missing.code == Some(1) && missing.err.contains("cannot read /nonexistent/ca.crt"),
        "{missing:?}"
    );
    let plain = redhold(&["status", "--admin", &format!("http://{address}")]);
    assert!(
        plain.code == Some(1)
            && plain.err.contains(&format!("no answer from http://{address}: it speaks TLS")),
        "{plain:?}"
    );
    assert!(is_answered(&ask(&proxy, &folder.at("ca.crt"), &["status"])));
    drop(silent);
    // The other way round, and what is no name for a certificate.
    let proxy = Proxy::start(&[server.address()]);
    let plain = ask(&proxy, &folder.at("ca.crt"), &["status"]);
    assert!(plain.code == Some(1) && plain.err.contains("no answer from https://"), "{plain:?}");
}

#[test]
fn orders_come_with_certificate_and_token_where_both_are_asked_for() {
    let (folder, token) = (CertificateFolder::new(), File::new("0123456789abcdef"));
    let group = Group::plain(1);
    let proxy = shown(&folder, ProxyOptions::new(&group.addresses()))
        .set("admin.tls.client_ca", &format!("{:?}", folder.at("ca.crt")))
        .set("admin.token_file", &format!("{:?}", token.path()))
        .start_unready();
    let ca = folder.at("ca.crt");
    let [cert, key] = ["tls.crt", "tls.key"].map(|name| folder.at(name).display().to_string());
    let whole =
        |arguments: &[&str]| ask(&proxy, &ca, &[arguments, &["--cert", &cert, "--key", &key]].concat());
    eventually(LONG, "it is answered", || is_answered(&whole(&["status"])));
    for command in ["status", "switchover"] {
        let ended = ask(&proxy, &ca, &[command]);
        assert!(ended.code == Some(1) && ended.err.contains("no answer from https://"), "{ended:?}");
    }
    let ended = whole(&["switchover"]);
    assert!(ended.code == Some(1) && ended.err.contains("refused with 401"), "{ended:?}");
    let half = ask(&proxy, &ca, &["status", "--cert", &cert]);
    assert!(half.code == Some(2) && half.err.contains("--key"), "{half:?}");
    assert_eq!(group.primaries(), [0]);
    eventually(LONG, "the order is carried out", || {
        whole(&["switchover", "--token-file", token.path()]).code == Some(0)
    });
    assert_eq!(group.primaries(), [1]);
}

#[test]
fn a_certificate_that_is_replaced_is_shown_without_a_restart() {
    let (folder, server) = (CertificateFolder::new(), Server::start());
    let proxy = shown(&folder, ProxyOptions::new(&[server.address()])).start_unready();
    let (next, at) = (Authority::new("successors"), scratch_folder("successors"));
    std::fs::write(at.join("ca.crt"), next.pem()).expect("the temporary folder is writable");
    eventually(LONG, "it is answered", || is_answered(&ask(&proxy, &folder.at("ca.crt"), &["status"])));
    assert!(!is_answered(&ask(&proxy, &at.join("ca.crt"), &["status"])));
    folder.write("tls", &next.issue(&["127.0.0.1"]));
    eventually(LONG, "the new one is shown", || is_answered(&ask(&proxy, &at.join("ca.crt"), &["status"])));
    std::fs::remove_dir_all(at).ok();
}

/// Whether an answer comes over this way.
fn is_alive(way: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(way).expect("the tunnel listens");
    let mut answer = String::new();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.ends_with("alive\n")
}

#[test]
fn an_older_version_is_spoken_unless_the_least_is_1_3() {
    let (folder, server) = (CertificateFolder::new(), Server::start());
    let options = shown(&folder, ProxyOptions::new(&[server.address()]));
    let newer = options.clone().set("admin.tls.min_version", "\"1.3\"").start_unready();
    let proxy = options.start_unready();
    let over = |proxy: &Proxy, version| {
        is_alive(Tunnel::open(proxy.admin_address(), trusting(&folder.authority, None, &[version])).address())
    };
    assert!(over(&proxy, &TLS12) && over(&proxy, &TLS13) && over(&newer, &TLS13));
    assert!(!over(&newer, &TLS12));
}
