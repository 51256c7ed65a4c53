//! Every key that works reaches its settings.

use std::sync::Arc;
use std::time::Duration;

use super::read;
use crate::durability::{Level, Rule};
use crate::failover::{InFlight, Mode};
use crate::frontend::Listen;
use crate::routing::{DuringOutage, OwnWrites, ReadPolicy};
use crate::telemetry::Format;
use crate::users::{Digest, Rate, User};
use crate::{backend, durability, failover, frontend, routing, telemetry};

const EVERY_KEY_THAT_WORKS: &str = r#"
        [proxy]
        listen = ["[::1]:7000", "unix:/run/redhold.sock", "127.0.0.1:0", "plain:127.0.0.1:0"]
        workers = 3
        batching = "200us"
        max_clients = 7
        idle_timeout = "8s"
        proxy_protocol = true
        trusted = ["10.0.0.2"]
        allow = ["10.0.0.0/8", "fd00::/8"]
        deny = ["10.66.0.0/16"]
        drain_delay = "1s"
        drain_timeout = "2m"
        hide_topology = true
        owned_commands = "pass"
        maint_notifications = false
        announce = "redis.example:6380"
        [backend]
        nodes = ["a:1", { address = "[::1]:2", peer_address = "b:3", zone = "z", priority = 0 }, "c:4"]
        username = "u"
        password = "hunter2"
        pipelines_max = 5
        pinned_max = 6
        [health]
        interval = "20ms"
        timeout = "300ms"
        busy_timeout = "4s"
        slow_primary = "switchover"
        [failover]
        mode = "manual"
        hold = "6s"
        hold_memory = "1MiB"
        in_flight = "error"
        on_no_quorum = "proceed"
        burst = 9
        refill = "1h"
        empty_primary = "accept"
        tune_nodes = false
        state_dir = ""
        quarantine_files = 3
        quarantine_size = "1MiB"
        [reads]
        policy = "any"
        read_your_writes = "off"
        max_staleness = "3s"
        during_outage = "replica"
        zone = "here"
        spill = 0.25
        [durability]
        mode = "semi_sync"
        replicas = 2
        timeout = "70ms"
        degrade_after = "9s"
        [[durability.rules]]
        prefix = "a:"
        mode = "async"
        [[durability.rules]]
        mode = "semi_sync"
        prefix = "a:b:"
        [limits]
        request_size = "2MiB"
        client_output = "3MiB"
        in_flight_per_client = "4KiB"
        memory = "6MiB"
        clients_per_address = 11
        connections_per_second = 12
        script_cache = "5MiB"
        [admin]
        listen = "127.0.0.1:9"
        users = ["ops", "boss"]
        [[users]]
        name = "app"
        password_sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
        commands = ["+@read", "-keys"]
        keys = ["app:*", "%R~shared:*"]
        channels = ["news.*"]
        rate = "600/m"
        admin = true
        [[users]]
        password_env = "PATH"
        name = "old"
        backend_user = "there"
        [log]
        level = "debug"
        format = "json"
        slowlog = "20ms"
        slowlog_len = 30
        hotkeys_one_in = 40
        bigkeys_min = "2KiB"
        [tracing]
        otlp = "http://collector:4318/"
        sample = 0.0125
"#;

/// `[durability]` above: of the rules the one with the longer prefix comes first.
fn durable() -> durability::Settings {
    durability::Settings {
        mode: Level::SemiSync,
        replicas: 2,
        timeout: Duration::from_millis(70),
        reads_wait: false,
        rules: vec![
            Rule { prefix: b"a:b:".to_vec(), level: Level::SemiSync },
            Rule { prefix: b"a:".to_vec(), level: Level::Async },
        ],
    }
}

fn every_limit() -> frontend::Limits {
    frontend::Limits {
        max_clients: 7,
        entrance: frontend::Entrance {
            allow: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            deny: vec!["10.66.0.0/16".parse().unwrap()],
            trusted: vec!["10.0.0.2/32".parse().unwrap()],
            proxy_protocol: true,
            per_address: 11,
            per_second: 12,
        },
        idle_timeout: Duration::from_secs(8),
        drain_delay: Duration::from_secs(1),
        drain_timeout: Duration::from_secs(120),
        memory: 6 << 20,
        traced_ppm: 12_500,
    }
}

