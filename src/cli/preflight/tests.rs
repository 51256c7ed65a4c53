//! What each answer of a node means.

use super::judge::{Asked, Weight, judge};
use super::look::{Facts, SETTINGS, brains_among, read_info};
use crate::topology::NodeSpec;

fn node(address: &str, facts: Facts) -> Asked {
    let address = address.parse().unwrap();
    (NodeSpec { address, peer_address: None, zone: String::new(), priority: 100 }, Ok(facts))
}

/// `a:1` leads, `b:2` follows; nothing speaks against a failover.
fn group() -> Vec<Asked> {
    let settings = SETTINGS.map(|name| (name, if name == "maxclients" { "10000" } else { "" }.to_owned()));
    let common = Facts {
        version: "7.0.15".to_owned(),
        settings: settings.into(),
        acl: Some(vec!["user default on".to_owned()]),
        ..Facts::default()
    };
    let primary = Facts { role: "master".to_owned(), replicas: vec!["b:2".to_owned()], ..common.clone() };
    let follows = Some("a:1".to_owned());
    let replica = Facts { role: "slave".to_owned(), follows, link_up: true, ..common };
    vec![node("a:1", primary), node("b:2", replica)]
}

/// The only finding after `change`.
fn finding(change: impl FnOnce(&mut Facts, &mut Facts)) -> (Weight, String) {
    let mut nodes = group();
    let [(_, Ok(primary)), (_, Ok(replica))] = nodes.as_mut_slice() else {
        unreachable!("two nodes answered")
    };
    change(primary, replica);
    let findings = judge(&nodes, 128);
    assert_eq!(findings.len(), 1, "{findings:?}");
    (findings[0].weight, findings[0].text.clone())
}

fn set(facts: &mut Facts, name: &'static str, value: &str) {
    facts.settings.insert(name, value.to_owned());
}

#[test]
fn a_good_group_has_no_findings() {
    assert_eq!(judge(&group(), 128), []);
}

#[test]
fn what_forbids_a_failover_is_a_fail() {
    let fail = |text: &str| (Weight::Fail, text.to_owned());
    assert_eq!(finding(|_, r| r.link_up = false), fail("b:2: its link to a:1 is down"));
    assert_eq!(finding(|p, _| p.role = "slave".to_owned()), fail("no node says that it is a primary"));
    assert_eq!(
        finding(|_, r| r.role = "master".to_owned()),
        fail("a:1 and b:2 say that they are primaries; make all but one replicas")
    );
    assert_eq!(
        finding(|_, r| r.forbidden.push("REPLICAOF NO ONE".to_owned())),
        fail("b:2: the proxy's user may not run REPLICAOF NO ONE")
    );
    assert_eq!(
        finding(|p, _| set(p, "requirepass", "hunter2")),
        fail("b:2: masterauth is empty, a:1 demands a password: it could not follow")
    );
    let other = |p: &mut Facts, r: &mut Facts| {
        set(p, "requirepass", "hunter2");
        set(r, "masterauth", "hunter3");
    };
    assert_eq!(finding(other), fail("b:2: masterauth is not the password of a:1: it could not follow"));
    let mut nodes = group();
    nodes[1].1 = Err("cannot connect: Connection refused".to_owned());
    let findings = judge(&nodes, 128);
    assert_eq!(findings[0].text, "b:2: cannot connect: Connection refused");
    assert_eq!(findings[0].weight, Weight::Fail);
}

