#!/usr/bin/env bash
# Copies what cargo compiled of the dependencies, and nothing of redhold's own, into another target folder, so that a chroot does not
# compile them once more. A folder in which nothing was compiled yet gives nothing; cargo compiles what is missing or does not fit.
#
#   tests/tools/seed.sh FROM TO     folders of one profile, as target/release
set -euo pipefail

from=$1 to=$2
[[ -d $from/.fingerprint && ! -e $to ]] || exit 0
for folder in .fingerprint build deps; do
    mkdir -p "$to/$folder"
    find "$from/$folder" -mindepth 1 -maxdepth 1 ! -name '*redhold-*' \( ! -path '*/deps/*' -o -name 'lib*' -o -name '*.d' \) \
        -exec cp -a -t "$to/$folder" {} +
done
