#!/usr/bin/env bash
# Runs the named groups of tests/budget.toml, each within its budget, and prints a table. Fails when a group failed,
# ran out of its budget, or could not run: nothing is skipped.
#
#   tests/tools/groups.sh TIER           every group of the tier `test` or `all`, in the file's order
#   tests/tools/groups.sh --group NAME   one group
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

file=tests/budget.toml
logs=target/test-logs
mkdir -p "$logs"
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
export PATH=$PATH:/usr/sbin:/sbin

# A group's own build may take so many seconds, on a busy machine too.
readonly BUILD_MAX=900

declare -A tier seconds needs build run
order=()

# The file keeps to `[name]`, `key = "text"` and `key = number`; tests/tidy checks that a TOML parser agrees.
load() {
    local line name=''
    while IFS= read -r line; do
        if [[ $line =~ ^\[([a-z0-9_-]+)\]$ ]]; then
            name=${BASH_REMATCH[1]}
            order+=("$name")
            needs[$name]=''
            build[$name]=''
        elif [[ $line =~ ^(tier|needs|build|run)\ =\ [\"\'](.*)[\"\']$ ]]; then
            local -n field=${BASH_REMATCH[1]}
            field[$name]=${BASH_REMATCH[2]}
        elif [[ $line =~ ^seconds\ =\ ([0-9]+)$ ]]; then
            seconds[$name]=${BASH_REMATCH[1]}
        elif [[ -n $line && $line != '#'* ]]; then
            echo "groups.sh: $file: not understood: $line" >&2
            exit 2
        fi
    done <"$file"
}

# A test program that no group names is a group of its own, so that none is forgotten.
adopt_unnamed() {
    local path name
    for path in tests/*.rs tests/*/main.rs; do
        [[ -e $path ]] || continue
        name=${path#tests/}
        name=${name%/main.rs}
        name=${name%.rs}
        if ! grep '^run' "$file" | grep -qE -- "--test $name( |\"|$)"; then
            order+=("$name")
            tier[$name]=test
            seconds[$name]=120
            needs[$name]='redis-server'
            build[$name]=''
            run[$name]="cargo test --locked --test $name"
        fi
    done
}

child=''
interrupted() {
    [[ -n $child ]] && kill -TERM "$child" 2>/dev/null
    exit 130
}
trap interrupted INT TERM

table=()
failed=0
total=0

# Sum of N in "test result: ... N passed" of a log.
passed_in() {
    local sum
    sum=$(sed -nE 's/^test result: .* ([0-9]+) passed.*/\1/p' "$1" | paste -sd+)
    echo $((${sum:-0}))
}

run_group() {
    local name=$1 log=$logs/$1.log begin code verdict passed took
    echo
    echo "== $name (budget ${seconds[$name]} s): ${run[$name]}"
    begin=$SECONDS
    if [[ -n ${needs[$name]} ]] && ! tests/tools/need.sh ${needs[$name]}; then
        verdict='CANNOT RUN'
        passed=0
    elif [[ -n ${build[$name]} ]] && ! timeout --kill-after=10 "$BUILD_MAX" bash -c "${build[$name]}"; then
        verdict='NOT BUILT'
        passed=0
    else
        begin=$SECONDS
        # The group's own process group is ended as a whole when the budget is over.
        : >"$log"
        # It writes to a file, which `tail` shows: a process that outlives it can hold a pipe open, but not a file.
        timeout --kill-after=10 "${seconds[$name]}" bash -o pipefail -c "${run[$name]}" >>"$log" 2>&1 &
        child=$!
        tail -n +1 -s 0.2 -f --pid="$child" "$log" 2>/dev/null &
        wait "$child"
        code=$?
        wait
        child=''
        case $code in
            0) verdict=ok ;;
            124 | 137) verdict='OVER BUDGET' ;;
            *) verdict="FAILED ($code)" ;;
        esac
        passed=$(passed_in "$log")
    fi
    took=$((SECONDS - begin))
    total=$((total + passed))
    [[ $verdict == ok ]] || failed=1
    table+=("$(printf '%-18s %-14s %6d s %6d s %7d passed' "$name" "$verdict" "$took" "${seconds[$name]}" "$passed")")
}

print_table() {
    echo
    printf '%-18s %-14s %8s %8s\n' group result took budget
    printf '%s\n' "${table[@]}"
    if [[ $failed -eq 0 ]]; then
        echo "all groups ok: $total tests passed, 0 failed, 0 skipped groups, $SECONDS s"
    else
        echo "some groups FAILED; their output is above and in $logs/"
    fi
}

load
adopt_unnamed
chosen=()
if [[ ${1:-} == --group ]]; then
    chosen=("${@:2}")
else
    for name in "${order[@]}"; do
        [[ ${1:-} == "${tier[$name]}" ]] && chosen+=("$name")
    done
fi
[[ ${#chosen[@]} -gt 0 ]] || { echo "groups.sh: nothing to run for: $*" >&2; exit 2; }
# The budgets are those of tests, not of compilers; and a compiler that is killed half way leaves a broken target folder. What the longer
# groups need is installed meanwhile.
if [[ " ${chosen[*]} " != *' build '* ]]; then
    runs=$(for name in "${chosen[@]}"; do echo "${run[$name]:-}"; done | grep -oE 'cargo test --locked [^&|;]*')
    tests=$(grep -oE -- '--test [a-z_]+' <<<"$runs" | sort -u)
    # One that names no program of tests needs them all.
    grep -vqE -- '--test [a-z_]+' <<<"$runs" && tests=''
    tests/tools/need.sh $(for name in "${chosen[@]}"; do echo "${needs[$name]:-}"; done) &
    cargo test --locked --no-run $tests
    built=$?
    wait $!
    [[ $built -eq 0 ]] || exit 1
fi
for name in "${chosen[@]}"; do
    [[ -n ${run[$name]:-} ]] || { echo "groups.sh: $file has no group $name" >&2; exit 2; }
    run_group "$name"
done
print_table
exit "$failed"
