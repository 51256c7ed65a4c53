#!/usr/bin/env bash
# Builds the release program twice, from copies of the sources in folders of different names, and compares: same bytes, or exit 1.
#
#   tests/tools/reproducible.sh [FOLDER]      the folder is for both builds; a temporary one without
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

place=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/redhold-twice.XXXXXX")
trap 'rm -rf "$place"' EXIT

# Uses the release profile as it is. What is left of the machine in a program are paths: of the sources, of the crates, of the toolchain.
build() {
    local folder=$1 home=${CARGO_HOME:-$HOME/.cargo} sysroot
    sysroot=$(rustc --print sysroot)
    mkdir -p "$folder"
    git ls-files -z -- Cargo.toml Cargo.lock README.md LICENSE src benches config tests | xargs -0 cp --parents -t "$folder"
    local maps="--remap-path-prefix=$folder=/redhold --remap-path-prefix=$home=/cargo --remap-path-prefix=$sysroot=/rust"
    local c="-ffile-prefix-map=$folder=/redhold -ffile-prefix-map=$home=/cargo"
    (cd "$folder" && env -u CARGO_TARGET_DIR CARGO_INCREMENTAL=0 RUSTFLAGS="$maps" CFLAGS="$c" \
        cargo build --quiet --release --locked --bin redhold --target-dir "$folder/target")
    sha256sum <"$folder/target/release/redhold"
}

first=$(build "$place/one")
second=$(build "$place/another-folder/of-another-depth")
if [[ $first != "$second" ]]; then
    echo "reproducible.sh: two builds of the same sources differ: $first $second" >&2
    exit 1
fi
echo "reproducible: both builds are ${first%% *}"
