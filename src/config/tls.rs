//! The keys of `[proxy.tls]`, `[backend.tls]` and `[admin.tls]`, and what they say together.

use std::path::PathBuf;

use crate::net::{self, ClientFiles, ServerFiles, TlsClient, TlsServer};

use super::fault::{Faults, Place};
use super::keys::set;
use super::kind::{Key, Kind, absent};
use super::read::{Config, Given};

/// Examples.
const CERT: &str = r#""/etc/redhold/tls/tls.crt""#;
const KEY: &str = r#""/etc/redhold/tls/tls.key""#;
const CA: &str = r#""/etc/redhold/tls/ca.crt""#;

pub(super) const PROXY_TLS: &[Key] = &[
    absent(
        "cert",
        Kind::Text(Some(|c, v| set(&mut towards_clients(c).cert, v.into()))),
        CERT,
        "The proxy's certificate and those that it rests on, PEM: all TCP addresses of proxy.listen without plain: speak TLS then. Used anew when it changes.",
    ),
    absent(
        "key",
        Kind::Text(Some(|c, v| set(&mut towards_clients(c).key, v.into()))),
        KEY,
        "Its private key, PEM.",
    ),
    absent(
        "client_ca",
        Kind::Text(Some(|c, v| set(&mut towards_clients(c).client_ca, Some(v.into())))),
        CA,
        "Authorities, PEM, one of which each client's certificate must come from (mTLS); absent: clients show none.",
    ),
    absent(
        "min_version",
        Kind::Choice(&["1.2", "1.3"], Some(|c, v| set(&mut towards_clients(c).only_1_3, v == "1.3"))),
        r#""1.2""#,
        "Least TLS version; absent: 1.2.",
    ),
];

pub(super) const BACKEND_TLS: &[Key] = &[
    absent(
        "ca",
        Kind::Text(Some(|c, v| set(&mut towards_nodes(c).ca, v.into()))),
        CA,
        "Authorities, PEM, one of which each node's certificate must come from: nodes are spoken to over TLS then. Used anew when it changes.",
    ),
    absent(
        "cert",
        Kind::Text(Some(|c, v| set(&mut towards_nodes(c).cert, v.into()))),
        CERT,
        "Certificate that the proxy shows to nodes, PEM (mTLS); absent: none.",
    ),
    absent(
        "key",
        Kind::Text(Some(|c, v| set(&mut towards_nodes(c).key, v.into()))),
        KEY,
        "Its private key, PEM.",
    ),
    absent(
        "server_name",
        Kind::Text(Some(|c, v| set(&mut towards_nodes(c).server_name, v))),
        r#""redis.example""#,
        "Name that each node's certificate must carry; absent: its host in backend.nodes.",
    ),
];

pub(super) const ADMIN_TLS: &[Key] = &[
    absent(
        "cert",
        Kind::Text(Some(|c, v| set(&mut towards_admins(c).cert, v.into()))),
        CERT,
        "The endpoint's certificate and those that it rests on, PEM: it speaks TLS alone then. Used anew when it changes.",
    ),
    absent(
        "key",
        Kind::Text(Some(|c, v| set(&mut towards_admins(c).key, v.into()))),
        KEY,
        "Its private key, PEM.",
    ),
    absent(
        "client_ca",
        Kind::Text(Some(|c, v| set(&mut towards_admins(c).client_ca, Some(v.into())))),
        CA,
        "Authorities, PEM, one of which the certificate of whoever comes must come from (mTLS); absent: nobody shows one.",
    ),
    absent(
        "min_version",
        Kind::Choice(&["1.2", "1.3"], Some(|c, v| set(&mut towards_admins(c).only_1_3, v == "1.3"))),
        r#""1.2""#,
        "Least TLS version; absent: 1.2.",
    ),
];

fn towards_admins(config: &mut Config) -> &mut ServerFiles {
    config.admin.tls.get_or_insert_default()
}

fn towards_clients(config: &mut Config) -> &mut ServerFiles {
    config.frontend.tls.get_or_insert_default()
}

fn towards_nodes(config: &mut Config) -> &mut ClientFiles {
    config.backend.tls.get_or_insert_default()
}

/// Adds a fault when files are not named together or can not be used.
pub(super) fn check(given: &Given, config: &Config, faults: &mut Faults) {
    let named = |path: &PathBuf| !path.as_os_str().is_empty();
    let servers =
        [("proxy.tls", PROXY_TLS, &config.frontend.tls), ("admin.tls", ADMIN_TLS, &config.admin.tls)];
    for (section, keys, files) in servers {
        let Some(files) = files else { continue };
        let missing = match (named(&files.cert), named(&files.key)) {
            (true, true) => None,
            (true, false) => Some("key"),
            (false, _) => Some("cert"),
        };
        let loaded = || TlsServer::load(files.clone()).map(drop);
        check_section(section, keys, missing, loaded, given, faults);
    }
    if let Some(files) = &config.backend.tls {
        let missing = match (named(&files.ca), named(&files.cert), named(&files.key)) {
            (false, ..) => Some("ca"),
            (_, true, false) => Some("key"),
            (_, false, true) => Some("cert"),
            _ => None,
        };
        let loaded = || TlsClient::load(files.clone()).map(drop);
        check_section("backend.tls", BACKEND_TLS, missing, loaded, given, faults);
        let place = given.get("backend.nodes").map_or(Place::Nowhere, |item| item.place.clone());
        let names = config.control.names.first();
        if let Some(name) = names.filter(|_| files.server_name.is_empty()) {
            let text = format!(
                "dns:{} needs backend.tls.server_name: its nodes are dialled by address",
                name.address
            );
            faults.add(format!("backend.nodes[{}]", name.position), place.clone(), text);
        }
        for (index, node) in config.control.nodes.iter().enumerate().filter(|_| files.server_name.is_empty())
        {
            if let Err(fault) = net::named(&node.address.host) {
                faults.add(format!("backend.nodes[{index}]"), place.clone(), fault.to_string());
            }
        }
    }
}

/// The fault stands at the first key of the section that was given.
fn check_section(
    section: &str,
    keys: &[Key],
    missing: Option<&str>,
    load: impl Fn() -> Result<(), String>,
    given: &Given,
    faults: &mut Faults,
) {
    let paths = keys.iter().map(|key| format!("{section}.{}", key.name));
    let Some((path, item)) = paths.filter_map(|path| Some((path.clone(), given.get(&path)?))).next() else {
        return;
    };
    match missing {
        Some(key) => faults.add(path, item.place.clone(), format!("needs {section}.{key}")),
        None => {
            if let Err(fault) = load() {
                faults.add(section, item.place.clone(), fault);
            }
        }
    }
}
