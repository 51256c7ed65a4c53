#!/usr/bin/env bash
# Runs a built image in a network and a process table of its own, with three real servers under the names that its configuration
# gives them. Called by tests/packaging/main.rs inside `unshare`; fails at the first thing that is not as it should be.
#
#   runtime.sh ROOT USER PORTS HEALTHCHECK... -- ENTRYPOINT... CMD...
set -euo pipefail

root=$1 user=$2 ports=$3
shift 3
health=()
while [[ $1 != -- ]]; do
    health+=("$1")
    shift
done
shift

fail() {
    echo "runtime.sh: $*" >&2
    echo "--- the proxy's log" >&2
    cat "$scratch/log" >&2 || true
    exit 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mount -t proc proc /proc
mount -t proc proc "$root/proc"
mount --bind /dev/null "$root/dev/null" 2>/dev/null || mknod -m 666 "$root/dev/null" c 1 3 2>/dev/null || true
ip link set lo up

: >"$root/etc/hosts"
echo "127.0.0.1 localhost" >>"$root/etc/hosts"
for i in 0 1 2; do
    echo "127.0.1.$((i + 1)) redis-$i redis" >>"$root/etc/hosts"
    mkdir "$scratch/$i"
    follow=()
    [[ $i -gt 0 ]] && follow=(--replicaof 127.0.1.1 6379)
    redis-server --bind "127.0.1.$((i + 1))" --port 6379 --dir "$scratch/$i" --save '' --repl-diskless-sync-delay 0 \
        --protected-mode no --replica-announce-ip "127.0.1.$((i + 1))" "${follow[@]}" >"$scratch/$i/log" &
done

inside=(chroot --userspec="$user" "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)

# within SECONDS COMMAND...: true as soon as the command is.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [[ $SECONDS -lt $deadline ]] || return 1
        sleep 0.1
    done
}

healthy() {
    "${inside[@]}" "${health[@]}" >/dev/null 2>&1
}

say() {
    local reply
    exec 3<>"/dev/tcp/127.0.0.1/6380" || return 1
    printf '%s\r\n' "$1" >&3
    IFS= read -r -t 10 reply <&3 || return 1
    exec 3<&- 3>&-
    [[ $reply == "$2"* ]]
}

echo "-- unhealthy while nothing runs"
healthy && fail "the health check succeeds without a proxy"

echo "-- starts as $user: $*"
"${inside[@]}" "$@" >"$scratch/log" 2>&1 &
proxy=$!
within 60 healthy || fail "not healthy after 60 s"
[[ $(awk '/^Uid:/ { print $3 }' "/proc/$proxy/status") == "${user%%:*}" ]] || fail "it does not run as $user"

echo "-- answers on the exposed ports: $ports"
for port in $ports; do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") || fail "nobody listens on the exposed port $port"
done
within 60 say "SET packaging works" "+OK" 2>/dev/null || fail "SET is not answered with OK"

echo "-- keeps its record on the volume"
within 60 test -n "$(ls -A "$root/var/lib/redhold")" || fail "nothing was written to /var/lib/redhold"

echo "-- drains at SIGTERM"
kill -TERM "$proxy"
code=0
wait "$proxy" || code=$?
[[ $code -eq 0 ]] || fail "it ended with $code after SIGTERM"
healthy && fail "the health check succeeds after the end"

echo "-- finds the nodes by a name that stands for all of them"
"${inside[@]}" REDHOLD_BACKEND_NODES=dns:redis:6379 "$@" >"$scratch/log" 2>&1 &
proxy=$!
within 60 healthy || fail "not healthy after 60 s"
listed() {
    [[ $("${inside[@]}" "${health[@]}" | grep -oE '^127\.0\.1\.[0-9]+:6379' | sort -u | paste -sd' ') == \
        '127.0.1.1:6379 127.0.1.2:6379 127.0.1.3:6379' ]]
}
within 60 listed || fail "the nodes are not those of the name: $("${inside[@]}" "${health[@]}")"
kill -TERM "$proxy"
wait "$proxy" || fail "it ended with $? after SIGTERM"
echo "-- the image works"
