#!/usr/bin/env bash
# Sees to it that programs are there: installs the Debian package of a missing one when run as root (or when sudo asks
# for no password), otherwise names the line to type and fails. Prints nothing when nothing is missing.
#
#   tests/tools/need.sh PROGRAM...
set -euo pipefail

# Program -> Debian package, where the names differ.
package_of() {
    case $1 in
        setpriv | prlimit | unshare | nsenter) echo util-linux ;;
        ip) echo iproute2 ;;
        node) echo nodejs ;;
        pip) echo python3-pip ;;
        sidekiq) echo ruby-sidekiq ;;
        venv) echo python3-venv ;;
        cc) echo build-essential ;;
        tclsh) echo tcl ;;
        hiredis) echo libhiredis-dev ;;
        php) echo php-cli ;;
        redis-rb) echo ruby-redis ;;
        phpredis) echo php-redis ;;
        predis) echo php-predis ;;
        promtool) echo prometheus ;;
        systemd-analyze) echo systemd ;;
        *) echo "$1" ;;
    esac
}

present() {
    case $1 in
        pip) python3 -m pip --version ;;
        venv) python3 -c 'import venv, ensurepip' ;;
        hiredis) echo '#include <hiredis/hiredis.h>' | cc -E - ;;
        redis-rb) ruby -e 'require "redis"' ;;
        phpredis) php -r 'exit(extension_loaded("redis") ? 0 : 1);' ;;
        predis) php -r 'require "Predis/autoload.php";' ;;
        clippy) cargo clippy --version ;;
        rustfmt) cargo fmt --version ;;
        debootstrap | ip) PATH=$PATH:/usr/sbin:/sbin command -v "$1" ;;
        redis-server) command -v redis-server || command -v valkey-server ;;
        *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

# Rust's own parts come from rustup, never from the distribution, whose compiler is older than `rust-version`.
rust_part() {
    case $1 in
        clippy | rustfmt)
            if command -v rustup >/dev/null && rustup component add "$1" >&2; then
                return
            fi
            echo "need.sh: cargo $1 is missing; type: rustup component add $1" >&2
            ;;
        *) echo "need.sh: cargo is missing; install the Rust toolchain from https://rustup.rs" >&2 ;;
    esac
    exit 1
}

packages=()
for program in "$@"; do
    present "$program" && continue
    case $program in
        cargo | clippy | rustfmt) rust_part "$program" ;;
        *) packages+=("$(package_of "$program")") ;;
    esac
done
[[ ${#packages[@]} -eq 0 ]] && exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
    as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || { [[ $(id -u) -ne 0 ]] && ! sudo -n true 2>/dev/null; }; then
    echo "need.sh: missing: ${packages[*]}; type: sudo apt-get update && sudo apt-get install -y ${packages[*]}" >&2
    exit 1
fi
echo "need.sh: installing ${packages[*]}" >&2
# A package list that is a few days old names files that the mirror no longer has.
"${as_root[@]}" apt-get update -qq >&2 || true
# Programs are wanted and no services: of Prometheus only promtool. Where somebody has said what may be started, that holds.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin "$policy"
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
if [[ " ${packages[*]} " == *" prometheus "* ]]; then
    # Nor after the next start of the machine.
    "${as_root[@]}" update-rc.d prometheus disable >&2
fi
for program in "$@"; do
    present "$program" || { echo "need.sh: $program is still missing after the installation" >&2; exit 1; }
done
