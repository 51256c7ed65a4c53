//! `[proxy.tls]`: what its keys say together, and that the files are looked at.

use std::path::PathBuf;

use super::{faults, read};
use crate::net::ServerFiles;

/// Files of a certificate, of its key and, once more of it, of an authority.
fn files(name: &str) -> [PathBuf; 2] {
    let folder = std::env::temp_dir().join(format!("redhold-config-tls-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(["redhold.test".to_owned()]).unwrap();
    let [cert, key] = ["tls.crt", "tls.key"].map(|name| folder.join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    [cert, key]
}

#[test]
fn every_key_reaches_its_settings() {
    let [cert, key] = files("all");
    let section = format!("[proxy.tls]\ncert = {cert:?}\nkey = {key:?}\n");
    let plain = ServerFiles { cert: cert.clone(), key, ..ServerFiles::default() };
    assert_eq!(read(&section).unwrap().frontend.tls, Some(plain.clone()));
    let section = format!("{section}client_ca = {cert:?}\nmin_version = \"1.3\"\n");
    let strict = ServerFiles { client_ca: Some(cert), only_1_3: true, ..plain };
    assert_eq!(read(&section).unwrap().frontend.tls, Some(strict));
    assert_eq!(read("[proxy.tls]\n").unwrap().frontend.tls, None);
}

#[test]
fn what_is_missing_is_named() {
    let [cert, key] = files("missing");
    let without_key = format!("[proxy.tls]\ncert = {cert:?}\n");
    assert_eq!(faults(&without_key), "proxy.tls.cert: needs proxy.tls.key (line 2)");
    let without_cert = format!("[proxy.tls]\nkey = {key:?}\n");
    assert_eq!(faults(&without_cert), "proxy.tls.key: needs proxy.tls.cert (line 2)");
    assert_eq!(
        faults("[proxy.tls]\nmin_version = \"1.3\"\n"),
        "proxy.tls.min_version: needs proxy.tls.cert (line 2)"
    );
    let gone = faults("[proxy.tls]\ncert = \"/no/such.crt\"\nkey = \"/no/such.key\"\n");
    assert_eq!(gone, "proxy.tls: cannot read /no/such.crt: No such file or directory (os error 2) (line 2)");
}
