#!/usr/bin/env python3
"""What no schema can know of config/compose and config/kubernetes: that their parts fit each other, the program and the Dockerfile.

    tests/tools/manifests.py PROGRAM     PROGRAM: a built redhold, whose `check` reads the configurations inside

Each fault that it can find is planted once, and has to be found.
"""

import copy
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import yaml

REPO = pathlib.Path(__file__).resolve().parents[2]
# What the end takes beside drain_delay and drain_timeout (src/app.rs), and for how long a name is waited for (src/control/names.rs).
LAST_STEPS, NAMES_PATIENCE = 10, 60
PROBES = {"livenessProbe": "/livez", "startupProbe": "/livez", "readinessProbe": "/livez"}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


def ending(config):
    """How long the proxy may take to end, by its configuration."""
    proxy = config["proxy"]
    return seconds(proxy.get("drain_delay", "0s")) + seconds(proxy.get("drain_timeout", "10s")) + LAST_STEPS


def ports(config):
    """Where clients connect, and the admin endpoint."""
    return [int(at.rsplit(":", 1)[1]) for at in (config["proxy"]["listen"][0], config["admin"]["listen"])]


def nodes(config):
    """The nodes' addresses, and where the other nodes reach each."""
    return [(node["address"], node.get("peer_address")) for node in config["backend"]["nodes"]]


def compose_faults(compose, config, prometheus, exists):
    services = compose["services"]
    proxy, faults = services["redhold"], []
    client, admin = ports(config)
    for address, peer in nodes(config):
        host, port = address.rsplit(":", 1)
        if host not in services or services[host].get("hostname") != host or port != "6379" or peer != address:
            faults.append(f"{address} is no service that is called so and listens there")
    published = {int(str(port).rsplit(":", 1)[1]) for port in proxy["ports"]}
    if published != {client, admin}:
        faults.append(f"redhold publishes {published}, and listens on {client} and {admin}")
    if not proxy["healthcheck"]["test"][-1].endswith(f":{admin}"):
        faults.append(f"the health check of redhold does not ask port {admin}")
    if seconds(proxy["stop_grace_period"]) <= ending(config):
        faults.append(f"stop_grace_period is not more than {ending(config)} s")
    if [f"redhold:{admin}"] != prometheus["scrape_configs"][0]["static_configs"][0]["targets"]:
        faults.append(f"Prometheus does not ask redhold:{admin}")
    mounted = [volume.split(":")[1] for volume in proxy["volumes"]]
    if config["failover"]["state_dir"] not in mounted:
        faults.append("failover.state_dir lies on no volume")
    for name, service in services.items():
        lost = [v.split(":")[0] for v in service.get("volumes", []) if v.split(":")[0] not in compose["volumes"]]
        lost += [c["source"] for c in service.get("configs", []) if c["source"] not in compose["configs"]]
        faults += [f"{name} uses {one}, which is not declared" for one in lost]
    faults += [f"{one['file']} does not exist" for one in compose["configs"].values() if not exists(one["file"])]
    return faults


def kubernetes_faults(things, image_user):
    named = {(thing["kind"], thing["metadata"]["name"]): thing for thing in things}
    pods = {name: thing["spec"]["template"] for (kind, name), thing in named.items() if kind == "StatefulSet"}
    config = tomllib.loads(named["ConfigMap", "redhold"]["data"]["redhold.toml"])
    return [
        *selector_faults(named, pods),
        *pod_faults(named, pods),
        *proxy_faults(named, pods["redhold"]["spec"], config, image_user),
        *group_faults(named, config),
    ]


