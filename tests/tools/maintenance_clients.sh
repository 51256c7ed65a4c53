#!/usr/bin/env bash
# Installs the client libraries that tests/maintenance runs: redis-py under .tools/maint/venv, node-redis under
# .tools/maint/node. Idempotent, without root, versions pinned.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$repo/.tools/maint
redis_py=8.1.0
node_redis=5.12.1

version_of_redis_py() {
    "$tools/venv/bin/python" -c 'import redis; print(redis.__version__)' 2>/dev/null || true
}

version_of_node_redis() {
    node -p 'require(process.argv[1]).version' "$tools/node/node_modules/redis/package.json" 2>/dev/null || true
}

if [[ $(version_of_redis_py) != "$redis_py" ]]; then
    rm -rf "$tools/venv"
    mkdir -p "$tools"
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "redis==$redis_py"
    echo "maintenance_clients.sh: redis-py $(version_of_redis_py)"
fi
if [[ $(version_of_node_redis) != "$node_redis" ]]; then
    mkdir -p "$tools/node"
    npm install --silent --no-audit --no-fund --prefix "$tools/node" "redis@$node_redis"
    echo "maintenance_clients.sh: node-redis $(version_of_node_redis)"
fi
