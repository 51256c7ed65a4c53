//! `[proxy.tls]`, `[backend.tls]` and `[admin.tls]`: what their keys say together, and that the files are looked at.

use std::path::PathBuf;

use super::{faults, read};
use crate::net::{ClientFiles, ServerFiles, testing};

/// Files of a certificate and of its key.
fn files(name: &str) -> [PathBuf; 2] {
    let ServerFiles { cert, key, .. } = testing::written(name, "redhold.test");
    [cert, key]
}

#[test]
fn every_key_reaches_its_settings() {
    let [cert, key] = files("config-all");
    let section = format!("[proxy.tls]\ncert = {cert:?}\nkey = {key:?}\n");
    let plain = ServerFiles { cert: cert.clone(), key, ..ServerFiles::default() };
    assert_eq!(read(&section).unwrap().frontend.tls, Some(plain.clone()));
    let section = format!("{section}client_ca = {cert:?}\nmin_version = \"1.3\"\n");
    let strict = ServerFiles { client_ca: Some(cert.clone()), only_1_3: true, ..plain };
    assert_eq!(read(&section).unwrap().frontend.tls, Some(strict.clone()));
    assert_eq!(read(&section.replace("proxy.", "admin.")).unwrap().admin.tls, Some(strict.clone()));
    let section = format!("[backend.tls]\nca = {cert:?}\n");
    let plain = ClientFiles { ca: cert.clone(), ..ClientFiles::default() };
    assert_eq!(read(&section).unwrap().backend.tls, Some(plain.clone()));
    let section = format!("{section}cert = {cert:?}\nkey = {:?}\nserver_name = \"r.test\"\n", strict.key);
    let mutual = ClientFiles { cert, key: strict.key, server_name: "r.test".to_owned(), ..plain };
    assert_eq!(read(&section).unwrap().backend.tls, Some(mutual));
    let none = read("[proxy.tls]\n[backend.tls]\n[admin.tls]\n").unwrap();
    assert_eq!((none.frontend.tls, none.backend.tls, none.admin.tls), (None, None, None));
}

#[test]
fn what_is_missing_is_named() {
    let [cert, key] = files("config-missing");
    let without_key = format!("[proxy.tls]\ncert = {cert:?}\n");
    assert_eq!(faults(&without_key), "proxy.tls.cert: needs proxy.tls.key (line 2)");
    let without_cert = format!("[proxy.tls]\nkey = {key:?}\n");
    assert_eq!(faults(&without_cert), "proxy.tls.key: needs proxy.tls.cert (line 2)");
    assert_eq!(
        faults("[proxy.tls]\nmin_version = \"1.3\"\n"),
        "proxy.tls.min_version: needs proxy.tls.cert (line 2)"
    );
    let without_key = format!("[admin.tls]\ncert = {cert:?}\n");
    assert_eq!(faults(&without_key), "admin.tls.cert: needs admin.tls.key (line 2)");
    let without_ca = format!("[backend.tls]\ncert = {cert:?}\nkey = {key:?}\n");
    assert_eq!(faults(&without_ca), "backend.tls.cert: needs backend.tls.ca (line 2)");
    let half = format!("[backend.tls]\nca = {cert:?}\nkey = {key:?}\n");
    assert_eq!(faults(&half), "backend.tls.ca: needs backend.tls.cert (line 2)");
    let odd = format!("[backend.tls]\nca = {cert:?}\nserver_name = \"a b\"\n");
    assert_eq!(
        faults(&odd),
        "backend.tls: `a b` is neither a host name nor an address that a certificate can carry (line 2)"
    );
    let nameless = format!("[backend]\nnodes = [\"a_b c:1\"]\n[backend.tls]\nca = {cert:?}\n");
    assert!(
        faults(&nameless).starts_with("backend.nodes[0]: `a_b c` is neither a host name"),
        "{}",
        faults(&nameless)
    );
    let gone = faults("[proxy.tls]\ncert = \"/no/such.crt\"\nkey = \"/no/such.key\"\n");
    assert_eq!(gone, "proxy.tls: cannot read /no/such.crt: No such file or directory (os error 2) (line 2)");
}
