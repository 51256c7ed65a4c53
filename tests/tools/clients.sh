#!/usr/bin/env bash
# Installs the client libraries that tests/clients runs, each in a folder of its own under .tools/clients/<name>-<version>, and builds
# what is compiled under target/. Idempotent, without root, versions pinned; Debian's libraries are named in tests/budget.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

place=.tools/clients
mkdir -p "$place"

# A folder appears under its name when it is complete.
wheel() {
    local name=$1 version=$2 folder=$place/$1-$2
    [[ -d $folder ]] && return
    rm -rf "$folder.unfinished"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile \
        --only-binary=:all: --target "$folder.unfinished" "$name==$version"
    mv "$folder.unfinished" "$folder"
    echo "clients.sh: $name $version"
}

module() {
    local name=$1 version=$2 folder=$place/${1##*/}-js-$2
    [[ -d $folder ]] && return
    rm -rf "$folder.unfinished"
    mkdir -p "$folder.unfinished"
    npm install --silent --no-audit --no-fund --prefix "$folder.unfinished" "$name@$version"
    mv "$folder.unfinished" "$folder"
    echo "clients.sh: $name $version"
}

# The registries wait more than the processor does, and the compiler the other way round.
wheels() {
    wheel redis 5.3.1
    wheel redis 6.4.0
    wheel redis 7.4.1
    wheel redis 8.1.0
    wheel hiredis 3.5.0
    wheel valkey-glide 2.6.0
}

modules() {
    module ioredis 5.9.2
    module redis 4.7.1
    module redis 5.9.0
    module @valkey/valkey-glide 2.5.2
}

compiled() {
    mkdir -p target/clients
    cc -O1 -Wall -Wextra -Werror -o target/clients/hiredis tests/clients/c/hiredis.c -lhiredis
    cargo build --quiet --locked --manifest-path tests/clients/rust/Cargo.toml --target-dir target/clients-rust
}

wheels &
one=$!
modules &
other=$!
failed=0
compiled || failed=1
wait "$one" || failed=1
wait "$other" || failed=1
exit "$failed"
