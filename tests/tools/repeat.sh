#!/usr/bin/env bash
# Runs every test of one test program in a process of its own, so many times, many at once: what depends on the time that
# others leave it shows. Prints the tests that failed; what each of those said stays in the folder that is named at the end.
#
#   tests/tools/repeat.sh PROGRAM [TIMES] [AT_ONCE] [FILTER]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2

program=$1 times=${2:-3} at_once=${3:-12} filter=${4:-}
export kept=$PWD/target/repeat/$program
rm -rf "$kept" && mkdir -p "$kept" || exit 2
built=$(cargo test --locked --test "$program" --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/'"$program"'-[^"]*\)".*/\1/p' | tail -1)
[[ -x $built ]] || { echo "repeat.sh: no test program $program" >&2; exit 2; }
# A build made meanwhile does not change what runs.
cp "$built" "$kept/tests" && cp target/debug/redhold "$kept/redhold" || exit 2
export REDHOLD_PROGRAM=$kept/redhold

one() {
    local out=$kept/${1//::/.}.$2
    if timeout 300 "$kept/tests" --exact "$1" --test-threads 1 >"$out" 2>&1; then rm "$out"; else echo "FAILED $1"; fi
}
export -f one
mapfile -t names < <("$kept/tests" --list 2>"$kept/list" | sed -n 's/: test$//p' | grep -F -- "$filter")
[[ ${#names[@]} -gt 0 ]] || { echo "repeat.sh: no test matches '$filter'" >&2; exit 2; }
for name in "${names[@]}"; do for n in $(seq "$times"); do echo "$name $n"; done; done |
    xargs -P "$at_once" -L1 bash -c 'one "$@"' _ | tee "$kept/failed"
echo "$(wc -l <"$kept/failed") of $((${#names[@]} * times)) failed; $kept"
[[ ! -s $kept/failed ]]