#[test]
fn what_somebody_should_know_is_a_warning() {
    let warn = |text: &str| (Weight::Warn, text.to_owned());
    assert_eq!(
        finding(|_, r| set(r, "maxmemory", "100")),
        warn("different maxmemory: `` on a:1; `100` on b:2")
    );
    assert_eq!(
        finding(|_, r| r.version = "6.2.5".to_owned()),
        warn("different version: 7.0.15 on a:1; 6.2.5 on b:2")
    );
    assert_eq!(
        finding(|p, _| p.modules.push("ReJSON".to_owned())),
        warn("different modules: [ReJSON] on a:1; [] on b:2")
    );
    assert_eq!(
        finding(|_, r| r.acl = Some(vec![])),
        warn("ACL users differ between the nodes: clients would be refused after a failover")
    );
    assert_eq!(
        finding(|p, _| set(p, "maxclients", "100")),
        warn("a:1: maxclients is 100, the proxy alone may open 128 (workers times backend.pipelines_max)")
    );
    assert_eq!(
        finding(|p, _| p.replicas.push("c:3".to_owned())),
        warn("a:1: has 2 replicas, of which 1 are declared: b:2, c:3")
    );
    assert_eq!(
        finding(|_, r| r.follows = Some("10.0.0.1:1".to_owned())),
        warn("b:2: follows 10.0.0.1:1; that must be a:1 under another name (declare it as peer_address)")
    );
    assert_eq!(
        finding(|p, _| p.brains.push("a Sentinel from 10.0.0.9".to_owned())),
        warn("a:1: a Sentinel from 10.0.0.9 watches it: beside another brain the proxy only observes")
    );
    assert_eq!(finding(|_, r| drop(r.settings.remove("masterauth"))), warn("b:2: could not read masterauth"));
    let (weight, text) = finding(|p, _| p.rights_unknown = Some("ERR unknown subcommand".to_owned()));
    assert!(weight == Weight::Warn && text.contains("could not be looked up"), "{text}");
}

#[test]
fn a_password_never_reaches_a_finding() {
    let mut nodes = group();
    for (index, (_, facts)) in nodes.iter_mut().enumerate() {
        let facts = facts.as_mut().unwrap();
        set(facts, "requirepass", &format!("hunter{index}"));
        set(facts, "masterauth", "hunter");
        facts.acl = Some(vec![format!("user default on #hunter{index}")]);
    }
    let findings = judge(&nodes, 128);
    assert!(findings.len() >= 3 && !format!("{findings:?}").contains("hunter"), "{findings:?}");
}

#[test]
fn info_and_client_list_are_read_as_servers_write_them() {
    let mut facts = Facts::default();
    let info = "# Server\r\nredis_version:7.0.15\r\n# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
                slave0:ip=127.0.0.1,port=7001,state=online,offset=14,lag=0\r\n\
                slave1:ip=10.0.0.3,port=6379,state=online,offset=14,lag=1\r\n";
    read_info(info, &mut facts);
    assert_eq!((facts.version.as_str(), facts.role.as_str()), ("7.0.15", "master"));
    assert_eq!(facts.replicas, ["127.0.0.1:7001", "10.0.0.3:6379"]);
    let mut facts = Facts::default();
    let info = "redis_version:7.2.4\r\nvalkey_version:9.1.2\r\nrole:slave\r\nmaster_host:10.0.0.1\r\n\
                master_port:6379\r\nmaster_link_status:up\r\n";
    read_info(info, &mut facts);
    assert_eq!((facts.version.as_str(), facts.follows.as_deref()), ("valkey 9.1.2", Some("10.0.0.1:6379")));
    assert!(facts.link_up);
    let clients = "id=3 addr=10.0.0.9:5000 laddr=10.0.0.1:6379 fd=8 name=sentinel-0a1b2c3d-cmd age=5\n\
                   id=4 addr=10.0.0.9:5001 laddr=10.0.0.1:6379 fd=9 name=sentinel-0a1b2c3d-pubsub age=5\n\
                   id=5 addr=10.0.0.7:5002 laddr=10.0.0.1:6379 fd=9 name=redhold:control:1 age=5\n\
                   id=6 addr=10.0.0.8:5003 laddr=10.0.0.1:6379 fd=9 name=app age=5\n";
    assert_eq!(brains_among(clients), ["a Sentinel from 10.0.0.9", "a running Redhold from 10.0.0.7"]);
}
