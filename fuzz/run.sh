#!/usr/bin/env bash
# Fuzzes on the stable compiler: fuzz/run.sh TARGET|all [SECONDS for each] [FILE to play again]. What is found new is kept in
# fuzz/artifacts/corpus, beside the inputs that broke a promise; fuzz/corpus is only read.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
all=$(basename -as .rs targets/*.rs)
target=${1:?"all, or one of $(echo $all)"}
seconds=${2:-60}

# What cargo-fuzz passes for coverage, without its sanitizer: the crate denies unsafe code.
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1"
triple=$(rustc -vV | sed -n 's/^host: //p')
# A target is named so that build scripts and macros are built without the flags.
cargo build --quiet --release --locked --target "$triple" $([[ $target == all ]] && echo --bins || echo "--bin $target")
if [[ $# -gt 2 ]]; then
    exec "target/$triple/release/$target" "$3"
fi
for one in $([[ $target == all ]] && echo "$all" || echo "$target"); do
    mkdir -p "artifacts/corpus/$one"
    echo "--- $one"
    "target/$triple/release/$one" "artifacts/corpus/$one" "corpus/$one" -max_total_time="$seconds" -max_len=600 \
        -artifact_prefix="artifacts/$one-" -dict=resp.dict -print_final_stats=1
done
