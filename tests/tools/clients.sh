#!/usr/bin/env bash
# Installs the client libraries that tests/clients runs: redis-py under .tools/venv, ioredis under .tools/node. Idempotent,
# without root, versions pinned.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$repo/.tools
redis_py=8.1.0
ioredis=5.9.2

version_of_redis_py() {
    "$tools/venv/bin/python" -c 'import redis; print(redis.__version__)' 2>/dev/null || true
}

version_of_ioredis() {
    node -p 'require(process.argv[1]).version' "$tools/node/node_modules/ioredis/package.json" 2>/dev/null || true
}

if [[ $(version_of_redis_py) != "$redis_py" ]]; then
    rm -rf "$tools/venv"
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "redis==$redis_py"
    echo "clients.sh: redis-py $(version_of_redis_py)"
fi
if [[ $(version_of_ioredis) != "$ioredis" ]]; then
    mkdir -p "$tools/node"
    npm install --silent --no-audit --no-fund --prefix "$tools/node" "ioredis@$ioredis"
    echo "clients.sh: ioredis $(version_of_ioredis)"
fi
