//! Faulty texts and the words they are refused with.

pub(super) const FAULTS: &[(&str, &str)] = &[
    (
        "[proxy]\nannounce = \"[::1]:6380\"\n[backend]\nnodes = [\"a:1\"]",
        "proxy.announce: `[::1]:6380` is not host:port; clients can not read an IPv6 address there, give it a name (line 2)",
    ),
    (
        "[proxy]\nannounce = \"a:0\"\n[backend]\nnodes = [\"a:1\"]",
        "proxy.announce: `a:0` is not host:port; clients can not read an IPv6 address there, give it a name (line 2)",
    ),
    (
        "[backend]\nnodes = [\"a:1\",\n \"10.0.0.7\"]",
        "backend.nodes[1]: `10.0.0.7` is not host:port or [v6]:port (line 3)",
    ),
    ("[backend]\nnodes = \"a:1\"", "backend.nodes: `a:1` is not a list: write [\"a:1\"] (line 2)"),
    (
        "[proxy]\nallow = [\"10.0.0.0/8\", \"10.0.0.0/33\"]\n[backend]\nnodes = [\"a:1\"]",
        "proxy.allow[1]: `10.0.0.0/33` is not a network like 10.0.0.0/8 or fd00::/8, nor an address (line 2)",
    ),
    (
        "[proxy]\nproxy_protocol = true\n[backend]\nnodes = [\"a:1\"]",
        "proxy.proxy_protocol: needs proxy.trusted: the networks of the load balancers that send PROXY headers (line 2)",
    ),
    (
        "[limits]\nmemory = \"150%\"\n[backend]\nnodes = [\"a:1\"]",
        "limits.memory: `150%` is not a share from \"0%\" to \"100%\", nor a size like \"512MiB\" (line 2)",
    ),
    (
        "[tracing]\notlp = \"collector:4318\"",
        "tracing.otlp: `collector:4318` has no scheme; write http://host:port (line 2)",
    ),
    ("[tracing]\nsample = 1.5", "tracing.sample: `1.5` is not a share from 0.0 to 1.0 (line 2)"),
    ("[backend]\nnodes = []", "backend.nodes: is empty: name at least one node (line 2)"),
    (
        "[backend]\nnodes = [\"dns:redis\"]",
        "backend.nodes[0]: `redis` is not host:port or [v6]:port (line 2)",
    ),
    (
        "[backend]\nnodes = [{ address = \"dns:redis:6379\", peer_address = \"a:1\" }]",
        "backend.nodes[0]: peer_address: each of several nodes would have the same (line 2)",
    ),
    (
        "[backend]\nnodes = [{ address = \"dns:redis:6379\", expect = 17 }]",
        "backend.nodes[0]: expect: `17` is not between 1 and 16 (line 2)",
    ),
    (
        "[backend]\nnodes = [{ address = \"redis:6379\", expect = 3 }]",
        "backend.nodes[0]: expect: is for a name of several nodes, \"dns:name:port\" (line 2)",
    ),
    (
        "[backend]\nnodes = [\"dns:redis:6379\", \"redis:6379\"]",
        "backend.nodes[1]: `redis:6379` is listed twice (line 2)",
    ),
    (
        "[backend]\nnodes = [{ adress = \"a:1\" }]",
        "backend.nodes[0]: has no address: write { address = \"host:port\" } (line 2)",
    ),
    (
        "[backend]\nnodes = [{ address = \"a:1\", weight = 1 }]",
        "backend.nodes[0]: unknown field `weight`: a node has address, peer_address, zone and priority (line 2)",
    ),
    (
        "[backend]\nnodes = [{ address = \"a:1\", peer_address = \"b\" }]",
        "backend.nodes[0]: peer_address: `b` is not host:port or [v6]:port (line 2)",
    ),
    (
        "[backend]\nnodes = [{ address = \"a:1\", priority = -1 }]",
        "backend.nodes[0]: priority: `-1` is not between 0 and 1000000 (line 2)",
    ),
    (
        "[backend]\nnodes = [\"a:1\", \"b:1\"]\n[durability]\nmode = \"semi_sync\"\nreplicas = 2",
        "durability.replicas: 2 replicas can not acknowledge where backend.nodes has 2, one of which is the primary (line 5)",
    ),
    (
        "[backend]\nnodes = [\"a:1\"]\n[[durability.rules]]\nprefix = \"x:\"\nmode = \"aof_replicas\"",
        "durability.replicas: 1 replicas can not acknowledge where backend.nodes has 1, one of which is the primary",
    ),
    (
        "[[durability.rules]]\nprefix = \"x:\"\nmode = \"async\"\n[[durability.rules]]\nprefix = \"y:\"",
        "durability.rules[1]: has no mode: write mode = \"semi_sync\" (line 4)",
    ),
    (
        "[[durability.rules]]\nmode = \"async\"",
        "durability.rules[0]: has no prefix: write prefix = \"order:\" (line 1)",
    ),
    (
        "[[durability.rules]]\nprefix = \"\"\nmode = \"async\"",
        "durability.rules[0].prefix: is empty: what holds for all keys is durability.mode (line 2)",
    ),
    (
        "[[durability.rules]]\nprefix = \"x:\"\nmode = \"async\"\n[[durability.rules]]\nprefix = \"x:\"\nmode = \"async\"",
        "durability.rules[1].prefix: `x:` has a rule already (line 5)",
    ),
    (
        "[[durability.rules]]\nprefix = 7\nmode = \"async\"",
        "durability.rules[0].prefix: `7` is not a text in quotes (line 2)",
    ),
    (
        "[[durability.rules]]\nprefix = \"x:\"\nmode = \"sync\"",
        "durability.rules[0].mode: `sync` is not one of async, semi_sync, aof_local, aof_replicas (line 3)",
    ),
    (
        "[[durability.rules]]\nprefix = \"x:\"\nmode = \"async\"\nmod = 1",
        "durability.rules[0].mod: unknown key; did you mean `mode`? (line 4)",
    ),
    ("[durability]\nrules = [7]", "durability.rules[0]: `7` is not a table (line 2)"),
    (
        "[durability.rules]\nprefix = \"x:\"",
        "durability.rules: must be written as [[durability.rules]] (line 1)",
    ),
    (
        "[durability]\nmode = \"aof_local\"\n[[durability.rules]]\nprefix = \"x:\"\nmode = \"semi_sync\"\n[backend]\nnodes = [\"a:1\", \"b:1\"]",
        "durability.rules[0].mode: `semi_sync` besides `aof_local`: only one mode can be kept besides async (line 5)",
    ),
    (
        "[durability]\nreads = \"committed\"",
        "durability.reads: `committed` needs a durability.mode or a rule that asks replicas: semi_sync or aof_replicas (line 2)",
    ),
    (
        "[backend]\nnodes = [\"a:1\", \"b:1\"]\n[durability]\nmode = \"semi_sync\"\nreads = \"committed\"\n[reads]\npolicy = \"prefer_replica\"",
        "durability.reads: `committed` needs reads.policy = \"primary\": a replica may show what is not known to be safe (line 5)",
    ),
    (
        "[backend]\nnodes = [\"a:1\", \"b:1\"]\n[durability]\nmode = \"semi_sync\"\nreads = \"committed\"\n[reads]\nduring_outage = \"replica\"",
        "durability.reads: `committed` needs reads.during_outage = \"hold\": a replica may show what is not known to be safe (line 5)",
    ),
    ("[backend]\nnodes = [\"a:1\", \"a:1\"]", "backend.nodes[1]: `a:1` is listed twice (line 2)"),
    (
        "[backend]\nnodes = [\"127.0.0.1:6380\"]",
        "backend.nodes[0]: `127.0.0.1:6380` is this proxy's own address (proxy.listen) (line 2)",
    ),
    (
        "[backend]\nnodes = [7]",
        "backend.nodes[0]: `7` is neither a text nor { address = \"host:port\" } (line 2)",
    ),
    ("[proxy]\nlisten = []", "proxy.listen: is empty: clients would have nowhere to connect (line 2)"),
    (
        "[proxy]\nlisten = [\"6380\"]",
        "proxy.listen[0]: `6380` is not host:port, [v6]:port or unix:/path (line 2)",
    ),
    (
        "[proxy]\nlisten = [\"unix:x\"]",
        "proxy.listen[0]: `unix:x` is not unix: and an absolute path (line 2)",
    ),
    (
        "[proxy]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
        "proxy.listen[1]: `127.0.0.1:1` is listed twice (line 2)",
    ),
    (
        "[admin]\nlisten = \"127.0.0.1:6380\"",
        "admin.listen: `127.0.0.1:6380` is in proxy.listen too; give the admin endpoint a port of its own (line 2)",
    ),
    ("[admin]\nlisten = \"9380\"", "admin.listen: `9380` is not host:port or [v6]:port (line 2)"),
    ("[proxy]\nworkers = 2.5", "proxy.workers: `2.5` is not a whole number (line 2)"),
    ("[proxy]\nworkers = \"2\"", "proxy.workers: `2` is not a whole number (line 2)"),
    ("[proxy]\nmax_clients = 0", "proxy.max_clients: `0` is not between 1 and 1000000 (line 2)"),
    ("[proxy]\nhide_topology = \"no\"", "proxy.hide_topology: `no` is not true or false (line 2)"),
    (
        "[proxy]\nowned_commands = \"allow\"",
        "proxy.owned_commands: `allow` is not one of refuse, pass (line 2)",
    ),
    ("[proxy]\ndrain_timeout = 5", "proxy.drain_timeout: `5` has no unit: write \"5s\" or \"5ms\" (line 2)"),
    (
        "[proxy]\ndrain_timeout = \"5 s\"",
        "proxy.drain_timeout: `5 s` is not a duration like \"250ms\", \"5s\", \"1m\", \"2h\" or \"7d\" (line 2)",
    ),
    ("[proxy]\ndrain_timeout = \"366d\"", "proxy.drain_timeout: `366d` is longer than 365d (line 2)"),
    (
        "[proxy]\ndrain_timeout = \"99999999999999999999s\"",
        "proxy.drain_timeout: `99999999999999999999s` is not a duration like \"250ms\", \"5s\", \"1m\", \"2h\" or \"7d\" (line 2)",
    ),
    ("[health]\ninterval = \"1ms\"", "health.interval: `1ms` is below the least, 10ms (line 2)"),
    (
        "[health]\ntimeout = \"100ms\"",
        "health.timeout: 100ms is not longer than health.interval 100ms: every node would count as hung (line 2)",
    ),
    (
        "[health]\nbusy_timeout = \"500ms\"",
        "health.busy_timeout: 500ms is shorter than health.timeout 1s (line 2)",
    ),
    (
        "[limits]\nrequest_size = 5",
        "limits.request_size: `5` has no unit: write \"5MiB\" or \"5KiB\" (line 2)",
    ),
    (
        "[limits]\nrequest_size = \"5MB\"",
        "limits.request_size: `5MB` is not a size like \"512B\", \"256KiB\", \"64MiB\" or \"1GiB\" (line 2)",
    ),
    ("[limits]\nrequest_size = \"1B\"", "limits.request_size: `1B` is not between 1KiB and 1TiB (line 2)"),
    (
        "[limits]\nrequest_size = \"9000000TiB\"",
        "limits.request_size: `9000000TiB` is larger than 1024TiB (line 2)",
    ),
    ("[failover]\nstate_dir = \"x\"", "failover.state_dir: `x` is not an absolute path (line 2)"),
    ("[failover]\nstate_dir = 1", "failover.state_dir: `1` is not a text in quotes (line 2)"),
    ("[backend]\npassword = 1234", "backend.password: must be a text (line 2)"),
    (
        "[backend]\npassword_file = \"/no/such\"",
        "backend.password_file: cannot read `/no/such`: No such file or directory (os error 2) (line 2)",
    ),
    ("[reads]\nspill = 2", "reads.spill: `2` is not a share from 0.0 to 1.0 (line 2)"),
    ("[proxy]\nmax_client = 5", "proxy.max_client: unknown key; did you mean `max_clients`? (line 2)"),
    ("[proxy]\nhold = \"5s\"", "proxy.hold: unknown key; did you mean failover.hold? (line 2)"),
    ("[proxy]\nfrobnicate = 1", "proxy.frobnicate: unknown key (line 2)"),
    ("\n[backends]\n", "backends: unknown section; did you mean `backend`? (line 2)"),
    ("max_clients = 5", "max_clients: unknown key; did you mean proxy.max_clients? (line 1)"),
    ("proxy = 5", "proxy: must be a table: write [proxy] (line 1)"),
    ("users = 5", "users: must be written as [[users]] (line 1)"),
    (
        "[[users]]\nname = \"a b\"\npassword_env = \"PATH\"",
        "users[0].name: has a space or a control character in it (line 2)",
    ),
    ("[[users]]\npassword_env = \"PATH\"", "users[0]: has no name: write name = \"app\" (line 1)"),
    (
        "[[users]]\nname = \"a\"",
        "users[0].password_file: is missing: write password_file, password_env or password_sha256 (line 1)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_sha256 = \"\"",
        "users[0].password_file: is missing: write password_file, password_env or password_sha256 (line 1)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"NO_SUCH_VARIABLE\"",
        "users[0].password_env: the variable `NO_SUCH_VARIABLE` is not set or empty (line 3)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_file = \"/no/such\"",
        "users[0].password_file: cannot read `/no/such`: No such file or directory (os error 2) (line 3)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"PATH\"\n[[users]]\nname = \"a\"\npassword_env = \"PATH\"",
        "users[1].name: `a` is listed already (line 5)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"PATH\"\npassword_sha256 = \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"",
        "users[0].password_sha256: is given besides another password; keep one of them (line 4)",
    ),
    (
        "[[users]]\nname = \"default\"\npassword_env = \"PATH\"",
        "users[0].name: `default` is the proxy's own user on the nodes, which would be changed: name a backend_user (line 2)",
    ),
    (
        "[backend]\nusername = \"me\"\n[[users]]\nname = \"default\"\npassword_env = \"PATH\"",
        "users[0].name: `default` is everybody's first user on the nodes, which would be changed: name a backend_user (line 4)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"PATH\"\nrate = \"10\"",
        "users[0].rate: `10` is not a rate like \"10000/s\", \"600/m\" or \"1000/h\", from 1 to 100000000 (line 4)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"PATH\"\nrate = \"0/s\"",
        "users[0].rate: `0/s` is not a rate like \"10000/s\", \"600/m\" or \"1000/h\", from 1 to 100000000 (line 4)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"PATH\"\ncommands = [\"+get\", \"set\"]",
        "users[0].commands: `set` is no rule for commands like \"+@read\", \"-flushall\" or \"+config|get\" (line 4)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"PATH\"\nkeys = [\"%X~a\"]",
        "users[0].keys: `%X~a` is no pattern like \"app:*\" or \"%R~shared:*\" (line 4)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"PATH\"\nbackend_user = \"b\"\ncommands = [\"+get\"]",
        "users[0].commands: the nodes say what `b` may: it can not be given besides backend_user (line 5)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"PATH\"\nbackend_user = \"b\"\nkeys = [\"%R~a\"]",
        "users[0].keys: `%` needs nodes that are given the user: leave backend_user out (line 5)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"PATH\"\nkeys = [\"~a\"]",
        "users[0].keys: `~a` is no pattern like \"app:*\" or \"%R~shared:*\" (line 4)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"PATH\"\nchannels = [\"%R~*\"]",
        "users[0].channels: `%R~*` is no pattern like \"app:*\" (line 4)",
    ),
    (
        "[backend]\nusername = \"me\"\n[[users]]\nname = \"a\"\npassword_env = \"PATH\"\nbackend_user = \"me\"",
        "users[0].backend_user: `me` is the proxy's own user, whose rights no client is to have (line 6)",
    ),
    (
        "[[users]]\nname = \"a\"\npassword_env = \"PATH\"\nbackend_password_file = \"/etc/hostname\"",
        "users[0].backend_password_file: needs backend_user (line 4)",
    ),
];
