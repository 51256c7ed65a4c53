//! The keys of `[proxy.tls]`, and what they say together.

use std::path::PathBuf;

use crate::net::{Server, ServerFiles};

use super::fault::{Faults, Place};
use super::keys::set;
use super::kind::{Key, Kind, absent};
use super::read::{Config, Given};

/// Examples.
pub(super) const CERT: &str = r#""/etc/redhold/tls/tls.crt""#;
pub(super) const KEY: &str = r#""/etc/redhold/tls/tls.key""#;
pub(super) const CA: &str = r#""/etc/redhold/tls/ca.crt""#;

pub(super) const PROXY_TLS: &[Key] = &[
    absent(
        "cert",
        Kind::Text(Some(|c, v| set(&mut files(c).cert, v.into()))),
        CERT,
        "The proxy's certificate and those that it rests on, PEM: all TCP addresses of proxy.listen without plain: speak TLS then. Used anew when it changes.",
    ),
    absent("key", Kind::Text(Some(|c, v| set(&mut files(c).key, v.into()))), KEY, "Its private key, PEM."),
    absent(
        "client_ca",
        Kind::Text(Some(|c, v| set(&mut files(c).client_ca, Some(v.into())))),
        CA,
        "Authorities, PEM, one of which each client's certificate must come from (mTLS); absent: clients show none.",
    ),
    absent(
        "min_version",
        Kind::Choice(&["1.2", "1.3"], Some(|c, v| set(&mut files(c).only_1_3, v == "1.3"))),
        r#""1.2""#,
        "Least TLS version; absent: 1.2.",
    ),
];

fn files(config: &mut Config) -> &mut ServerFiles {
    config.frontend.tls.get_or_insert_default()
}

/// Adds a fault when the files are not named together or can not be used.
pub(super) fn check(given: &Given, config: &Config, faults: &mut Faults) {
    let Some(files) = &config.frontend.tls else { return };
    let place = |path: &str| given.get(path).map_or(Place::Nowhere, |item| item.place.clone());
    let named = |path: &PathBuf| !path.as_os_str().is_empty();
    let missing = match (named(&files.cert), named(&files.key)) {
        (true, true) => {
            if let Err(fault) = Server::load(files.clone()) {
                faults.add("proxy.tls", place("proxy.tls.cert"), fault);
            }
            return;
        }
        (true, false) => "proxy.tls.key",
        (false, _) => "proxy.tls.cert",
    };
    let others = ["cert", "key", "client_ca", "min_version"].map(|key| format!("proxy.tls.{key}"));
    let given = others.iter().find(|path| given.contains_key(path.as_str()));
    if let Some(path) = given {
        faults.add(path.clone(), place(path), format!("needs {missing}"));
    }
}
