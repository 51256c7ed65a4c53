#!/usr/bin/env bash
# `make bench`: sees to it that the programs are there, then benches/run with the same arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tests/tools/need.sh cargo python3 pip redis-server haproxy nutcracker
exec python3 benches/run "$@"
