#!/usr/bin/env bash
# Installs the frameworks that tests/frameworks runs below .tools/frameworks: those of Python in venv, those of Node in node.
# Idempotent, without root, versions pinned. Sidekiq is the distribution's (tests/tools/need.sh sidekiq).
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$repo/.tools/frameworks
python=("celery[redis]==5.7.0" kombu==5.7.0 redis==8.1.0 rq==3.0.0 django==5.2.19)
node=(bullmq@6.7.0 ioredis@5.9.2 socket.io@4.8.4 socket.io-client@4.8.4 @socket.io/redis-adapter@8.3.0 redis@6.3.1)

# Whether the list that was installed last is this one. A virtual environment works only where it was made.
has() {
    [[ -f $tools/$1.installed && $(<"$tools/$1.installed") == "$2" ]]
}

mkdir -p "$tools"
if ! has venv "$tools ${python[*]}"; then
    rm -rf "$tools/venv"
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "${python[@]}"
    echo "$tools ${python[*]}" >"$tools/venv.installed"
    echo "frameworks.sh: ${python[*]}"
fi
if ! has node "${node[*]}"; then
    rm -rf "$tools/node"
    mkdir -p "$tools/node"
    npm install --silent --no-audit --no-fund --prefix "$tools/node" "${node[@]}"
    echo "${node[*]}" >"$tools/node.installed"
    echo "frameworks.sh: ${node[*]}"
fi
