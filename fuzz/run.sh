#!/usr/bin/env bash
# Runs a fuzz target on the stable compiler: fuzz/run.sh TARGET [SECONDS] [FILE]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
target=${1:?"replies or requests"}
seconds=${2:-60}

# What cargo-fuzz passes for coverage, without its sanitizer: the crate denies unsafe code.
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1"
triple=$(rustc -vV | sed -n 's/^host: //p')
# A target is named so that build scripts and macros are built without the flags.
cargo build --quiet --release --target "$triple" --bin "$target"
mkdir -p "corpus/$target" artifacts
if [[ $# -gt 2 ]]; then
    exec "target/$triple/release/$target" "$3"
fi
exec "target/$triple/release/$target" "corpus/$target" -max_total_time="$seconds" -max_len=600 \
    -artifact_prefix="artifacts/$target-" -dict=resp.dict -print_final_stats=1