def selector_faults(named, pods):
    faults = []

    def chosen(labels):
        return [name for name, pod in pods.items() if labels.items() <= pod["metadata"]["labels"].items()]

    for (kind, name), thing in named.items():
        where, spec = f"{kind} {name}", thing.get("spec", {})
        if kind == "Service":
            if chosen(spec["selector"]) != [name]:
                faults.append(f"{where} chooses {chosen(spec['selector'])}")
                continue
            known = {port["name"] for c in pods[name]["spec"]["containers"] for port in c["ports"]}
            faults += [f"{where}: no port {p['targetPort']}" for p in spec["ports"] if p["targetPort"] not in known]
        if kind == "StatefulSet":
            if chosen(spec["selector"]["matchLabels"]) != [name]:
                faults.append(f"{where} does not choose its own pods")
            if ("Service", spec["serviceName"]) not in named:
                faults.append(f"{where}: no service {spec['serviceName']}")
        if kind == "PodDisruptionBudget":
            if chosen(spec["selector"]["matchLabels"]) != [name]:
                faults.append(f"{where} chooses other pods")
            # A majority stays, and a node can go at all.
            replicas = named["StatefulSet", name]["spec"]["replicas"]
            if not 1 <= spec["maxUnavailable"] <= (replicas - 1) // 2:
                faults.append(f"{where} lets {spec['maxUnavailable']} of {replicas} go")
        if kind == "NetworkPolicy":
            if chosen(spec["podSelector"]["matchLabels"]) != [name]:
                faults.append(f"{where} is about other pods")
            let_in = {port["port"] for rule in spec["ingress"] for port in rule["ports"]}
            listens = {port["containerPort"] for c in pods[name]["spec"]["containers"] for port in c["ports"]}
            if let_in != listens:
                faults.append(f"{where} lets in to {let_in}, the pods listen on {listens}")
    if chosen(named["NetworkPolicy", "redis"]["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]) != list(pods):
        faults.append("NetworkPolicy redis keeps nodes or the proxy out")
    return faults


def pod_faults(named, pods):
    faults = []
    for name, pod in pods.items():
        spec, claims = pod["spec"], named["StatefulSet", name]["spec"]["volumeClaimTemplates"]
        volumes = {volume["name"] for volume in spec["volumes"]} | {claim["metadata"]["name"] for claim in claims}
        sources = [("ConfigMap", v["configMap"]["name"]) for v in spec["volumes"] if "configMap" in v]
        sources += [("Secret", v["secret"]["secretName"]) for v in spec["volumes"] if "secret" in v]
        for container in spec["containers"]:
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            faults += [f"{name}: {one} is mounted or declared, not both" for one in sorted(mounted ^ volumes)]
            for variable in container.get("env", []):
                reference = variable["valueFrom"].get("secretKeyRef")
                if reference and reference["key"] not in named["Secret", reference["name"]]["stringData"]:
                    faults.append(f"{name}: {variable['name']} comes from no key of a secret")
            inside = container["securityContext"]
            if inside["allowPrivilegeEscalation"] or inside["capabilities"]["drop"] != ["ALL"]:
                faults.append(f"{name}: not as Kubernetes' restricted profile wants it")
        outside = spec["securityContext"]
        if outside["runAsNonRoot"] is not True or outside["seccompProfile"]["type"] != "RuntimeDefault":
            faults.append(f"{name}: not as Kubernetes' restricted profile wants it")
        faults += [f"{name}: no {kind} {source}" for kind, source in sources if (kind, source) not in named]
    return faults


def proxy_faults(named, spec, config, image_user):
    container, faults = spec["containers"][0], []
    client, admin = ports(config)
    listens = {port["name"]: port["containerPort"] for port in container["ports"]}
    if listens != {"redis": client, "admin": admin}:
        faults.append(f"the container names {listens}, and listens on {client} and {admin}")
    offered = {port["name"]: port["port"] for port in named["Service", "redhold"]["spec"]["ports"]}
    if offered != listens:
        faults.append(f"the service offers {offered}")
    for probe, path in PROBES.items():
        if container[probe]["httpGet"] != {"path": path, "port": "admin"}:
            faults.append(f"{probe} does not ask {path} of the admin endpoint")
    startup = container["startupProbe"]
    if startup["periodSeconds"] * startup["failureThreshold"] <= NAMES_PATIENCE:
        faults.append(f"startupProbe is not more patient than {NAMES_PATIENCE} s")
    if spec["terminationGracePeriodSeconds"] <= ending(config):
        faults.append(f"terminationGracePeriodSeconds is not more than {ending(config)} s")
    if spec["securityContext"]["runAsUser"] != image_user:
        faults.append(f"the pod's user is not {image_user}, that of the image")
    if named["StatefulSet", "redhold"]["spec"]["replicas"] != 1:
        faults.append("more than one proxy: they would only watch each other")
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    if places.get("state") != config["failover"]["state_dir"]:
        faults.append("failover.state_dir lies on no volume")
    secret, key = config["backend"]["password_file"].rsplit("/", 1)
    if places.get("auth") != secret or key not in named["Secret", "redis"]["stringData"]:
        faults.append("backend.password_file is not what the secret is mounted as")
    if container["args"][-1] != f"{places.get('config')}/redhold.toml":
        faults.append("the configuration lies elsewhere")
    return faults


def group_faults(named, config):
    group, headless, faults = named["StatefulSet", "redis"]["spec"], named["Service", "redis"]["spec"], []
    port = headless["ports"][0]["port"]
    names = [f"redis-{number}.{group['serviceName']}:{port}" for number in range(group["replicas"])]
    if nodes(config) != [(name, name) for name in names]:
        faults.append(f"backend.nodes are not {names}")
    if headless["clusterIP"] != "None" or not headless["publishNotReadyAddresses"]:
        faults.append("a node has no name before it is ready")
    container = group["template"]["spec"]["containers"][0]
    if container["command"][-2:] != ["--replica-announce-ip", f"$(POD_NAME).{group['serviceName']}"]:
        faults.append("a node does not call itself as it is listed")
    if "role" not in container["readinessProbe"]["exec"]["command"][-1]:
        faults.append("a node that lacks data counts as ready")
    said = container["lifecycle"]["preStop"]["exec"]["command"][-1]
    if f"redis-cli -h redhold -p {ports(config)[0]} PROXY SWITCHOVER" not in said:
        faults.append("a primary that ends does not hand over through the proxy")
    patience = int(re.search(r"timeout (\d+) ", said).group(1))
    if group["template"]["spec"]["terminationGracePeriodSeconds"] <= patience:
        faults.append("a node is ended before it has handed over")
    if not re.search(r"^replicaof 127\.0\.0\.1 0$", named["ConfigMap", "redis"]["data"]["redis.conf"], re.M):
        faults.append("a node does not boot sealed")
    return faults


def put(of, path, value):
    """A copy with another value at a path."""
    changed = copy.deepcopy(of)
    inner = changed
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return changed


def plant(compose, config, prometheus, things, image_user):
    """Every fault once; what is not found is told."""
    missed = []

    def expect(found, path):
        if not found:
            missed.append(f"manifests.py: a planted fault is not found: {path}")

    for path, value in [
        (("services", "redis-1", "hostname"), "redis"),
        (("services", "redhold", "ports"), ["6380:6380"]),
        (("services", "redhold", "healthcheck", "test"), ["CMD", "redhold", "status"]),
        (("services", "redhold", "stop_grace_period"), "10s"),
        (("services", "redhold", "volumes"), ["state:/state"]),
        (("services", "redis-0", "volumes"), ["redis:/data"]),
        (("services", "redhold", "configs", 0, "source"), "toml"),
        (("configs", "redhold", "file"), "nowhere.toml"),
    ]:
        expect(compose_faults(put(compose, path, value), config, prometheus, exists), path)
    expect(compose_faults(compose, put(config, ("backend", "nodes", 0, "address"), "redis-9:6379"), prometheus, exists), "nodes")
    target = ("scrape_configs", 0, "static_configs", 0, "targets", 0)
    expect(compose_faults(compose, config, put(prometheus, target, "redhold:1"), exists), target)

    at = {(thing["kind"], thing["metadata"]["name"]): place for place, thing in enumerate(things)}
    pod = ("spec", "template", "spec")
    inside = (*pod, "containers", 0)
    for kind, name, path, value in [
        ("Service", "redis", ("spec", "selector"), {"app.kubernetes.io/name": "valkey"}),
        ("Service", "redhold", ("spec", "ports", 0, "targetPort"), "resp"),
        ("Service", "redhold", ("spec", "ports", 0, "port"), 6379),
        ("Service", "redis", ("spec", "publishNotReadyAddresses"), False),
        ("StatefulSet", "redis", ("spec", "selector", "matchLabels"), {"app": "redis"}),
        ("StatefulSet", "redis", ("spec", "serviceName"), "nodes"),
        ("StatefulSet", "redis", ("spec", "replicas"), 5),
        ("StatefulSet", "redhold", ("spec", "replicas"), 2),
        ("StatefulSet", "redhold", (*pod, "terminationGracePeriodSeconds"), 30),
        ("StatefulSet", "redis", (*pod, "terminationGracePeriodSeconds"), 30),
        ("StatefulSet", "redhold", (*pod, "securityContext", "runAsUser"), 1000),
        ("StatefulSet", "redhold", (*pod, "securityContext", "runAsNonRoot"), False),
        ("StatefulSet", "redis", (*inside, "securityContext", "allowPrivilegeEscalation"), True),
        ("StatefulSet", "redhold", (*pod, "volumes", 0, "configMap", "name"), "proxy"),
        ("StatefulSet", "redhold", (*inside, "ports", 0, "containerPort"), 6379),
        ("StatefulSet", "redhold", (*inside, "livenessProbe", "httpGet", "path"), "/readyz"),
        ("StatefulSet", "redhold", (*inside, "readinessProbe", "httpGet", "path"), "/healthz"),
        ("StatefulSet", "redhold", (*inside, "startupProbe", "failureThreshold"), 30),
        ("StatefulSet", "redhold", (*inside, "volumeMounts", 0, "mountPath"), "/data"),
        ("StatefulSet", "redhold", (*inside, "volumeMounts", 2, "mountPath"), "/auth"),
        ("StatefulSet", "redhold", (*inside, "volumeMounts", 1, "mountPath"), "/config"),
        ("StatefulSet", "redis", (*inside, "volumeMounts", 0, "name"), "files"),
        ("StatefulSet", "redis", (*inside, "env", 1, "valueFrom", "secretKeyRef", "key"), "pass"),
        ("StatefulSet", "redis", (*inside, "command", -1), "$(POD_NAME)"),
        ("StatefulSet", "redis", (*inside, "readinessProbe", "exec", "command"), ["redis-cli", "ping"]),
        ("StatefulSet", "redis", (*inside, "lifecycle", "preStop", "exec", "command", -1), "timeout 30 redis-cli PROXY SWITCHOVER"),
        ("PodDisruptionBudget", "redis", ("spec", "maxUnavailable"), 2),
        ("PodDisruptionBudget", "redis", ("spec", "maxUnavailable"), 0),
        ("PodDisruptionBudget", "redis", ("spec", "selector", "matchLabels"), {"app.kubernetes.io/name": "redhold"}),
        ("NetworkPolicy", "redis", ("spec", "podSelector", "matchLabels"), {"app.kubernetes.io/name": "redhold"}),
        ("NetworkPolicy", "redis", ("spec", "ingress", 0, "from", 0, "podSelector", "matchLabels"), {"app.kubernetes.io/name": "redis"}),
        ("NetworkPolicy", "redhold", ("spec", "ingress", 1, "ports", 0, "port"), 9381),
        ("ConfigMap", "redis", ("data", "redis.conf"), "appendonly yes\n"),
        ("Secret", "redis", ("stringData",), {"pass": "x", "password ": "y"}),
    ]:
        planted = put(things, (at[kind, name], *path), value)
        expect(kubernetes_faults(planted, image_user), (kind, name, path))
    return missed


def exists(file):
    return (REPO / "config/compose" / file).exists()


def head_faults():
    faults = []
    for path in [REPO / "config/compose/compose.yaml", *sorted((REPO / "config/kubernetes").glob("*.yaml"))]:
        head = " ".join(line.lstrip("# ") for line in path.read_text().split("\n\n")[0].splitlines() if line.startswith("#"))
        for words in ("Validated against the schema", "not run"):
            if words not in head:
                faults.append(f"{path.name}: its head does not say `{words}`")
    return faults


def check(program, text, what):
    """What `redhold check` says of a configuration; its password, which lies in the container, is another file here."""
    with tempfile.TemporaryDirectory() as folder:
        file, password = pathlib.Path(folder, "redhold.toml"), pathlib.Path(folder, "password")
        file.write_text(text)
        password.write_text("x")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REDHOLD_")}
        if "password_file" in text:
            environment["REDHOLD_BACKEND_PASSWORD_FILE"] = str(password)
        ended = subprocess.run([program, "check", "--config", file], env=environment, capture_output=True, text=True)
    return [] if ended.returncode == 0 and not ended.stderr else [f"{what}: {ended.stderr}"]


def main():
    program = sys.argv[1]

    def read(path):
        return (REPO / path).read_text()

    compose, prometheus = yaml.safe_load(read("config/compose/compose.yaml")), yaml.safe_load(read("config/compose/prometheus.yml"))
    config = tomllib.loads(read("config/compose/redhold.toml"))
    paths = sorted((REPO / "config/kubernetes").glob("*.yaml"))
    things = [thing for path in paths for thing in yaml.safe_load_all(path.read_text())]
    # Made by hand, as the page about deploying says.
    for name, key in re.findall(r"kubectl create secret generic (\S+) --from-literal=(\w+)=", read("docs/deployment.md")):
        things.append({"kind": "Secret", "metadata": {"name": name}, "stringData": {key: ""}})
    image_user = int(re.search(r"^USER (\d+):", read("Dockerfile"), re.M).group(1))
    inside = next(t for t in things if t["kind"] == "ConfigMap" and "redhold.toml" in t["data"])["data"]["redhold.toml"]
    shown = re.search(r"^# (nodes = \[\{ address = \"dns:.*)$", inside, re.M).group(1)
    by_name = re.sub(r"^nodes = \[\n.*?^\]", lambda _: shown, inside, flags=re.S | re.M)
    faults = [
        *head_faults(),
        *compose_faults(compose, config, prometheus, exists),
        *kubernetes_faults(things, image_user),
        *check(program, read("config/compose/redhold.toml"), "config/compose/redhold.toml"),
        *check(program, inside, "config/kubernetes/redhold.yaml"),
        *check(program, by_name, "config/kubernetes/redhold.yaml with `dns:`"),
        *plant(compose, config, prometheus, things, image_user),
    ]
    print("\n".join(faults) if faults else "manifests.py: the parts of config/compose and config/kubernetes fit")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