fn every_frontend_setting() -> frontend::Settings {
    let tcp = |text: &str| Listen::Tcp(text.parse().unwrap());
    frontend::Settings {
        listen: vec![
            tcp("[::1]:7000"),
            Listen::Unix("/run/redhold.sock".into()),
            tcp("127.0.0.1:0"),
            Listen::Plain("127.0.0.1:0".parse().unwrap()),
        ],
        // See `tls.rs`: these files have to be there.
        tls: None,
        workers: 3,
        batching: frontend::Batching::Fixed(Duration::from_micros(200)),
        limits: every_limit(),
        hide_topology: true,
        pass_owned_commands: true,
        maint_notifications: false,
        announce: "redis.example:6380".to_owned(),
        request_size: 2 << 20,
        client_output: 3 << 20,
        in_flight_per_client: 4 << 10,
        hold: Duration::from_secs(6),
        retry_idempotent: false,
        retry_all: false,
        durability: durable(),
        slow_log_len: 30,
        order_users: vec!["ops".to_owned(), "boss".to_owned(), "app".to_owned()],
        users: users().into(),
    }
}

fn users() -> Vec<User> {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let app = User {
        name: "app".to_owned(),
        password: Some(Digest::of(b"secret")),
        commands: list(&["+@read", "-keys"]),
        keys: list(&["app:*", "%R~shared:*"]),
        channels: list(&["news.*"]),
        rate: Rate::new(600, Duration::from_secs(60)),
        admin: true,
        ..User::default()
    };
    let path = std::env::var("PATH").unwrap();
    let old = User {
        name: "old".to_owned(),
        password: Some(Digest::of(path.as_bytes())),
        backend_user: "there".to_owned(),
        ..User::default()
    };
    vec![app, old]
}

#[test]
fn every_key_that_works_reaches_its_settings() {
    let config = read(EVERY_KEY_THAT_WORKS).unwrap();
    assert_eq!(config.frontend, every_frontend_setting());
    let backend = backend::Settings {
        pipelines_max: 5,
        pinned_max: 6,
        timeout: Duration::from_millis(300),
        hold_memory: 1 << 20,
        slow_micros: 20_000,
        sample_one_in: 40,
        big_bytes: 2 << 10,
        ..Default::default()
    };
    assert_eq!(config.backend, backend);
    let failover = failover::Settings {
        mode: Mode::Manual,
        interval: Duration::from_millis(20),
        timeout: Duration::from_millis(300),
        busy_timeout: Duration::from_secs(4),
        slow_primary: failover::SlowPrimary::Switchover,
        hold: Duration::from_secs(6),
        in_flight: InFlight::Error,
        on_no_quorum: failover::OnNoQuorum::Proceed,
        burst: 9,
        refill: Duration::from_secs(3600),
        empty_primary: failover::EmptyPrimary::Accept,
        tune_nodes: false,
        durability: failover::Durability { replicas: 2, degrade_after: Duration::from_secs(9) },
        max_staleness: Duration::from_secs(3),
    };
    assert_eq!(config.control.failover, failover);
    let reads = routing::Settings {
        policy: ReadPolicy::Any,
        own_writes: OwnWrites::Off,
        max_staleness: Duration::from_secs(3),
        during_outage: DuringOutage::Replica,
        zone: "here".to_owned(),
        spill_permille: 250,
    };
    assert_eq!(config.control.reads, reads);
    assert_eq!(config.control.state_dir, None);
    assert_eq!((config.control.quarantine_files, config.control.quarantine_size), (3, 1 << 20));
    assert_eq!(config.control.script_cache, 5 << 20);
    let posted = config.traces.collector.as_ref().map(ToString::to_string);
    assert_eq!(posted.as_deref(), Some("http://collector:4318/v1/traces"));
    assert_eq!(*config.control.users, users());
    assert!(Arc::ptr_eq(&config.control.users, &config.frontend.users), "one list for all");
    assert_eq!(config.control.credentials.username, "u");
    assert_eq!(config.control.credentials.password, "hunter2");
    let nodes = &config.control.nodes;
    assert_eq!((nodes[0].address.to_string(), nodes[0].priority), ("a:1".to_owned(), 100));
    assert_eq!((nodes[1].address.to_string(), nodes[1].priority), ("[::1]:2".to_owned(), 0));
    assert_eq!(nodes[1].peer_address.as_ref().unwrap().to_string(), "b:3");
    assert_eq!(nodes[1].zone, "z");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9");
    assert_eq!(config.log, telemetry::Settings { level: "debug".to_owned(), format: Format::Json });
}
