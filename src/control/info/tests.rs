use super::super::testing::{Server, binaries, eventually};
use super::*;

/// Primary and replica of every version at hand; what the parser says is compared with other commands' answers.
#[test]
fn facts_of_live_servers() {
    for binary in binaries() {
        let primary = Server::start(&binary, &[]);
        primary.say("SET key value");
        let port = primary.port.to_string();
        let replica = Server::start(&binary, &[&["replicaof", "127.0.0.1", &port]]);
        eventually("the replica's link is up", || facts(&replica.info()).unwrap().link_up);
        primary.say("SET key other");
        eventually("the replica applied it", || facts(&replica.info()).unwrap().offset > 0);

        eventually("the replica is online", || facts(&primary.info()).unwrap().replicas.len() == 1);
        let lead = facts(&primary.info()).unwrap();
        if let Some(folder) = binary.parent().and_then(|folder| folder.file_name()) {
            assert_eq!(lead.version, folder.to_string_lossy().trim_start_matches("valkey-"));
        }
        assert_eq!((lead.role, lead.port, lead.keys, lead.sync_full), (Role::Primary, primary.port, 1, 1));
        assert_eq!(lead.replicas, [(replica.address(), true)]);
        assert_eq!(
            (lead.primary, lead.sealed, lead.loading, lead.shutting_down),
            (None, false, false, false)
        );
        assert_eq!((lead.second_offset, lead.good_replicas), (-1, None));
        assert_eq!((lead.run_id.len(), lead.replid.len()), (40, 40));

        let follow = facts(&replica.info()).unwrap();
        assert_eq!((follow.role, follow.port, follow.keys), (Role::Replica, replica.port, 1));
        assert_eq!(follow.primary, Some(primary.address()));
        assert!(follow.link_up && follow.read_only && !follow.sealed && !follow.syncing);
        assert_eq!((follow.priority, &follow.replid), (100, &lead.replid));
        assert!(follow.offset > 0 && follow.last_io_seconds.is_some(), "{follow:?}");
        assert_eq!(follow.read_offset.is_some(), !binary.to_string_lossy().contains("6.2.5"));
        assert_ne!(follow.run_id, lead.run_id);

        primary.say("CONFIG SET min-replicas-to-write 1");
        primary.say("CONFIG SET maxclients 321");
        let changed = facts(&primary.info()).unwrap();
        assert_eq!((changed.good_replicas, changed.max_clients), (Some(1), Some(321)), "{binary:?}");
        replica.say("REPLICAOF 127.0.0.1 0");
        let sealed = facts(&replica.info()).unwrap();
        assert!(sealed.sealed && !sealed.link_up, "{binary:?}");
        assert_eq!((sealed.primary, &sealed.replid), (None, &lead.replid));
        assert!(sealed.offset >= follow.offset);
        replica.say("REPLICAOF NO ONE");
        let promoted = facts(&replica.info()).unwrap();
        assert_eq!((promoted.role, &promoted.replid2), (Role::Primary, &lead.replid));
        assert_eq!(promoted.second_offset, i64::try_from(promoted.offset).unwrap() + 1);
    }
}

/// Asked section by section, as the monitor does, the facts are the same as from one INFO of everything.
#[test]
fn the_sections_hold_all_facts() {
    for binary in binaries() {
        let server = Server::start(&binary, &[&["replicaof", "127.0.0.1", "0"]]);
        let parts: Vec<_> = SECTIONS.iter().map(|section| server.say(&format!("INFO {section}"))).collect();
        assert_eq!(facts(&parts.concat()), facts(&server.info()), "{binary:?}");
    }
}

#[test]
fn ipv6_replicas_and_foreign_lines() {
    let text = "run_id:abc\r\nrole:master\r\nslave0:ip=::1,port=7001,state=online,offset=14,lag=0\r\n\
                slave1:ip=10.0.0.9,port=7002,state=wait_bgsave,offset=0,lag=0\r\nslaves_x:ip=1,port=2\r\n\
                db0:keys=2,expires=0\r\ndb15:keys=40,expires=0,avg_ttl=0\r\ndbsize:keys=7\r\nnonsense\r\n";
    let facts = facts(text).unwrap();
    let expected = [("::1", 7001, true), ("10.0.0.9", 7002, false)];
    let expected =
        expected.map(|(host, port, online)| (Address { host: host.into(), port }, online)).to_vec();
    assert_eq!((facts.replicas, facts.keys), (expected, 42));
    let text = format!("{text}db1:keys={}\r\n", u64::MAX);
    assert_eq!(
        super::facts(&text).unwrap().keys,
        u64::MAX,
        "nobody has as many, and nothing else is counted"
    );
}

#[test]
fn what_is_no_info_is_none() {
    assert_eq!(facts(""), None);
    assert_eq!(facts("role:master\r\n"), None);
    assert_eq!(facts("run_id:abc\r\nrole:sentinel\r\n"), None);
}
